//! Schemas, values of them, and those values as JSON in one of the ways that clients may write.

use std::cell::Cell;
use std::fmt::Write as _;

use apache_avro::Schema;
use apache_avro::types::Value;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A schema, a value of it, the value's JSON, and the same JSON with members in another order.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) schema: Schema,
    pub(super) value: Value,
    pub(super) json: String,
    pub(super) turned: String,
}

/// The shape of a type; becomes a schema with fresh names.
#[derive(Debug, Clone)]
enum Shape {
    Plain(&'static str),
    Logical(&'static str, &'static str),
    Decimal(Option<usize>),
    Fixed(usize),
    Enum(usize),
    UuidFixed,
    Duration,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Record(Vec<Shape>),
    Nullable(Box<Shape>, bool),
    Union(Vec<Shape>),
}

/// A digit stream that turns into a value: the same bytes give the same value.
struct Entropy<'a> {
    bytes: &'a [u8],
    at: Cell<usize>,
}

impl Entropy<'_> {
    fn byte(&self) -> u8 {
        let at = self.at.replace(self.at.get() + 1);
        let byte = self.bytes[at % self.bytes.len()];
        byte.wrapping_add(u8::try_from(at / self.bytes.len() % 251).unwrap_or_default())
    }

    fn below(&self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn long(&self) -> i64 {
        let long = i64::from_le_bytes(std::array::from_fn(|_| self.byte()));
        // short and long ones alike
        long >> (self.below(8) * 8)
    }

    fn text(&self) -> String {
        const LETTERS: [&str; 12] = ["a", "B", "é", "😀", "\"", "\\", "\n", "/", "\u{0}", "~", " ", "7"];
        (0..self.below(9)).map(|_| LETTERS[self.below(LETTERS.len())]).collect()
    }

    fn bytes(&self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let plain = prop::sample::select(vec!["null", "boolean", "int", "long", "float", "double", "bytes", "string"]);
    let logical = prop::sample::select(vec![
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "timestamp-nanos"),
        ("long", "local-timestamp-millis"),
        ("long", "local-timestamp-micros"),
        ("long", "local-timestamp-nanos"),
        ("string", "uuid"),
    ]);
    let leaf = prop_oneof![
        6 => plain.prop_map(Shape::Plain),
        3 => logical.prop_map(|(base, name)| Shape::Logical(base, name)),
        1 => prop_oneof![Just(None), Just(Some(9))].prop_map(Shape::Decimal),
        1 => (0_usize..20).prop_map(Shape::Fixed),
        1 => (1_usize..12).prop_map(Shape::Enum),
        1 => Just(Shape::UuidFixed),
        1 => Just(Shape::Duration),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(|items| Shape::Array(items.into())),
            1 => inner.clone().prop_map(|values| Shape::Map(values.into())),
            4 => prop::collection::vec(inner.clone(), 0..6).prop_map(Shape::Record),
            2 => (inner.clone(), any::<bool>()).prop_map(|(inner, first)| Shape::Nullable(inner.into(), first)),
            2 => prop::collection::vec(inner, 1..5).prop_map(Shape::Union),
        ]
    })
}

/// What makes two branches of a union the same type, by the rules of Avro.
fn union_kind(shape: &Shape, position: usize) -> Option<String> {
    Some(match shape {
        Shape::Plain(base) | Shape::Logical(base, _) => (*base).to_owned(),
        Shape::Decimal(None) => "bytes".to_owned(),
        Shape::Array(_) => "array".to_owned(),
        Shape::Map(_) => "map".to_owned(),
        Shape::Nullable(..) | Shape::Union(_) => return None,
        _ => position.to_string(),
    })
}

/// Branches that may stand together; a map stands alone, because beside it no tag is read.
fn branches(shapes: &[Shape]) -> Vec<&Shape> {
    let mut kinds = Vec::new();
    let mut kept = Vec::new();
    for (position, shape) in shapes.iter().enumerate() {
        let Some(kind) = union_kind(shape, position) else { continue };
        let crowded = kinds.iter().any(|k| k == "map") || kind == "map" && !kinds.is_empty();
        if !kinds.contains(&kind) && !crowded {
            kinds.push(kind);
            kept.push(shape);
        }
    }
    kept
}

