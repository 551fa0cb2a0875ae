//! What an input leaves behind beside rows: results, status, and the context `decide` gets.

mod send;

use std::sync::Arc;

use bytes::Bytes;
use schemas::catalog::HeaderStyle;
use schemas::datum::Datum;
use schemas::engine::Rejected;
use schemas::key::{self, EventKey};
use schemas::{frame, names};
use state::records::{EventStatus, Product, Source, State, Step};
use state::{StatusKey, StatusWrite};

use super::due::Before;
use super::headers::HeaderList;
use super::input::{Arrived, Envelope};
use super::settings::Settings;
use super::transaction::{OutRecord, Topic};
use crate::dead_letter::Reason;
use crate::processor::{Context, Refusal};
use crate::time::Rfc3339;

/// Products named in a status at the most.
pub const PRODUCTS_MAX: usize = 32;

/// An input that is being processed.
pub struct Told<'a> {
    /// The record.
    pub record: &'a Arrived,
    /// Its envelope.
    pub envelope: &'a Envelope,
    /// Its event key.
    pub key: EventKey,
    /// Its subject.
    pub subject: &'a Arc<str>,
    /// Append time as the shard counts it, ms; of a timer the frame's time.
    pub appended: i64,
    /// What results name as their cause instead of the event key.
    pub cause: Option<&'a str>,
    /// What it is restored from when it waits and is no record.
    pub source: Option<&'a Source>,
    /// What happened to it before.
    pub before: &'a Before,
    /// The frame's time, µs.
    pub ts: i64,
}

/// A result before it has headers.
pub struct Result<'a> {
    /// Result type.
    pub ce_type: &'a str,
    /// Avro datum.
    pub datum: &'a [u8],
    /// Its number on the subject.
    pub seq: i64,
}

impl Told<'_> {
    /// What `decide` gets to know beside the data.
    pub fn context(&self, event_type: &Arc<str>) -> Context {
        Context {
            subject: self.subject.clone(),
            event_type: event_type.clone(),
            principal: self.envelope.principal.clone(),
            event_time: self.envelope.time.unwrap_or(self.record.appended_ms * 1_000),
            append_time: self.appended * 1_000,
            now: self.ts,
            cause: self.key.0,
            offset: self.record.offset,
        }
    }

    /// The record of a result.
    pub fn result(&self, result: &Result<'_>, settings: &Settings) -> std::result::Result<OutRecord, (Reason, String)> {
        let Result { ce_type, datum, seq } = *result;
        let Some(id) = settings.results.get(ce_type) else {
            return Err((Reason::Terminal, format!("{ce_type} is no result of {}", settings.stream)));
        };
        if datum.len() > settings.limits.result_bytes {
            return Err((Reason::TooLarge, format!("a result {ce_type} is {} bytes", datum.len())));
        }
        let mut value = Vec::with_capacity(datum.len() + frame::HEAD);
        frame::begin(*id, &mut value);
        value.extend_from_slice(datum);
        let same = |key: &&Bytes| key[..] == *self.subject.as_bytes();
        let key = self.record.key.as_ref().filter(same).cloned();
        Ok(OutRecord {
            topic: Topic::Results,
            shard: self.record.shard,
            key: Some(key.unwrap_or_else(|| Bytes::copy_from_slice(self.subject.as_bytes()))),
            value: value.into(),
            headers: self.headers(ce_type, seq, settings),
            timestamp_ms: Some(self.ts / 1_000),
            trailer: false,
        })
    }

    /// The entry of a result in the status.
    pub fn product(&self, result: &Result<'_>, settings: &Settings) -> Product {
        Product {
            kind: "result".to_owned(),
            stream: settings.stream.to_string(),
            subject: self.subject.to_string(),
            event_type: result.ce_type.to_owned(),
            seq: Some(result.seq),
            key: None,
        }
    }

    fn headers(&self, ce_type: &str, seq: i64, settings: &Settings) -> HeaderList {
        let mut headers = HeaderList::builder(if settings.headers == HeaderStyle::CloudEvents { 384 } else { 160 });
        if settings.headers == HeaderStyle::CloudEvents {
            headers.push(names::HEADER_CE_SPECVERSION, b"1.0");
            headers.push(names::HEADER_CE_ID, key::result_id(self.subject, seq).as_bytes());
            headers.push(names::HEADER_CE_SOURCE, names::stream_source(&settings.stream).as_bytes());
            headers.push(names::HEADER_CE_TYPE, ce_type.as_bytes());
            headers.push_text(names::HEADER_CE_TIME, Rfc3339(self.ts));
            if let Some(principal) = &self.envelope.principal {
                headers.push_text(names::HEADER_CE_PRINCIPAL, format_args!("{}/{}", principal.account, principal.id));
            }
        }
        if self.envelope.hops > 0 {
            headers.push_text(names::HEADER_CE_HOPS, self.envelope.hops);
        }
        headers.push_text(names::HEADER_SEQ, seq);
        match self.cause {
            Some(cause) => headers.push(names::HEADER_CAUSE, cause.as_bytes()),
            None => headers.push_text(names::HEADER_CAUSE, self.key),
        }
        headers.push_text(names::HEADER_CAUSED_AT, Rfc3339(self.appended * 1_000));
        if let Some(parent) = &self.envelope.traceparent {
            headers.push(names::HEADER_TRACEPARENT, parent.as_bytes());
        }
        headers.finish()
    }

    /// The status of the event in `state`, with the steps that led there.
    pub fn status(&self, state: State, settings: &Settings) -> EventStatus {
        let Before { attempts, next_attempt, history } = self.before;
        let queued = Step { state: State::Queued, at: self.appended * 1_000 };
        let mut status = EventStatus {
            state,
            outcome: None,
            code: None,
            detail: None,
            history: if history.is_empty() { vec![queued] } else { history.clone() },
            attempts: attempts + 1,
            next_attempt: None,
            stream: settings.stream.to_string(),
            subject: self.subject.to_string(),
            partition: self.record.shard,
            offset: self.record.offset,
            cause: None,
            products: Vec::new(),
            reason: None,
        };
        if *attempts > 0 {
            status.enter(State::Queued, (*next_attempt).min(self.ts));
        }
        status.enter(State::Processing, self.ts);
        status.enter(state, self.ts);
        status
    }

    /// The status of an event whose outcome is told later.
    pub fn open_status(&self, settings: &Settings) -> EventStatus {
        let mut status = self.status(State::Processing, settings);
        // it is in the history already
        status.history.pop();
        status
    }

    /// The write that puts `status` into the frame.
    pub fn write(&self, status: &EventStatus, settings: &Settings) -> StatusWrite {
        let life = settings.limits.status_life.as_micros() as i64;
        StatusWrite {
            key: StatusKey { event: self.key.0, part: "".into() },
            val: status.encode(),
            expire_at: Some(self.ts + life),
        }
    }
}

/// The datum of a `<noun>.rejected`.
pub fn rejected(command: &str, refusal: &Refusal) -> Bytes {
    let body = Rejected {
        command: command.to_owned(),
        code: refusal.code.to_owned(),
        detail: refusal.detail.clone(),
        pointer: refusal.pointer.clone(),
        expected: refusal.expected.clone(),
        actual: refusal.actual.clone(),
    };
    let mut out = Vec::with_capacity(96);
    body.encode(&mut out);
    out.into()
}
