//! JSON Schema 2020-12 of Avro types, as the edge reads them from JSON.

use apache_avro::Schema;
use apache_avro::schema::{Name, UnionSchema};
use serde_json::{Map, Value, json};

/// The schema of a whole record, its named types in `$defs`.
pub(super) fn json_schema(schema: &Schema) -> Value {
    let mut defined = Map::new();
    let mut root = of(schema, &mut defined, true);
    if !defined.is_empty() {
        root["$defs"] = Value::Object(defined);
    }
    root
}

fn of(schema: &Schema, defined: &mut Map<String, Value>, root: bool) -> Value {
    let text = |format: &str| json!({"type": "string", "format": format});
    match schema {
        Schema::Null => json!({"type": "null"}),
        Schema::Boolean => json!({"type": "boolean"}),
        Schema::Int => json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX}),
        Schema::Long => json!({"type": ["integer", "string"], "description": "64-bit integer, as a number or as decimal text"}),
        Schema::Float | Schema::Double => {
            json!({"type": ["number", "string"], "description": "a number, or NaN, Infinity, -Infinity"})
        }
        Schema::String => json!({"type": "string"}),
        Schema::Uuid(_) => text("uuid"),
        Schema::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Schema::Decimal(decimal) => {
            json!({"type": ["string", "number"], "description": format!("decimal, {} digits, scale {}", decimal.precision, decimal.scale)})
        }
        Schema::Date => json!({"type": ["string", "integer"], "format": "date"}),
        Schema::TimeMillis | Schema::TimeMicros => json!({"type": ["string", "integer"], "format": "time"}),
        Schema::TimestampMillis | Schema::TimestampMicros | Schema::TimestampNanos => {
            json!({"type": ["string", "integer"], "format": "date-time"})
        }
        Schema::Array(array) => json!({"type": "array", "items": of(&array.items, defined, false)}),
        Schema::Map(map) => json!({"type": "object", "additionalProperties": of(&map.types, defined, false)}),
        Schema::Union(union) => one_of(union, defined),
        Schema::Enum(symbols) => json!({"type": "string", "enum": symbols.symbols}),
        Schema::Fixed(fixed) => {
            json!({"type": "string", "contentEncoding": "base64", "description": format!("{} bytes", fixed.size)})
        }
        Schema::Record(record) => {
            let name = full_name(&record.name);
            if !root {
                // reserved first: a record may hold itself
                defined.insert(name.clone(), Value::Null);
            }
            let mut properties = Map::new();
            let mut required = Vec::new();
            for field in &record.fields {
                let mut property = of(&field.schema, defined, false);
                if let (Some(doc), Value::Object(members)) = (&field.doc, &mut property) {
                    members.insert("description".into(), doc.as_str().into());
                }
                if field.default.is_none() {
                    required.push(field.name.as_str());
                }
                properties.insert(field.name.clone(), property);
            }
            let body = json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
            if root {
                return body;
            }
            defined.insert(name.clone(), body);
            json!({"$ref": format!("#/$defs/{name}")})
        }
        Schema::Ref { name } => json!({"$ref": format!("#/$defs/{}", full_name(name))}),
        _ => json!({}),
    }
}

fn one_of(union: &UnionSchema, defined: &mut Map<String, Value>) -> Value {
    let branches: Vec<_> = union.variants().iter().map(|branch| of(branch, defined, false)).collect();
    json!({"anyOf": branches})
}

fn full_name(name: &Name) -> String {
    name.to_string()
}
