//! What the edge says about one event: five closed verdicts and their reasons.
//!
//! `E3`: a [`Verdict::Retry`] is certainly not written; [`Verdict::Unknown`] may be, and is safe to repeat *with the
//! same id*. `E4`: every event of a request gets exactly one, in request order.

use schemas::plan::FieldError;

/// Why an event can never be taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Invalid {
    /// The line or value is no JSON.
    Syntax,
    /// A CloudEvents attribute is missing, malformed or not the caller's to set.
    Envelope,
    /// The stream has no such type (or not for callers).
    UnknownType,
    /// The data does not fit the type's schema.
    Schema,
    /// No usable subject.
    Subject,
    /// No usable id.
    Id,
    /// The id was used before for something else.
    IdReused,
    /// The event is larger than its limit.
    TooLarge,
    /// The caller may not write this subject or source.
    Forbidden,
}

impl Invalid {
    /// The word on the wire.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Envelope => "envelope",
            Self::UnknownType => "unknown_type",
            Self::Schema => "schema",
            Self::Subject => "subject",
            Self::Id => "id",
            Self::IdReused => "id_reused",
            Self::TooLarge => "too_large",
            Self::Forbidden => "forbidden",
        }
    }
}

/// Why an event was not taken although it may be fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Retry {
    /// The same event is being sent right now.
    InProgress,
    /// The log cannot be reached, or did not take the record.
    LogUnavailable,
    /// The memory for bytes in flight is used up.
    Overloaded,
    /// `?strict=true` and another event of the request is invalid.
    Withheld,
    /// The process is going away.
    ShuttingDown,
}

impl Retry {
    /// The word on the wire.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::LogUnavailable => "log_unavailable",
            Self::Overloaded => "overloaded",
            Self::Withheld => "withheld",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Why it is not known whether an event was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Unknown {
    /// No report came before the deadline.
    AckTimeout,
    /// It was sent, and the outcome cannot be learned.
    AckLost,
}

impl Unknown {
    /// The word on the wire.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AckTimeout => "ack_timeout",
            Self::AckLost => "ack_lost",
        }
    }
}

/// Where an event stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Partition of `<stream>.events`.
    pub(crate) partition: i32,
    /// Offset there.
    pub(crate) offset: i64,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Acknowledged by all in-sync replicas at this position (E1).
    Accepted {
        /// Where it stands.
        at: Position,
        /// Names the event for `GET /v1/events/{receipt}`.
        receipt: String,
    },
    /// This very event stands in the log already (E6).
    Duplicate {
        /// Where the first record stands.
        at: Position,
        /// Receipt of the first record.
        receipt: String,
        /// When the first one was acknowledged, ms since the Unix epoch; `None` inside one request.
        first_seen: Option<i64>,
        /// Index of the first one when both came in the same request.
        duplicate_of: Option<usize>,
    },
    /// It can never be taken as it is.
    Invalid(Box<Fault>),
    /// Certainly not written; sending it again is safe (E3).
    Retry {
        /// Why.
        reason: Retry,
        /// When it is worth trying, in ms.
        after_ms: u64,
    },
    /// May have been written; sending it again with the same id is safe (E3).
    Unknown {
        /// Why.
        reason: Unknown,
        /// Names the event; its status tells whether it was written.
        receipt: String,
        /// When it is worth asking or trying, in ms.
        after_ms: u64,
    },
}

/// Everything that is wrong with one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The gravest kind of what was found.
    pub(crate) reason: Invalid,
    /// Each finding with its place, at most `schemas::plan::FIELD_ERRORS_MAX`.
    pub(crate) errors: Vec<FieldError>,
    /// How many more there were.
    pub(crate) omitted: usize,
    /// The schema the data was held against, when it came to that.
    pub(crate) schema: Option<SchemaRef>,
}

/// Names a registered schema.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct SchemaRef {
    /// Id in the registry.
    pub(crate) id: i32,
    /// The record's full name.
    pub(crate) name: String,
}

/// Findings told per request; the rest is counted.
pub(crate) const ERRORS_PER_REQUEST: usize = 1_000;
/// Characters of `actual` that are told.
pub(crate) const ACTUAL_CHARS_MAX: usize = 64;

/// The five kinds, in the order of `counts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// [`Verdict::Accepted`]
    Accepted,
    /// [`Verdict::Duplicate`]
    Duplicate,
    /// [`Verdict::Invalid`]
    Invalid,
    /// [`Verdict::Retry`]
    Retry,
    /// [`Verdict::Unknown`]
    Unknown,
}

impl Kind {
    /// The word on the wire.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Invalid => "invalid",
            Self::Retry => "retry",
            Self::Unknown => "unknown",
        }
    }
}

impl Verdict {
    /// A single finding as a verdict.
    #[must_use]
    pub(crate) fn invalid(reason: Invalid, error: FieldError) -> Self {
        Self::Invalid(Box::new(Fault { reason, errors: vec![error], omitted: 0, schema: None }))
    }

    /// Which of the five it is.
    #[must_use]
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Accepted { .. } => Kind::Accepted,
            Self::Duplicate { .. } => Kind::Duplicate,
            Self::Invalid(_) => Kind::Invalid,
            Self::Retry { .. } => Kind::Retry,
            Self::Unknown { .. } => Kind::Unknown,
        }
    }

    /// The reason's word; empty for `accepted` and `duplicate`.
    #[must_use]
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Accepted { .. } | Self::Duplicate { .. } => "",
            Self::Invalid(fault) => fault.reason.name(),
            Self::Retry { reason, .. } => reason.name(),
            Self::Unknown { reason, .. } => reason.name(),
        }
    }

    /// The receipt, where the event may be in the log.
    #[must_use]
    pub(crate) fn receipt(&self) -> Option<&str> {
        match self {
            Self::Accepted { receipt, .. } | Self::Duplicate { receipt, .. } | Self::Unknown { receipt, .. } => Some(receipt),
            Self::Invalid(_) | Self::Retry { .. } => None,
        }
    }
}
