//! Collecting everything that is wrong with one event.

use schemas::plan::{FieldError, FieldErrors};

use crate::verdict::{ACTUAL_CHARS_MAX, Fault, Invalid, SchemaRef};

/// The findings of one event. The gravest reason wins: the one named first in [`Invalid`].
#[derive(Default)]
pub(crate) struct Faults {
    reason: Option<Invalid>,
    pub(crate) errors: FieldErrors,
}

impl Faults {
    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.reason.is_none()
    }

    /// Adds a finding.
    pub(crate) fn add(&mut self, reason: Invalid, error: FieldError) {
        self.blame(reason);
        self.errors.push(error);
    }

    /// Notes a reason whose findings are in `errors` already.
    pub(crate) fn blame(&mut self, reason: Invalid) {
        self.reason = Some(self.reason.map_or(reason, |before| before.min(reason)));
    }

    /// The collected fault; nothing is left behind. `None` if nothing was found.
    pub(crate) fn take(&mut self, schema: Option<SchemaRef>) -> Option<Box<Fault>> {
        let reason = self.reason.take()?;
        let omitted = self.errors.omitted();
        Some(Box::new(Fault { reason, errors: self.errors.take(), omitted, schema }))
    }
}

/// A finding. `actual` is cut to 64 characters.
pub(crate) fn finding(
    pointer: impl Into<String>,
    code: &'static str,
    expected: impl Into<String>,
    actual: &str,
    message: impl Into<String>,
) -> FieldError {
    let (expected, actual) = (expected.into(), actual.chars().take(ACTUAL_CHARS_MAX).collect::<String>());
    FieldError {
        pointer: pointer.into(),
        code,
        expected: Some(expected).filter(|text| !text.is_empty()),
        actual: Some(actual).filter(|text| !text.is_empty()),
        message: message.into(),
        byte: None,
    }
}
