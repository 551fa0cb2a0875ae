//! Dead letters: an input that cannot be processed, with its original bytes and the reason.

pub mod desk;

use bytes::Bytes;
use schemas::names;

use crate::engine::headers::HeaderList;
use crate::engine::input::Arrived;
use crate::engine::transaction::{OutRecord, Topic};

/// Why an input is a dead letter: a closed list, written as `dead_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The bytes are not what their schema says.
    Undecodable,
    /// The schema id or the event type is not known.
    UnknownSchema,
    /// No usable record key.
    NoSubject,
    /// On a partition that its key does not name.
    WrongPartition,
    /// The processor says it can never be processed.
    Terminal,
    /// The processor panicked on it.
    Panic,
    /// It ended the process each time it was tried.
    Crash,
    /// All attempts are used up.
    RetriesExhausted,
    /// Too many inputs of its subject wait already.
    ParkFull,
    /// Too many sends lie between the first event and this one: it goes in a circle.
    Hops,
    /// The input, a row, a result or a send of it is over its bound.
    TooLarge,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Undecodable,
        Self::UnknownSchema,
        Self::NoSubject,
        Self::WrongPartition,
        Self::Terminal,
        Self::Panic,
        Self::Crash,
        Self::RetriesExhausted,
        Self::ParkFull,
        Self::Hops,
        Self::TooLarge,
    ];

    /// The header's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownSchema => "unknown_schema",
            Self::NoSubject => "no_subject",
            Self::WrongPartition => "wrong_partition",
            Self::Terminal => "terminal",
            Self::Panic => "panic",
            Self::Crash => "crash",
            Self::RetriesExhausted => "retries_exhausted",
            Self::ParkFull => "park_full",
            Self::Hops => "hops",
            Self::TooLarge => "too_large",
        }
    }
}

/// Bytes of `dead_detail` at the most.
const DETAIL_BYTES_MAX: usize = 1_024;

/// The dead letter of `record`, written at `ts` (µs). `origin` is `<topic>/<partition>/<offset>`, or an agenda id.
#[must_use]
pub fn record(record: &Arrived, origin: &str, reason: Reason, detail: &str, ts: i64) -> OutRecord {
    let mut headers = HeaderList::builder(record.headers.size() + 256);
    for (name, value) in record.headers.iter() {
        headers.push(name, value);
    }
    headers.push(names::HEADER_DEAD_REASON, reason.name().as_bytes());
    headers.push(names::HEADER_DEAD_DETAIL, cut(detail).as_bytes());
    headers.push(names::HEADER_DEAD_AT, crate::time::rfc3339(ts).as_bytes());
    headers.push(names::HEADER_DEAD_ORIGIN, origin.as_bytes());
    OutRecord {
        topic: Topic::Dead,
        shard: record.shard,
        key: record.key.clone(),
        value: Bytes::clone(&record.value),
        headers: headers.finish(),
        timestamp_ms: Some(ts / 1_000),
        trailer: false,
    }
}

fn cut(detail: &str) -> &str {
    let end = (0..=detail.len().min(DETAIL_BYTES_MAX)).rev().find(|end| detail.is_char_boundary(*end));
    &detail[..end.unwrap_or(0)]
}