fn schema_json(shape: &Shape, names: &Cell<usize>) -> Json {
    let name = || format!("N{}", names.replace(names.get() + 1));
    match shape {
        Shape::Plain(name) => json!(name),
        Shape::Logical(base, logical) => json!({"type": base, "logicalType": logical}),
        Shape::Decimal(None) => json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}),
        Shape::Decimal(Some(size)) => {
            json!({"type": "fixed", "name": name(), "size": size, "logicalType": "decimal", "precision": 20, "scale": 4})
        }
        Shape::Fixed(size) => json!({"type": "fixed", "name": name(), "size": size}),
        Shape::Enum(count) => {
            let symbols: Vec<_> = (0..*count).map(|symbol| format!("S{symbol}")).collect();
            json!({"type": "enum", "name": name(), "symbols": symbols})
        }
        Shape::UuidFixed => json!({"type": "fixed", "name": name(), "size": 16, "logicalType": "uuid"}),
        Shape::Duration => json!({"type": "fixed", "name": name(), "size": 12, "logicalType": "duration"}),
        Shape::Array(items) => json!({"type": "array", "items": schema_json(items, names)}),
        Shape::Map(values) => json!({"type": "map", "values": schema_json(values, names)}),
        Shape::Record(fields) => {
            let name = name();
            let fields: Vec<_> = fields
                .iter()
                .enumerate()
                .map(|(position, field)| json!({"name": format!("f{position}"), "type": schema_json(field, names)}))
                .collect();
            json!({"type": "record", "name": name, "namespace": "g", "fields": fields})
        }
        Shape::Nullable(inner, first) => match inner.as_ref() {
            Shape::Plain("null") | Shape::Nullable(..) | Shape::Union(_) => schema_json(inner, names),
            inner if *first => json!(["null", schema_json(inner, names)]),
            inner => json!([schema_json(inner, names), "null"]),
        },
        Shape::Union(shapes) => match branches(shapes).as_slice() {
            [] => json!("null"),
            branches => Json::Array(branches.iter().map(|branch| schema_json(branch, names)).collect()),
        },
    }
}

/// A case for any schema that may be generated.
pub(super) fn case() -> impl Strategy<Value = Case> {
    (shape(), prop::collection::vec(any::<u8>(), 8..64)).prop_map(|(shape, bytes)| {
        let text = schema_json(&shape, &Cell::new(0)).to_string();
        let schema = Schema::parse_str(&text).expect("a generated schema");
        let entropy = Entropy { bytes: &bytes, at: Cell::new(0) };
        let value = value(&schema, &entropy);
        let write = |turned| {
            let mut json = String::new();
            write_json(&schema, &value, turned, &mut json);
            json
        };
        Case { json: write(false), turned: write(true), value, schema }
    })
}

fn value(schema: &Schema, entropy: &Entropy<'_>) -> Value {
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(entropy.byte() & 1 == 1),
        Schema::Int => Value::Int(small(entropy)),
        Schema::Long => Value::Long(entropy.long()),
        Schema::Float => Value::Float(f32::from_le_bytes(std::array::from_fn(|_| entropy.byte()))),
        Schema::Double => Value::Double(f64::from_le_bytes(std::array::from_fn(|_| entropy.byte()))),
        Schema::Bytes => Value::Bytes(entropy.bytes(entropy.below(9))),
        Schema::String => Value::String(entropy.text()),
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, entropy.bytes(fixed.size)),
        Schema::Enum(symbols) => {
            let index = entropy.below(symbols.symbols.len());
            Value::Enum(u32::try_from(index).expect("few"), symbols.symbols[index].clone())
        }
        Schema::Array(array) => {
            let count = entropy.below(4) * entropy.below(30);
            Value::Array((0..count).map(|_| value(&array.items, entropy)).collect())
        }
        // the reference keeps maps in a hash map: more than one entry has no order
        Schema::Map(map) => Value::Map((0..entropy.below(2)).map(|_| (entropy.text(), value(&map.types, entropy))).collect()),
        Schema::Record(record) => {
            Value::Record(record.fields.iter().map(|field| (field.name.clone(), value(&field.schema, entropy))).collect())
        }
        Schema::Union(union) => {
            let position = entropy.below(union.variants().len());
            let inner = value(&union.variants()[position], entropy);
            Value::Union(u32::try_from(position).expect("few"), Box::new(inner))
        }
        Schema::Decimal(_) => Value::Decimal(i64_bytes(entropy.long()).into()),
        Schema::Uuid(_) => Value::Uuid(uuid::Uuid::from_bytes(std::array::from_fn(|_| entropy.byte()))),
        Schema::Date => Value::Date(small(entropy)),
        Schema::TimeMillis => Value::TimeMillis(small(entropy)),
        Schema::TimeMicros => Value::TimeMicros(entropy.long()),
        Schema::TimestampMillis => Value::TimestampMillis(entropy.long()),
        Schema::TimestampMicros => Value::TimestampMicros(entropy.long()),
        Schema::TimestampNanos => Value::TimestampNanos(entropy.long()),
        Schema::LocalTimestampMillis => Value::LocalTimestampMillis(entropy.long()),
        Schema::LocalTimestampMicros => Value::LocalTimestampMicros(entropy.long()),
        Schema::LocalTimestampNanos => Value::LocalTimestampNanos(entropy.long()),
        Schema::Duration(_) => {
            let bytes: [u8; 12] = std::array::from_fn(|_| entropy.byte());
            Value::Duration(bytes.into())
        }
        Schema::BigDecimal | Schema::Ref { .. } => unreachable!("not generated"),
    }
}

