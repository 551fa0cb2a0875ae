//! What waits to be written to one connection: filled by its lane, emptied by its socket. Bounded in bytes and pieces; when it is
//! full the lane decides by the subscription's policy.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::guarded::Guarded;
use crate::protocol::code::Bye;
use crate::protocol::server::Frame;

/// Members of a round whose write is timed.
const TIMED_MAX: u32 = 16;

/// Members of a round whose write of sampled results is traced.
const TRACED_MAX: u32 = 4;

/// Results of one round and one group, framed once and shared by all members.
#[derive(Debug)]
pub struct Chunk {
    /// `result` messages.
    pub messages: Vec<Utf8Bytes>,
    /// Sum of their lengths.
    pub bytes: usize,
    /// Kafka timestamp of the oldest one, ms.
    pub oldest_ms: i64,
    /// Index of the stream the oldest one belongs to.
    pub stream: usize,
    /// `traceparent` of the sampled ones, the first few.
    pub traces: Vec<Box<str>>,
    traced: AtomicU32,
    sse: OnceLock<Bytes>,
    timed: AtomicU32,
}

impl Chunk {
    /// A chunk of `messages`.
    #[must_use]
    pub fn new(messages: Vec<Utf8Bytes>, oldest_ms: i64, stream: usize, traces: Vec<Box<str>>) -> Self {
        let bytes = messages.iter().map(|message| message.len()).sum();
        let (traced, timed) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { messages, bytes, oldest_ms, stream, traces, traced, sse: OnceLock::new(), timed }
    }

    /// The same as Server-Sent Events, made at the first call.
    pub fn sse(&self) -> Bytes {
        let make = || {
            let mut out = String::with_capacity(self.bytes + self.messages.len() * 24);
            for message in &self.messages {
                push_event(&mut out, "result", message);
            }
            out.into()
        };
        self.sse.get_or_init(make).clone()
    }

    /// Whether this writer should trace the write: only the first few members do.
    pub fn trace_this(&self) -> bool {
        !self.traces.is_empty() && self.traced.fetch_add(1, Ordering::Relaxed) < TRACED_MAX
    }

    /// Whether this writer should time the write: only the first few members do.
    pub fn time_this(&self) -> bool {
        self.timed.load(Ordering::Relaxed) < TIMED_MAX && self.timed.fetch_add(1, Ordering::Relaxed) < TIMED_MAX
    }
}

/// One piece in a queue.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Results, shared.
    Results(Arc<Chunk>),
    /// Any other message.
    Own(Frame),
}

impl Piece {
    /// Bytes it is counted as.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Results(chunk) => chunk.bytes,
            Self::Own(frame) => frame.text.len(),
        }
    }
}

/// Appends one event; `text` has no line break.
pub fn push_event(out: &mut String, op: &str, text: &str) {
    for part in ["event: ", op, "\ndata: ", text, "\n\n"] {
        out.push_str(part);
    }
}

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes waiting or being written.
    pub bytes: usize,
    /// Pieces waiting or being written.
    pub pieces: usize,
}

/// What the socket finds.
#[derive(Debug)]
pub enum Taken {
    /// To be written, then told to [`Outbox::written`].
    Pieces(Vec<Piece>),
    /// The connection ends; what waited is dropped.
    Bye(Bye),
}

/// The queue of one connection.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    state: Guarded<State>,
    /// Wakes the socket.
    filled: Notify,
    /// Wakes whoever is in the middle of a write.
    cut: Notify,
    /// The lane waits for room.
    hungry: AtomicBool,
    /// Wakes the lane.
    lane: Arc<Notify>,
    /// The socket is no more.
    gone: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Waiting and being written.
    bytes: usize,
    count: usize,
    bye: Option<Bye>,
}

impl Outbox {
    /// An empty queue whose room wakes `lane`.
    #[must_use]
    pub fn new(limits: Limits, lane: Arc<Notify>) -> Self {
        Self {
            limits,
            state: Guarded::default(),
            filled: Notify::new(),
            cut: Notify::new(),
            hungry: AtomicBool::new(false),
            lane,
            gone: AtomicBool::new(false),
        }
    }

    /// Adds all of `pieces`, or nothing if they do not fit. An empty queue takes anything: a single result may be larger than the queue.
    #[must_use]
    pub fn offer(&self, pieces: &[Piece]) -> bool {
        let bytes: usize = pieces.iter().map(Piece::bytes).sum();
        let mut state = self.state.lock();
        let fits = state.bytes + bytes <= self.limits.bytes && state.count + pieces.len() <= self.limits.pieces;
        if !(fits || state.count == 0) || state.bye.is_some() {
            return state.bye.is_some();
        }
        state.bytes += bytes;
        state.count += pieces.len();
        state.pieces.extend(pieces.iter().cloned());
        drop(state);
        self.filled.notify_one();
        true
    }

