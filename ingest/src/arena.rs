//! The memory of one request: one buffer holds every value, key and header text of its events.

use schemas::key::EventKey;

use crate::verdict::{Fault, Verdict};

/// A piece of an arena's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    start: usize,
    end: usize,
}

impl Piece {
    /// Bytes.
    pub(crate) const fn len(self) -> usize {
        self.end - self.start
    }
}

/// What is to be written for an event that passed all checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// Frame and datum.
    pub(crate) value: Piece,
    /// `(source, id)`, hashed.
    pub(crate) key: EventKey,
    /// Partition of the stream's topic.
    pub(crate) partition: i32,
    /// `source`, if it is not the account's.
    pub(crate) source: Option<Piece>,
    /// `time` as the caller sent it.
    pub(crate) time: Option<Piece>,
    /// First of its extensions, and how many, in [`Arena::extensions`].
    pub(crate) extensions: (usize, usize),
    /// Whether a repeat of the event would carry the same id.
    pub(crate) repeatable: bool,
}

/// One event of a request.
#[derive(Debug)]
pub(crate) struct Event {
    /// Index of its type in the stream, when it has one.
    pub(crate) kind: Option<usize>,
    /// Its id, when it could be determined.
    pub(crate) id: Option<Piece>,
    /// Its subject, when it could be determined.
    pub(crate) subject: Option<Piece>,
    /// What to write, or why not.
    pub(crate) record: Result<Record, Box<Fault>>,
    /// What became of it; `None` until the request is settled.
    pub(crate) verdict: Option<Verdict>,
}

/// All events of a request with their bytes.
#[derive(Default, Debug)]
pub(crate) struct Arena {
    /// Everything the pieces point to.
    pub(crate) bytes: Vec<u8>,
    /// In request order.
    pub(crate) events: Vec<Event>,
    /// Name (with its `ce_`) and value of all extension attributes.
    pub(crate) extensions: Vec<(Piece, Piece)>,
}

impl Arena {
    /// Appends `text`.
    pub(crate) fn put(&mut self, text: &[u8]) -> Piece {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.piece_from(start)
    }

    /// Everything from `start` on.
    pub(crate) fn piece_from(&self, start: usize) -> Piece {
        Piece { start, end: self.bytes.len() }
    }

    /// The bytes of a piece of this arena.
    pub(crate) fn get(&self, piece: Piece) -> &[u8] {
        self.bytes.get(piece.start..piece.end).unwrap_or_default()
    }

    /// The text of a piece that was put as text.
    pub(crate) fn text(&self, piece: Piece) -> &str {
        std::str::from_utf8(self.get(piece)).unwrap_or_default()
    }
}