fn small(entropy: &Entropy<'_>) -> i32 {
    i32::from_le_bytes(std::array::from_fn(|_| entropy.byte())) >> (entropy.below(4) * 8)
}

/// Two's complement, as short as can be.
fn i64_bytes(long: i64) -> Vec<u8> {
    let bytes = long.to_be_bytes();
    let redundant = bytes.windows(2).take_while(|w| w[0] == 0 && w[1] < 0x80 || w[0] == 0xFF && w[1] >= 0x80).count();
    bytes[redundant..].to_vec()
}

fn write_json(schema: &Schema, value: &Value, turned: bool, out: &mut String) {
    match value {
        Value::Union(position, inner) => {
            let Schema::Union(union) = schema else { unreachable!("a union") };
            let branch = &union.variants()[*position as usize];
            let others = union.variants().len() > 1 && !union.variants().iter().any(|v| matches!(v, Schema::Map(_)));
            if others {
                let _ = write!(out, "{{{}:", json!(tag(branch)));
            }
            write_json(branch, inner, turned, out);
            out.push_str(if others { "}" } else { "" });
        }
        Value::Array(items) => {
            let Schema::Array(array) = schema else { unreachable!("an array") };
            list(out, ['[', ']'], items.iter(), |item, out| write_json(&array.items, item, turned, out));
        }
        Value::Map(entries) => {
            let Schema::Map(map) = schema else { unreachable!("a map") };
            list(out, ['{', '}'], entries.iter(), |(key, value), out| {
                let _ = write!(out, "{}:", json!(key));
                write_json(&map.types, value, turned, out);
            });
        }
        Value::Record(fields) => {
            let Schema::Record(record) = schema else { unreachable!("a record") };
            let mut members: Vec<_> = fields.iter().zip(&record.fields).collect();
            if turned {
                members.reverse();
            }
            list(out, ['{', '}'], members.into_iter(), |((name, value), field), out| {
                let _ = write!(out, "{}:", json!(name));
                write_json(&field.schema, value, turned, out);
            });
        }
        scalar => out.push_str(&scalar_json(scalar, turned).to_string()),
    }
}

fn list<T>(out: &mut String, [open, close]: [char; 2], items: impl Iterator<Item = T>, mut write: impl FnMut(T, &mut String)) {
    out.push(open);
    for (index, item) in items.enumerate() {
        out.push_str(if index > 0 { " , " } else { "" });
        write(item, out);
    }
    out.push(close);
}

fn scalar_json(value: &Value, turned: bool) -> Json {
    use base64::Engine as _;
    let base64 = |bytes: &[u8]| json!(base64::engine::general_purpose::STANDARD.encode(bytes));
    match value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => json!(boolean),
        Value::Int(int) | Value::Date(int) | Value::TimeMillis(int) => json!(int),
        Value::Long(long) if turned => json!(long.to_string()),
        Value::Long(long)
        | Value::TimeMicros(long)
        | Value::TimestampMillis(long)
        | Value::TimestampMicros(long)
        | Value::TimestampNanos(long)
        | Value::LocalTimestampMillis(long)
        | Value::LocalTimestampMicros(long)
        | Value::LocalTimestampNanos(long) => json!(long),
        Value::Float(float) if float.is_finite() => json!(float),
        Value::Double(double) if double.is_finite() => json!(double),
        Value::Float(float) => json!(not_finite(f64::from(*float))),
        Value::Double(double) => json!(not_finite(*double)),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => base64(bytes),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Decimal(decimal) => {
            let bytes = Vec::<u8>::try_from(decimal).expect("bytes");
            let negative = bytes.first().is_some_and(|top| *top >= 0x80);
            let unscaled = bytes.iter().fold(if negative { -1 } else { 0 }, |sum: i64, byte| sum << 8 | i64::from(*byte));
            let (whole, rest) = (unscaled.unsigned_abs() / 10_000, unscaled.unsigned_abs() % 10_000);
            json!(format!("{}{whole}.{rest:04}", if unscaled < 0 { "-" } else { "" }))
        }
        Value::Uuid(uuid) => json!(uuid.to_string()),
        Value::Duration(duration) => json!({
            "months": u32::from(duration.months()), "days": u32::from(duration.days()), "millis": u32::from(duration.millis())
        }),
        other => unreachable!("no scalar: {other:?}"),
    }
}

fn not_finite(double: f64) -> &'static str {
    match double {
        nan if nan.is_nan() => "NaN",
        positive if positive > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// What names a branch: the full name, or the type that carries it.
fn tag(schema: &Schema) -> String {
    if let Some(name) = schema.name() {
        return name.fullname(None);
    }
    match serde_json::to_value(schema).expect("a schema") {
        Json::String(name) => name,
        schema => schema["type"].as_str().expect("a type").to_owned(),
    }
}
