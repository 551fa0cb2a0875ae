//! Stage *answer*: from verdicts to a status code and a body. The one place that knows which status means what.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use chassis::problem::{Name, Problem};

use crate::admission::{random, retry_after_seconds};
use crate::arena::{Arena, Event};
use crate::verdict::{ERRORS_PER_REQUEST, Invalid, Kind, Retry, SchemaRef, Verdict};

/// How many events got which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    accepted: usize,
    duplicate: usize,
    invalid: usize,
    retry: usize,
    unknown: usize,
}

impl Counts {
    /// Counts them.
    pub(crate) fn of<'v>(verdicts: impl Iterator<Item = &'v Verdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            match verdict.kind() {
                Kind::Accepted => counts.accepted += 1,
                Kind::Duplicate => counts.duplicate += 1,
                Kind::Invalid => counts.invalid += 1,
                Kind::Retry => counts.retry += 1,
                Kind::Unknown => counts.unknown += 1,
            }
        }
        counts
    }
}

/// The problem that one failed event is; `None` for `accepted` and `duplicate`.
pub(crate) fn problem_of(verdict: &Verdict) -> Option<Name> {
    match verdict {
        Verdict::Accepted { .. } | Verdict::Duplicate { .. } => None,
        Verdict::Invalid(fault) => Some(match fault.reason {
            Invalid::TooLarge => Name::TooLarge,
            Invalid::Forbidden => Name::Forbidden,
            Invalid::Syntax
            | Invalid::Envelope
            | Invalid::UnknownType
            | Invalid::Schema
            | Invalid::Subject
            | Invalid::Id
            | Invalid::IdReused => Name::InvalidEvent,
        }),
        Verdict::Retry { reason, .. } => Some(match reason {
            Retry::InProgress => Name::RequestInProgress,
            Retry::LogUnavailable => Name::LogUnavailable,
            Retry::Overloaded => Name::Overloaded,
            Retry::Withheld => Name::InvalidBatch,
            Retry::ShuttingDown => Name::ShuttingDown,
        }),
        Verdict::Unknown { .. } => Some(Name::OutcomeUnknown),
    }
}

/// What the whole request is told: 200, 207 or a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overall {
    /// Every event stands in the log.
    Fine,
    /// Verdicts of different kinds; the caller must read the body.
    Mixed,
    /// All failed in the same way.
    Failed(Name),
}

/// The overall answer to any multiset of verdicts. `strict`: `?strict=true` was asked and an event is invalid.
pub(crate) fn overall<'v>(verdicts: impl Iterator<Item = &'v Verdict> + Clone, batch: bool, strict: bool) -> Overall {
    if strict && batch {
        return Overall::Failed(Name::InvalidBatch);
    }
    let counts = Counts::of(verdicts.clone());
    let fine = counts.accepted + counts.duplicate;
    let kinds = [fine, counts.invalid, counts.retry, counts.unknown].iter().filter(|count| **count > 0).count();
    if kinds > 1 {
        return Overall::Mixed;
    }
    let mut names = verdicts.filter_map(problem_of);
    let Some(first) = names.next() else { return Overall::Fine };
    if !batch {
        return Overall::Failed(first);
    }
    let all_alike = names.clone().all(|name| name == first);
    if counts.invalid > 0 {
        return Overall::Failed(if all_alike && first == Name::Forbidden { first } else { Name::InvalidBatch });
    }
    if all_alike {
        return Overall::Failed(first);
    }
    // Different reasons to retry: the first that says 503 speaks for all.
    let unavailable = |name: &Name| *name != Name::RequestInProgress && *name != Name::QuotaExceeded;
    Overall::Failed(std::iter::once(first).chain(names).find(unavailable).unwrap_or(Name::Overloaded))
}

/// What an answer is made from.
pub(crate) struct Told<'a> {
    /// The stream's name.
    pub(crate) stream: &'a str,
    /// All events, settled.
    pub(crate) arena: &'a Arena,
    /// Whether the request was a batch.
    pub(crate) batch: bool,
    /// When the request arrived, ms since the Unix epoch.
    pub(crate) arrival_ms: i64,
    /// See [`overall`].
    pub(crate) strict: bool,
    /// `Prefer: return=minimal`.
    pub(crate) minimal: bool,
    /// Per event, what [`crate::wait`] learned; empty if nothing was waited for.
    pub(crate) lifecycles: Vec<Option<Value>>,
}

/// Answers a request by its verdicts.
pub(crate) fn respond(told: &Told<'_>) -> Response {
    let verdicts = told.arena.events.iter().filter_map(|event| event.verdict.as_ref());
    match overall(verdicts.clone(), told.batch, told.strict) {
        Overall::Fine => json(StatusCode::OK, &body(told)),
        Overall::Mixed => json(StatusCode::MULTI_STATUS, &body(told)),
        Overall::Failed(name) => {
            let detail = detail(name, verdicts.clone());
            let mut problem = Problem::new(name, detail);
            problem.members = members(&body(told));
            if name == Name::TooLarge {
                problem = problem.with("limit", "limits.event");
            }
            let after = verdicts.filter_map(|verdict| match verdict {
                Verdict::Retry { reason: Retry::Withheld, .. } => None,
                Verdict::Retry { after_ms, .. } | Verdict::Unknown { after_ms, .. } => Some(*after_ms),
                Verdict::Accepted { .. } | Verdict::Duplicate { .. } | Verdict::Invalid(_) => None,
            });
            problem.retry_after = after.max().map(Duration::from_millis);
            refuse(problem)
        }
    }
}

