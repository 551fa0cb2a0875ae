//! Values that are one JSON token.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

use super::binary::write_length;
use super::errors::code;
use super::node::{Node, Unit, UuidForm};
use super::number::{LITERAL_MAX, Refusal, integer, integer_in_string};
use super::{Plan, civil, decimal};
use crate::datum::{write_bytes, write_long};

/// The standard alphabet; written with padding, read with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends the number whose raw text is `raw`.
pub(super) fn number(node: Node, raw: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if raw.len() > LITERAL_MAX {
        return Err(Refusal::format("number literals have at most 1024 bytes"));
    }
    match node {
        Node::Int | Node::Date | Node::TimeMillis => {
            let int = i32::try_from(integer(raw)?).map_err(|_| Refusal::RANGE)?;
            write_long(i64::from(int), out);
        }
        Node::Long | Node::TimeMicros | Node::Timestamp { .. } => write_long(integer(raw)?, out),
        Node::Unsigned => out.extend(u32::try_from(integer(raw)?).map_err(|_| Refusal::RANGE)?.to_le_bytes()),
        Node::Float => {
            let float: f32 = raw.parse().map_err(|_| Refusal::WRONG_TYPE)?;
            out.extend(Some(float).filter(|float| float.is_finite()).ok_or(Refusal::RANGE)?.to_le_bytes());
        }
        Node::Double => {
            let double: f64 = raw.parse().map_err(|_| Refusal::WRONG_TYPE)?;
            out.extend(Some(double).filter(|double| double.is_finite()).ok_or(Refusal::RANGE)?.to_le_bytes());
        }
        Node::Decimal { precision, scale, fixed } => decimal::write(raw, precision, scale, fixed, out)?,
        _ => return Err(Refusal::WRONG_TYPE),
    }
    Ok(())
}

/// Appends the value that the string `text` is.
pub(super) fn text(plan: &Plan, node: Node, text: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match node {
        Node::String => write_bytes(text.as_bytes(), out),
        Node::Bytes => write_base64(text, None, out)?,
        Node::Fixed(size) => write_base64(text, Some(size), out)?,
        Node::Enum(index) => {
            let unknown = Refusal { code: code::UNKNOWN_SYMBOL, message: "the enum has no such symbol" };
            write_length(plan.enums[index].lookup.find(text).ok_or(unknown)?, out);
        }
        Node::Uuid(form) => write_uuid(text, form, out)?,
        Node::Decimal { precision, scale, fixed } => decimal::write(text, precision, scale, fixed, out)?,
        Node::Date => write_long(civil::parse_date(text)?, out),
        Node::TimeMillis => write_long(civil::parse_time(text, Unit::Millis)?, out),
        Node::TimeMicros => write_long(civil::parse_time(text, Unit::Micros)?, out),
        Node::Timestamp { unit, local } => write_long(civil::parse_timestamp(text, unit, local)?, out),
        Node::Long => write_long(integer_in_string(text)?, out),
        Node::Float => out.extend(not_finite([f32::NAN, f32::INFINITY, f32::NEG_INFINITY], text)?.to_le_bytes()),
        Node::Double => out.extend(not_finite([f64::NAN, f64::INFINITY, f64::NEG_INFINITY], text)?.to_le_bytes()),
        _ => return Err(Refusal::WRONG_TYPE),
    }
    Ok(())
}

/// The floats that JSON has no numbers for.
fn not_finite<F>([nan, infinity, minus_infinity]: [F; 3], text: &str) -> Result<F, Refusal> {
    match text {
        "NaN" => Ok(nan),
        "Infinity" => Ok(infinity),
        "-Infinity" => Ok(minus_infinity),
        _ => Err(Refusal::WRONG_TYPE),
    }
}

fn write_base64(text: &str, size: Option<usize>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let length = text.trim_end_matches('=').len() * 3 / 4;
    if size.is_some_and(|size| size != length) {
        return Err(Refusal { code: code::BAD_LENGTH, message: "the bytes are not as many as the type has" });
    }
    if size.is_none() {
        write_length(length, out);
    }
    let start = out.len();
    out.resize(start + base64::decoded_len_estimate(text.len()), 0);
    let decoded = BASE64.decode_slice(text, &mut out[start..]);
    let bad = Refusal { code: code::BAD_BASE64, message: "expected base64 in the standard alphabet" };
    let written = decoded.ok().filter(|written| *written == length).ok_or(bad)?;
    out.truncate(start + written);
    Ok(())
}

fn write_uuid(text: &str, form: UuidForm, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let bad = Refusal::format("expected a uuid in its form of 36 characters");
    let uuid = Some(text).filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok()).ok_or(bad)?;
    match form {
        UuidForm::String => write_bytes(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(), out),
        UuidForm::Bytes => write_bytes(uuid.as_bytes(), out),
        UuidForm::Fixed => out.extend_from_slice(uuid.as_bytes()),
    }
    Ok(())
}
