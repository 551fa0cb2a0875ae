//! What is wrong with an event, field by field.

use super::number::Refusal;
use crate::datum::DecodeError;

/// The closed list of codes; stable, part of the API.
pub mod code {
    /// A required field is absent.
    pub const MISSING: &str = "missing";
    /// The schema has no such field.
    pub const UNKNOWN_FIELD: &str = "unknown_field";
    /// The key stands in this object a second time.
    pub const DUPLICATE_KEY: &str = "duplicate_key";
    /// A JSON value of another kind is needed.
    pub const WRONG_TYPE: &str = "wrong_type";
    /// The number does not fit the type.
    pub const OUT_OF_RANGE: &str = "out_of_range";
    /// Digits would be lost.
    pub const PRECISION: &str = "precision";
    /// The enum has no such symbol.
    pub const UNKNOWN_SYMBOL: &str = "unknown_symbol";
    /// No branch of the union takes the value.
    pub const NO_BRANCH: &str = "no_branch";
    /// Several branches of the union could be meant.
    pub const AMBIGUOUS_UNION: &str = "ambiguous_union";
    /// The string is not base64.
    pub const BAD_BASE64: &str = "bad_base64";
    /// The bytes are not as many as the type needs.
    pub const BAD_LENGTH: &str = "bad_length";
    /// The string is no Unicode text.
    pub const BAD_UTF8: &str = "bad_utf8";
    /// The text is not written as the type needs it.
    pub const BAD_FORMAT: &str = "bad_format";
    /// Nested deeper than the limit.
    pub const TOO_DEEP: &str = "too_deep";
    /// More array and map entries than the limit.
    pub const TOO_MANY: &str = "too_many";
    /// An Avro datum ends too early.
    pub const TRUNCATED: &str = "truncated";
    /// Bytes are left behind an Avro datum.
    pub const TRAILING_BYTES: &str = "trailing_bytes";
}

/// Errors kept per event; the rest is counted.
pub const FIELD_ERRORS_MAX: usize = 20;

/// Characters of the value shown.
const ACTUAL_MAX: usize = 64;

/// One fault of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where, RFC 6901; into the event as sent, for Avro by the schema's names.
    pub pointer: String,
    /// What kind of fault, one of [`code`].
    pub code: &'static str,
    /// The type or value needed, where there is one.
    pub expected: Option<String>,
    /// What was there, as sent, cut to 64 characters.
    pub actual: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// For Avro bodies: the byte offset in the datum.
    pub byte: Option<usize>,
}

impl FieldError {
    pub(super) fn new(pointer: String, refusal: Refusal, expected: Option<String>, actual: Option<&str>) -> Self {
        let actual = actual.map(|value| value.chars().take(ACTUAL_MAX).collect());
        FieldError { pointer, code: refusal.code, expected, actual, message: refusal.message.to_owned(), byte: None }
    }
}

/// The faults of one event, bounded.
#[derive(Debug, Clone, Default)]
pub struct FieldErrors {
    kept: Vec<FieldError>,
    omitted: usize,
}

impl FieldErrors {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        FieldErrors::default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those kept, in the order found: at most [`FIELD_ERRORS_MAX`].
    #[must_use]
    pub fn kept(&self) -> &[FieldError] {
        &self.kept
    }

    /// How many more there were.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// Takes the errors kept, leaving none and forgetting the omitted ones.
    pub fn take(&mut self) -> Vec<FieldError> {
        self.omitted = 0;
        std::mem::take(&mut self.kept)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.omitted = 0;
    }

    /// Adds one, or counts it when there are enough.
    pub fn push(&mut self, error: FieldError) {
        if self.has_room() {
            self.kept.push(error);
        } else {
            self.omitted += 1;
        }
    }

    /// How many faults there were, kept or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.len() + self.omitted
    }

    fn has_room(&self) -> bool {
        self.kept.len() < FIELD_ERRORS_MAX
    }

    /// Adds what `error` makes, which is not asked when it would only be counted.
    pub(super) fn push_with(&mut self, error: impl FnOnce() -> FieldError) {
        if self.has_room() {
            self.kept.push(error());
        } else {
            self.omitted += 1;
        }
    }
}

/// Appends one reference token to a pointer (RFC 6901 §3).
pub(super) fn push_segment(pointer: &mut String, segment: &str) {
    pointer.push('/');
    for character in segment.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
}

/// Why a datum is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}, in {pointer:?}")]
pub struct CheckError {
    /// Where, by the schema's names, array indexes and map keys.
    pub pointer: String,
    /// What kind of fault, one of [`code`].
    pub code: &'static str,
    /// What is wrong, with the byte offset.
    pub error: DecodeError,
}

impl From<DecodeError> for CheckError {
    fn from(error: DecodeError) -> Self {
        let code = match &error {
            DecodeError::Truncated { .. } => code::TRUNCATED,
            DecodeError::Trailing { .. } => code::TRAILING_BYTES,
            _ => code::BAD_FORMAT,
        };
        CheckError { pointer: String::new(), code, error }
    }
}

impl From<CheckError> for DecodeError {
    fn from(error: CheckError) -> Self {
        error.error
    }
}

impl From<CheckError> for FieldError {
    fn from(check: CheckError) -> Self {
        let byte = match check.error {
            DecodeError::Truncated { at } | DecodeError::Invalid { at, .. } => Some(at),
            _ => None,
        };
        FieldError {
            pointer: check.pointer,
            code: check.code,
            expected: None,
            actual: None,
            message: check.error.to_string(),
            byte,
        }
    }
}