/// A value's members, to be put into a problem.
pub(crate) fn members(body: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(body) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// A problem as an answer, its `Retry-After` spread so that callers come back apart.
pub(crate) fn refuse(problem: Problem) -> Response {
    let after = problem.retry_after;
    let mut response = problem.into_response();
    if let Some(after) = after {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds(millis, random())));
    }
    response
}

/// A JSON answer below 400.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = match serde_json::to_vec(body) {
        Ok(text) => text,
        Err(error) => return Problem::new(Name::Internal, format!("the answer cannot be written: {error}")).into_response(),
    };
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The members of an answer.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Body<'a> {
    /// The bare verdict of a single event.
    Single(Box<Entry<'a>>),
    /// A batch.
    Batch {
        /// By verdict.
        counts: Counts,
        /// In request order.
        events: Vec<Entry<'a>>,
    },
}

/// Makes the members of an answer.
pub(crate) fn body<'a>(told: &'a Told<'a>) -> Body<'a> {
    let mut errors_left = ERRORS_PER_REQUEST;
    let events = &told.arena.events;
    let hidden = |event: &Event| told.batch && told.minimal && matches!(event.verdict, Some(Verdict::Accepted { .. }));
    let shown = events.iter().enumerate().filter(|(_, event)| !hidden(event));
    let mut entries: Vec<_> = shown.filter_map(|(index, event)| entry(told, index, event, &mut errors_left)).collect();
    if !told.batch {
        return Body::Single(Box::new(entries.pop().unwrap_or_default()));
    }
    let verdicts = events.iter().filter_map(|event| event.verdict.as_ref());
    Body::Batch { counts: Counts::of(verdicts), events: entries }
}

/// One event's verdict as it is told.
#[derive(Default, Serialize)]
pub(crate) struct Entry<'a> {
    index: usize,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(flatten)]
    written: Option<Written<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of: Option<usize>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a SchemaRef>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_omitted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle: Option<&'a Value>,
}

#[derive(Serialize)]
struct Written<'a> {
    stream: &'a str,
    partition: i32,
    offset: i64,
    durability: &'static str,
}

/// One finding as it is told.
#[derive(Serialize)]
pub(crate) struct Finding<'a> {
    pointer: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    byte: Option<usize>,
    message: &'a str,
}

impl<'a> From<&'a schemas::plan::FieldError> for Finding<'a> {
    fn from(error: &'a schemas::plan::FieldError) -> Self {
        Self {
            pointer: &error.pointer,
            code: error.code,
            expected: error.expected.as_deref(),
            actual: error.actual.as_deref(),
            byte: error.byte,
            message: &error.message,
        }
    }
}

fn entry<'a>(told: &'a Told<'a>, index: usize, event: &'a Event, errors_left: &mut usize) -> Option<Entry<'a>> {
    let arena = told.arena;
    let verdict = event.verdict.as_ref()?;
    let mut entry = Entry {
        index,
        verdict: verdict.kind().name(),
        id: event.id.map(|piece| arena.text(piece)),
        subject: event.subject.map(|piece| arena.text(piece)),
        reason: verdict.reason(),
        receipt: verdict.receipt(),
        lifecycle: told.lifecycles.get(index).and_then(Option::as_ref),
        ..Entry::default()
    };
    match verdict {
        Verdict::Accepted { at, .. } => entry.written = Some(written(told.stream, *at)),
        Verdict::Duplicate { at, first_seen, duplicate_of, .. } => {
            entry.written = Some(written(told.stream, *at));
            entry.first_seen = first_seen.and_then(time);
            entry.duplicate_of = *duplicate_of;
        }
        Verdict::Invalid(fault) => {
            let shown = fault.errors.len().min(*errors_left);
            *errors_left -= shown;
            entry.errors = fault.errors[..shown].iter().map(Finding::from).collect();
            entry.errors_omitted = Some(fault.omitted + fault.errors.len() - shown).filter(|omitted| *omitted > 0);
            entry.schema = fault.schema.as_ref();
        }
        Verdict::Retry { after_ms, .. } | Verdict::Unknown { after_ms, .. } => entry.retry_after_ms = Some(*after_ms),
    }
    Some(entry)
}

fn written(stream: &str, at: crate::verdict::Position) -> Written<'_> {
    Written { stream, partition: at.partition, offset: at.offset, durability: "log" }
}

/// RFC 3339 with milliseconds.
pub(crate) fn time(millis: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(millis).ok().map(|time| format!("{time:.3}"))
}

/// A sentence for people; from 500 on the problem's constant text is told instead.
fn detail<'v>(name: Name, mut verdicts: impl Iterator<Item = &'v Verdict>) -> String {
    match name {
        Name::InvalidBatch => "no event was sent; see events for what is wrong with each".into(),
        Name::RequestInProgress => "the same event is being sent right now".into(),
        _ => match verdicts.next() {
            Some(Verdict::Invalid(fault)) => fault.errors.first().map_or(String::new(), |error| error.message.clone()),
            _ => String::new(),
        },
    }
}

#[cfg(test)]
mod tests;