    /// Adds an answer whatever the room: answers are bounded by the requests a connection may send.
    pub fn answer(&self, frame: Frame) {
        self.append(Piece::Own(frame));
    }

    /// Adds a piece whatever the room, which the caller has looked at.
    pub fn append(&self, piece: Piece) {
        let mut state = self.state.lock();
        if state.bye.is_none() {
            state.bytes += piece.bytes();
            state.count += 1;
            state.pieces.push_back(piece);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Bytes that fit now.
    #[must_use]
    pub fn room(&self) -> usize {
        let state = self.state.lock();
        if state.count >= self.limits.pieces { 0 } else { self.limits.bytes.saturating_sub(state.bytes) }
    }

    /// Whether less than half is in use.
    #[must_use]
    pub fn is_half_empty(&self) -> bool {
        let state = self.state.lock();
        state.bytes * 2 < self.limits.bytes && state.count * 2 < self.limits.pieces
    }

    /// Asks to be woken (the lane) when less than half is in use.
    pub fn call_when_half_empty(&self) {
        self.hungry.store(true, Ordering::Release);
        if self.is_half_empty() {
            self.call_lane();
        }
    }

    /// Ends the connection: what waits is dropped, a write under way is interrupted, the first reason counts.
    pub fn end(&self, bye: Bye) {
        let mut state = self.state.lock();
        if state.bye.is_some() {
            return;
        }
        state.bye = Some(bye);
        let waiting: usize = state.pieces.iter().map(Piece::bytes).sum();
        state.bytes -= waiting;
        state.count -= state.pieces.len();
        state.pieces = VecDeque::new();
        drop(state);
        self.filled.notify_one();
        self.cut.notify_one();
    }

    /// Bytes waiting or being written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Waits for something to write; takes all of it.
    pub async fn take(&self) -> Taken {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(bye) = state.bye {
                    return Taken::Bye(bye);
                }
                if !state.pieces.is_empty() {
                    return Taken::Pieces(std::mem::take(&mut state.pieces).into());
                }
            }
            self.filled.notified().await;
        }
    }

    /// Completes when [`Outbox::end`] was called.
    pub async fn ended(&self) -> Bye {
        loop {
            if let Some(bye) = self.state.lock().bye {
                return bye;
            }
            self.cut.notified().await;
        }
    }

    /// What [`Outbox::take`] gave was written.
    pub fn written(&self, pieces: &[Piece]) {
        let bytes: usize = pieces.iter().map(Piece::bytes).sum();
        let mut state = self.state.lock();
        state.bytes -= bytes;
        state.count -= pieces.len();
        let half_empty = state.bytes * 2 < self.limits.bytes && state.count * 2 < self.limits.pieces;
        drop(state);
        if half_empty {
            self.call_lane();
        }
    }

    /// The socket is no more; the lane forgets the connection at its next turn.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        self.lane.notify_one();
    }

    /// Whether the socket is no more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn call_lane(&self) {
        if self.hungry.swap(false, Ordering::AcqRel) {
            self.lane.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::server;

    fn chunk(bytes: usize) -> Piece {
        Piece::Results(Arc::new(Chunk::new(vec!["x".repeat(bytes).into()], 0, 0, Vec::new())))
    }

    fn outbox() -> Outbox {
        Outbox::new(Limits { bytes: 1_000, pieces: 4 }, Arc::default())
    }

    #[tokio::test]
    async fn a_round_is_queued_whole_or_not_at_all() {
        let outbox = outbox();
        assert!(outbox.offer(&[chunk(600)]));
        assert!(!outbox.offer(&[chunk(300), chunk(300)]));
        assert_eq!(outbox.bytes(), 600);
        assert!(!outbox.offer(&[chunk(1), chunk(1), chunk(1), chunk(1)]), "pieces are bounded too");
        let Taken::Pieces(taken) = outbox.take().await else { panic!("pieces") };
        assert!(!outbox.offer(&[chunk(600)]), "what is being written still counts");
        outbox.written(&taken);
        assert!(outbox.offer(&[chunk(5_000)]), "an empty queue takes a piece of any size");
    }

    #[tokio::test]
    async fn the_end_drops_what_waits_and_interrupts() {
        let outbox = outbox();
        assert!(outbox.offer(&[chunk(600)]));
        outbox.end(Bye::Slow);
        assert_eq!((outbox.bytes(), outbox.ended().await), (0, Bye::Slow));
        outbox.end(Bye::Drain);
        assert!(matches!(outbox.take().await, Taken::Bye(Bye::Slow)), "the first reason counts");
        outbox.answer(server::bye(Bye::Drain));
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn events_are_lines() {
        let chunk = Chunk::new(vec![r#"{"a":1}"#.into(), "{}".into()], 0, 0, Vec::new());
        assert_eq!(chunk.sse(), "event: result\ndata: {\"a\":1}\n\nevent: result\ndata: {}\n\n");
    }
}
