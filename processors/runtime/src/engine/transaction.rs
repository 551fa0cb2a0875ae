//! What a batch wants to happen, all of it or nothing.

use std::sync::Arc;

use bytes::Bytes;
use state::Frame;

use super::headers::HeaderList;
use super::input::Inlet;
use super::log::{self, Trying};
use super::recover::Tip;
use super::step::Attempt;

/// One of the topics a worker writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `<stream>.results`.
    Results,
    /// `<stream>.dead`.
    Dead,
    /// `<stream>.log`.
    Log,
    /// `<stream>.events` of one of the streams that this one sends to, by its place in the settings.
    Events(usize),
}

/// A record to produce to an explicit partition.
#[derive(Clone, Debug)]
pub struct OutRecord {
    /// Topic.
    pub topic: Topic,
    /// Partition: the shard, for sends that of the receiving subject.
    pub shard: i32,
    /// Key: the subject, none for trailers and claims.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Bytes,
    /// Headers.
    pub headers: HeaderList,
    /// Timestamp, ms; none where the broker sets it.
    pub timestamp_ms: Option<i64>,
    /// This record ends the frame of its shard.
    pub trailer: bool,
}

impl OutRecord {
    /// A record of the log that is no DATA: a trailer or a claim.
    #[must_use]
    pub fn marker(shard: i32, kind: &str, value: Bytes) -> Self {
        let mut headers = HeaderList::builder(32);
        headers.push(schemas::names::HEADER_KIND, kind.as_bytes());
        headers.push(schemas::names::HEADER_V, log::VERSION.as_bytes());
        let trailer = kind == log::KIND_TRAILER;
        Self { topic: Topic::Log, shard, key: None, value, headers: headers.finish(), timestamp_ms: None, trailer }
    }
}

/// One transaction over all shards of the worker.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Records in the order they are produced; each shard's trailer after its DATA.
    pub records: Vec<OutRecord>,
    /// Next offset to read, per input partition that moved.
    pub positions: Vec<(Inlet, i64)>,
    /// What the commit changes in memory and in the store.
    pub changes: Vec<ShardChange>,
    /// Inputs in it.
    pub inputs: usize,
    /// It proves an assignment; nothing has been read yet.
    pub claim: bool,
    /// The input it announces, which is tried alone after it, and that input's shard.
    pub trying: Option<(i32, Trying)>,
    /// Attempts at effects that it records.
    pub attempts: Vec<Attempt>,
    /// Ended attempts in it.
    pub ended: usize,
}

/// What the transaction does to one shard.
#[derive(Debug)]
pub struct ShardChange {
    /// Shard number.
    pub shard: i32,
    /// The frame for the store; its trailer's offset is known after the drain.
    pub frame: Frame,
    /// Bytes of the frame's images.
    pub bytes: usize,
    /// The new tip; `applied` is set from the trailer's delivery report.
    pub tip: Tip,
    /// Subjects that were or are held, and how many of their inputs wait now.
    pub held: Vec<(Arc<str>, i64)>,
}
