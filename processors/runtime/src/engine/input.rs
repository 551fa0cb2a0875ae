//! What a shard reads: records of its input topics, and the envelope in their headers.

use std::sync::Arc;

use bytes::Bytes;
use schemas::key::EventKey;
use schemas::names;
use schemas::registry::RegisteredSchema;

use super::headers::HeaderList;
use crate::processor::Principal;

/// One of the topics that shards read, as [`super::settings::Settings`] counts them: the stream's own events first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Feed(pub usize);

impl Feed {
    /// The stream's own events.
    pub const EVENTS: Self = Self(0);
}

/// A partition of an input topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inlet {
    /// Which topic.
    pub feed: Feed,
    /// Partition number.
    pub shard: i32,
}

/// One record of an input topic, as polled.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Which topic.
    pub feed: Feed,
    /// Partition number.
    pub shard: i32,
    /// Offset in the input topic.
    pub offset: i64,
    /// The record's timestamp, ms: the broker's append time.
    pub appended_ms: i64,
    /// Record key: the subject.
    pub key: Option<Bytes>,
    /// Record value: magic, schema id, datum.
    pub value: Bytes,
    /// Record headers.
    pub headers: HeaderList,
    /// Who wrote the value, looked up before the engine sees it.
    pub writer: Writer,
}

/// The schema a value was written with.
#[derive(Clone, Debug)]
pub enum Writer {
    /// The catalog's current schema of this record.
    Current(Arc<str>),
    /// Another registered version; the datum must be resolved first.
    Other(Arc<RegisteredSchema>),
    /// The registry does not know the id.
    Unknown(i32),
    /// The value has no frame at all.
    Unframed,
}

/// CloudEvents attributes of a record, with the defaults of plain producers filled in.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// `ce_id`; absent: `<topic>/<partition>/<offset>`, which is unique.
    pub id: String,
    /// `ce_source`; absent: the account of the principal, else empty.
    pub source: String,
    /// `ce_type`; absent: derived from the writer schema's record.
    pub event_type: Option<String>,
    /// `ce_time` as µs, if it can be read.
    pub time: Option<i64>,
    /// `ce_principal` and `ce_admin`.
    pub principal: Option<Principal>,
    /// `ce_redriveof`.
    pub redrive_of: Option<String>,
    /// `ce_hops`: how many sends lie between the first event and this one.
    pub hops: u32,
    /// `traceparent`.
    pub traceparent: Option<String>,
    /// What results name as their cause, when that is not the event key: a timer's agenda id.
    pub cause: Option<String>,
}

impl Envelope {
    /// Reads the headers of `record`, which came from `topic` (without prefix).
    #[must_use]
    pub fn of(record: &Arrived, topic: &str) -> Self {
        let mut envelope = Self::default();
        let (mut admin, mut principal) = (false, None);
        for (name, value) in record.headers.iter() {
            let Ok(text) = std::str::from_utf8(value) else { continue };
            match name {
                names::HEADER_CE_ID => text.clone_into(&mut envelope.id),
                names::HEADER_CE_SOURCE => text.clone_into(&mut envelope.source),
                names::HEADER_CE_TYPE => envelope.event_type = Some(text.to_owned()),
                names::HEADER_CE_TIME => envelope.time = micros_of(text),
                names::HEADER_CE_PRINCIPAL => principal = text.split_once('/'),
                names::HEADER_CE_ADMIN => admin = true,
                names::HEADER_CE_REDRIVEOF => envelope.redrive_of = Some(text.to_owned()),
                // what cannot be read counts as too many
                names::HEADER_CE_HOPS => envelope.hops = text.parse().unwrap_or(u32::MAX),
                names::HEADER_TRACEPARENT => envelope.traceparent = Some(text.to_owned()),
                _ => {}
            }
        }
        if let Some((account, id)) = principal {
            envelope.principal = Some(Principal { account: account.to_owned(), id: id.to_owned(), admin });
            if envelope.source.is_empty() {
                envelope.source = format!("/accounts/{account}");
            }
        }
        if envelope.id.is_empty() {
            envelope.id = format!("{topic}/{}/{}", record.shard, record.offset);
        }
        envelope
    }

    /// The key duplicates are found by.
    #[must_use]
    pub fn key(&self) -> EventKey {
        EventKey::of(&self.source, &self.id, self.redrive_of.as_deref())
    }
}

fn micros_of(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}
