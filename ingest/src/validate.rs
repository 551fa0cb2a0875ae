//! The dry run: what would be said about each event, with nothing sent.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::answer::{self, Finding};
use crate::arena::{Arena, Event};
use crate::stream::Stream;
use crate::verdict::ERRORS_PER_REQUEST;

#[derive(Serialize)]
struct Report<'a> {
    counts: Counts,
    events: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Counts {
    valid: usize,
    invalid: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    index: usize,
    valid: bool,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Finding<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_omitted: Option<usize>,
}

/// Tells what is wrong with each event.
pub(crate) fn respond(stream: &Stream, arena: &Arena) -> Response {
    let invalid = arena.events.iter().filter(|event| event.record.is_err()).count();
    let counts = Counts { valid: arena.events.len() - invalid, invalid };
    let mut errors_left = ERRORS_PER_REQUEST;
    let events = arena.events.iter().enumerate();
    let events = events.map(|(index, event)| entry(stream, arena, index, event, &mut errors_left)).collect();
    answer::json(StatusCode::OK, &Report { counts, events })
}

fn entry<'a>(stream: &'a Stream, arena: &'a Arena, index: usize, event: &'a Event, errors_left: &mut usize) -> Entry<'a> {
    let fault = event.record.as_ref().err();
    let found = fault.map_or(&[][..], |fault| &fault.errors);
    let shown = found.len().min(*errors_left);
    *errors_left -= shown;
    let omitted = fault.map_or(0, |fault| fault.omitted) + found.len() - shown;
    Entry {
        index,
        valid: fault.is_none(),
        kind: event.kind.and_then(|kind| stream.kinds.get(kind)).map(|kind| kind.ce_type.as_str()),
        id: event.id.map(|id| arena.text(id)),
        subject: event.subject.map(|subject| arena.text(subject)),
        reason: fault.map(|fault| fault.reason.name()),
        errors: found[..shown].iter().map(Finding::from).collect(),
        errors_omitted: Some(omitted).filter(|omitted| *omitted > 0),
    }
}
