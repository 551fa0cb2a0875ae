//! One rule against one value.

use apache_avro::Schema;
use regex_lite::Regex;

use super::{ACTUAL_MAX, Bound, Error, Format, Rules, whole};
use crate::datum::{Cursor, DecodeError};
use crate::plan::{FieldError, code};

/// How the bytes of a field become something that rules look at.
#[derive(Debug)]
pub(super) struct Value {
    kind: Kind,
    /// Branch of null, when the field is a union of it and one other type.
    null: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Float,
    Double,
    Text,
    Bytes,
    Items,
    Other,
}

/// What rules look at.
pub(super) enum Seen<'a> {
    Integer(i64),
    Real(f64),
    Text(&'a str),
    /// Bytes, items or entries, by their number.
    Length(usize),
}

impl Value {
    pub(super) fn of(schema: &Schema) -> Self {
        if let Schema::Union(union) = schema
            && let [first, second] = union.variants()
        {
            match (first, second) {
                (Schema::Null, other) => return Self { kind: kind_of(other), null: Some(0) },
                (other, Schema::Null) => return Self { kind: kind_of(other), null: Some(1) },
                _ => {}
            }
        }
        Self { kind: kind_of(schema), null: None }
    }

    /// The value in a field's bytes; `None` for null.
    pub(super) fn read<'a>(&self, bytes: &'a [u8]) -> Result<Option<Seen<'a>>, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        if let Some(null) = self.null
            && cursor.index(2)? == null
        {
            return Ok(None);
        }
        Ok(match self.kind {
            Kind::Integer => Some(Seen::Integer(cursor.long()?)),
            Kind::Float => Some(Seen::Real(f64::from(cursor.float()?))),
            Kind::Double => Some(Seen::Real(cursor.double()?)),
            Kind::Text => Some(Seen::Text(cursor.string()?)),
            Kind::Bytes => Some(Seen::Length(cursor.bytes()?.len())),
            // arrays and maps are written as one block
            Kind::Items => Some(Seen::Length(cursor.block()?)),
            Kind::Other => None,
        })
    }
}

fn kind_of(schema: &Schema) -> Kind {
    match schema {
        Schema::Int
        | Schema::Long
        | Schema::Date
        | Schema::TimeMillis
        | Schema::TimeMicros
        | Schema::TimestampMillis
        | Schema::TimestampMicros
        | Schema::TimestampNanos
        | Schema::LocalTimestampMillis
        | Schema::LocalTimestampMicros
        | Schema::LocalTimestampNanos => Kind::Integer,
        Schema::Float => Kind::Float,
        Schema::Double => Kind::Double,
        Schema::String => Kind::Text,
        Schema::Bytes => Kind::Bytes,
        Schema::Array(_) | Schema::Map(_) => Kind::Items,
        _ => Kind::Other,
    }
}

/// One compiled rule.
#[derive(Debug)]
pub(super) enum Test {
    Min(Bound),
    Max(Bound),
    MinLen(usize),
    MaxLen(usize),
    Pattern(Regex, String),
    Format(Format),
    OneOf(Vec<String>),
}

/// The tests of a field's rules.
pub(super) fn compile(field: &str, value: &Value, rules: &Rules) -> Result<Vec<Test>, Error> {
    let fits = |rule: &'static str, kinds: &[Kind], fits: &'static str| {
        if kinds.contains(&value.kind) { Ok(()) } else { Err(Error::Unfit { field: field.to_owned(), rule, fits }) }
    };
    let mut tests = Vec::new();
    for (rule, bound) in [("min", rules.min), ("max", rules.max)] {
        let Some(bound) = bound else { continue };
        match bound {
            Bound::Integer(_) => fits(rule, &[Kind::Integer, Kind::Float, Kind::Double], "numbers")?,
            Bound::Float(_) => fits(rule, &[Kind::Float, Kind::Double], "float and double; whole numbers take whole bounds")?,
        }
        tests.push(if rule == "min" { Test::Min(bound) } else { Test::Max(bound) });
    }
    for (rule, length) in [("min_len", rules.min_len), ("max_len", rules.max_len)] {
        let Some(length) = length else { continue };
        fits(rule, &[Kind::Text, Kind::Bytes, Kind::Items], "strings, bytes, arrays and maps")?;
        tests.push(if rule == "min_len" { Test::MinLen(length) } else { Test::MaxLen(length) });
    }
    if let Some(pattern) = &rules.pattern {
        fits("pattern", &[Kind::Text], "strings")?;
        let regex = whole(pattern).map_err(|error| Error::Pattern { field: field.to_owned(), problem: error.to_string() })?;
        tests.push(Test::Pattern(regex, pattern.clone()));
    }
    if let Some(format) = rules.format {
        fits("format", &[Kind::Text], "strings")?;
        tests.push(Test::Format(format));
    }
    if let Some(allowed) = &rules.one_of {
        fits("one_of", &[Kind::Text], "strings")?;
        tests.push(Test::OneOf(allowed.clone()));
    }
    Ok(tests)
}

