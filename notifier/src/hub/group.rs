//! A group: everybody on this lane with equal patterns. Its frames are made once per round.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;

use crate::channel::Pattern;
use crate::hub::ConnectionId;
use crate::hub::outbox::{Chunk, Piece};
use crate::protocol::server;
use crate::ring::Entry;
use crate::trace::PER_CHUNK_MAX;

/// Bytes of one chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// A member: connection and subscription.
pub(super) type Member = (ConnectionId, u32);

#[derive(Debug)]
pub(super) struct Group {
    pub(super) number: u64,
    pub(super) patterns: Vec<Pattern>,
    pub(super) members: Vec<Member>,
    /// How many of them are live; nothing is framed for nobody.
    pub(super) live: usize,
    /// Results sent to live members so far.
    pub(super) sent: u64,
    round: Batch,
}

impl Group {
    pub(super) fn new(number: u64, patterns: Vec<Pattern>) -> Self {
        Self { number, patterns, members: Vec::new(), live: 0, sent: 0, round: Batch::default() }
    }

    pub(super) fn matches(&self, channel: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(channel))
    }

    pub(super) fn touches(&self, stream: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.touches(stream))
    }

    /// Frames `entry` for this round.
    pub(super) fn add(&mut self, stream: usize, entry: &Arc<Entry>, json_bytes: usize) {
        self.sent += 1;
        self.round.add(self.number, stream, entry, json_bytes);
    }

    /// Bytes framed in this round.
    pub(super) fn round_bytes(&self) -> usize {
        self.round.bytes
    }

    /// What this round gives to every live member.
    pub(super) fn finish_round(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.round).finish()
    }
}

/// Results being framed, cut into chunks of about [`CHUNK_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Batch {
    pieces: Vec<Piece>,
    messages: Vec<Utf8Bytes>,
    /// Of the messages.
    traces: Vec<Box<str>>,
    open_bytes: usize,
    oldest_ms: i64,
    stream: usize,
    /// Bytes in total.
    pub(super) bytes: usize,
}

impl Batch {
    pub(super) fn add(&mut self, group: u64, stream: usize, entry: &Arc<Entry>, json_bytes: usize) {
        let message = server::result(group, entry.body(json_bytes));
        if self.messages.is_empty() {
            (self.oldest_ms, self.stream) = (entry.timestamp_ms, stream);
        }
        if let Some(trace) = entry.sampled().filter(|_| self.traces.len() < PER_CHUNK_MAX) {
            self.traces.push(trace.into());
        }
        self.open_bytes += message.len();
        self.bytes += message.len();
        self.messages.push(message);
        if self.open_bytes >= CHUNK_BYTES {
            self.close();
        }
    }

    pub(super) fn finish(mut self) -> Vec<Piece> {
        self.close();
        self.pieces
    }

    fn close(&mut self) {
        if !self.messages.is_empty() {
            let (messages, traces) = (std::mem::take(&mut self.messages), std::mem::take(&mut self.traces));
            self.pieces.push(Piece::Results(Arc::new(Chunk::new(messages, self.oldest_ms, self.stream, traces))));
            self.open_bytes = 0;
        }
    }
}
