//! Defaults of fields, from the JSON of the schema to bytes.
//!
//! Schemas write defaults by Avro's own rules (1.12, "complex types"), which differ from ours for data: bytes are strings of code
//! points up to 255, logical types stand as their base type, a union's default is any branch that takes it.

use serde_json::Value;

use super::binary::{close_block, write_length};
use super::compile::Defaults;
use super::node::{Node, UuidForm};
use super::{DEPTH_MAX, Error, Plan};
use crate::datum::{write_bytes, write_long};

/// Encodes all defaults into the plan's records.
pub(super) fn fill(plan: &mut Plan, defaults: &Defaults) -> Result<(), Error> {
    for (record, values) in defaults.iter().enumerate() {
        for (position, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let mut bytes = Vec::new();
            let field = &plan.records[record].fields[position];
            let fits = write(&Schema { plan, defaults }, field.node, value, &mut bytes, 0);
            fits.ok_or_else(|| Error::Default { record: plan.records[record].name.clone(), field: field.name.clone() })?;
            plan.records[record].fields[position].default = Some(bytes);
        }
    }
    Ok(())
}

struct Schema<'a> {
    plan: &'a Plan,
    defaults: &'a Defaults,
}

/// Appends `value`; `None` if it does not fit, with part of it written.
fn write(schema: &Schema<'_>, node: Node, value: &Value, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    match (node, value) {
        (Node::Null, Value::Null) => {}
        (Node::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Node::Int | Node::Date | Node::TimeMillis, Value::Number(number)) => {
            write_long(i64::from(i32::try_from(number.as_i64()?).ok()?), out);
        }
        (Node::Long | Node::TimeMicros | Node::Timestamp { .. }, Value::Number(number)) => write_long(number.as_i64()?, out),
        (Node::Float, Value::Number(number)) => out.extend(number.to_string().parse::<f32>().ok()?.to_le_bytes()),
        (Node::Double, Value::Number(number)) => out.extend(number.as_f64()?.to_le_bytes()),
        (Node::String | Node::Uuid(UuidForm::String), Value::String(text)) => write_bytes(text.as_bytes(), out),
        (Node::Bytes | Node::Decimal { fixed: None, .. } | Node::Uuid(UuidForm::Bytes), Value::String(text)) => {
            write_bytes(&latin1(text, None)?, out);
        }
        (Node::Fixed(size) | Node::Decimal { fixed: Some(size), .. }, Value::String(text)) => {
            out.extend(latin1(text, Some(size))?);
        }
        (Node::Uuid(UuidForm::Fixed), Value::String(text)) => out.extend(latin1(text, Some(16))?),
        (Node::Record(index), Value::String(text)) if schema.plan.records[index].is_duration() => {
            out.extend(latin1(text, Some(12))?);
        }
        (Node::Enum(index), Value::String(symbol)) => write_length(schema.plan.enums[index].lookup.find(symbol)?, out),
        (Node::Array(items), Value::Array(values)) => {
            let start = out.len();
            out.push(0);
            for value in values {
                write(schema, schema.plan.nodes[items], value, out, depth + 1)?;
            }
            close_block(start, values.len(), out);
        }
        (Node::Map(values), Value::Object(members)) => {
            let start = out.len();
            out.push(0);
            for (key, value) in members {
                write_bytes(key.as_bytes(), out);
                write(schema, schema.plan.nodes[values], value, out, depth + 1)?;
            }
            close_block(start, members.len(), out);
        }
        (Node::Record(index), Value::Object(members)) => {
            for (field, default) in schema.plan.records[index].fields.iter().zip(&schema.defaults[index]) {
                let value = members.get(&field.name).or(default.as_ref())?;
                write(schema, field.node, value, out, depth + 1)?;
            }
        }
        (Node::Union(index), value) => {
            let start = out.len();
            return schema.plan.unions[index].branches.iter().enumerate().find_map(|(position, branch)| {
                out.truncate(start);
                write_length(position, out);
                write(schema, branch.node, value, out, depth + 1)
            });
        }
        _ => return None,
    }
    Some(())
}

/// Code points up to 255 as bytes.
fn latin1(text: &str, size: Option<usize>) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect::<Option<_>>()?;
    size.is_none_or(|size| size == bytes.len()).then_some(bytes)
}