/// A broken rule, before it is known where.
pub(super) struct Broken {
    code: &'static str,
    expected: String,
    actual: String,
    message: &'static str,
}

impl Broken {
    /// The violation at `field`, whose name has nothing to escape.
    pub(super) fn at(self, prefix: &str, field: &str) -> FieldError {
        FieldError {
            pointer: format!("{prefix}/{field}"),
            code: self.code,
            message: format!("{}: {}", self.message, self.expected),
            expected: Some(self.expected),
            actual: Some(self.actual),
            byte: None,
        }
    }
}

impl Test {
    /// What is wrong, if the value breaks this rule.
    pub(super) fn broken_by(&self, value: &Seen<'_>) -> Option<Broken> {
        match (self, value) {
            (Self::Min(min), number) if below(number, *min) => Some(range(format!("at least {}", text(*min)), number)),
            (Self::Max(max), number) if above(number, *max) => Some(range(format!("at most {}", text(*max)), number)),
            (Self::MinLen(min), value) if length(value) < *min => Some(wrong_length(format!("at least {min}"), length(value))),
            (Self::MaxLen(max), value) if length(value) > *max => Some(wrong_length(format!("at most {max}"), length(value))),
            (Self::Pattern(regex, pattern), Seen::Text(text)) if !regex.is_match(text) => {
                Some(wrong_text(code::BAD_FORMAT, "the string does not match", pattern.clone(), text))
            }
            (Self::Format(Format::Email), Seen::Text(text)) if !is_email(text) => {
                Some(wrong_text(code::BAD_FORMAT, "the string is not a mail address", "email".to_owned(), text))
            }
            (Self::Format(Format::Uuid), Seen::Text(text)) if !is_uuid(text) => {
                Some(wrong_text(code::BAD_FORMAT, "the string is not a UUID", "uuid".to_owned(), text))
            }
            (Self::OneOf(allowed), Seen::Text(text)) if !allowed.iter().any(|one| one == text) => {
                Some(wrong_text(code::UNKNOWN_SYMBOL, "the string is none of", allowed.join(", "), text))
            }
            _ => None,
        }
    }
}

fn below(number: &Seen<'_>, min: Bound) -> bool {
    match (number, min) {
        (Seen::Integer(number), Bound::Integer(min)) => *number < min,
        // NaN is no number in any range
        (Seen::Real(number), min) => number.is_nan() || *number < real(min),
        _ => false,
    }
}

fn above(number: &Seen<'_>, max: Bound) -> bool {
    match (number, max) {
        (Seen::Integer(number), Bound::Integer(max)) => *number > max,
        (Seen::Real(number), max) => number.is_nan() || *number > real(max),
        _ => false,
    }
}

fn real(bound: Bound) -> f64 {
    match bound {
        #[expect(clippy::cast_precision_loss, reason = "bounds of doubles are compared as doubles")]
        Bound::Integer(number) => number as f64,
        Bound::Float(number) => number,
    }
}

fn length(value: &Seen<'_>) -> usize {
    match value {
        Seen::Text(text) => text.chars().count(),
        Seen::Length(length) => *length,
        Seen::Integer(_) | Seen::Real(_) => 0,
    }
}

fn text(bound: Bound) -> String {
    match bound {
        Bound::Integer(number) => number.to_string(),
        Bound::Float(number) => number.to_string(),
    }
}

fn range(expected: String, number: &Seen<'_>) -> Broken {
    let actual = match number {
        Seen::Integer(number) => number.to_string(),
        Seen::Real(number) => number.to_string(),
        Seen::Text(_) | Seen::Length(_) => String::new(),
    };
    Broken { code: code::OUT_OF_RANGE, expected, actual, message: "the number is out of range" }
}

fn wrong_length(expected: String, actual: usize) -> Broken {
    Broken { code: code::BAD_LENGTH, expected, actual: actual.to_string(), message: "the length is wrong" }
}

fn wrong_text(code: &'static str, message: &'static str, expected: String, text: &str) -> Broken {
    Broken { code, expected, actual: text.chars().take(ACTUAL_MAX).collect(), message }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// RFC 5321 lengths; the grammar is left to the mail server, which alone can tell.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
    };
    text.len() <= 254
        && (1..=64).contains(&local.len())
        && !local.contains('@')
        && !text.chars().any(|letter| letter.is_whitespace() || letter.is_control())
        && domain.contains('.')
        && domain.split('.').all(label)
}
