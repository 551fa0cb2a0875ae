//! What goes into a store and comes out of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// Partition number `shard` of `stream`: one unit of ownership.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    /// Stream name, without the deployment's topic prefix.
    pub stream: Arc<str>,
    /// Partition number, from 0.
    pub number: i32,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.number)
    }
}

/// Names one row inside a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// Entity key, 1–512 bytes.
    pub subject: Arc<str>,
    /// `""` for the root row; sorts that start with `~` are the engine's.
    pub sort: Arc<str>,
}

/// A stored value with the time it was written. `val` is `None` for a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Frame time, µs: the last-write-wins timestamp.
    pub ts: i64,
    /// The row image; `None` = deleted.
    pub val: Option<Bytes>,
    /// µs; a row with `expire_at <= now` reads as absent. The caller decides that, the store only cleans up.
    pub expire_at: Option<i64>,
}

/// A row image or its deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWrite {
    /// Which row.
    pub key: RowKey,
    /// New image; `None` deletes.
    pub val: Option<Bytes>,
    /// µs, see [`Cell::expire_at`].
    pub expire_at: Option<i64>,
}

/// A range of rows of one subject: every sort that starts with `prefix`, from `start` on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowRange {
    /// Entity key.
    pub subject: Arc<str>,
    /// Sorts must start with it; `""` = all.
    pub prefix: Arc<str>,
    /// First sort wanted (inclusive), `None` = the first of the prefix.
    pub start: Option<Arc<str>>,
    /// At most this many live rows, 1–1,000.
    pub limit: usize,
}

/// Place of an agenda item: time, then id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgendaKey {
    /// µs.
    pub due: i64,
    /// `t/…`, `r/…`, `h/…` or `e/…`.
    pub id: Arc<str>,
}

/// Puts (`val` is `Some`) or deletes an agenda item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgendaWrite {
    /// Where.
    pub key: AgendaKey,
    /// The subject the item belongs to.
    pub subject: Arc<str>,
    /// Payload; `None` deletes.
    pub val: Option<Bytes>,
}

/// A live agenda item as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgendaItem {
    /// Where.
    pub key: AgendaKey,
    /// Its subject.
    pub subject: Arc<str>,
    /// Payload.
    pub val: Bytes,
}

/// Names one part of an event's status: part `""` is the event, `e/<id>` one effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusKey {
    /// Event key (16 bytes).
    pub event: [u8; 16],
    /// `""` or `e/<effect id>`.
    pub part: Arc<str>,
}

/// Writes one part of an event's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusWrite {
    /// Which part.
    pub key: StatusKey,
    /// Encoded event status.
    pub val: Bytes,
    /// µs.
    pub expire_at: Option<i64>,
}

/// One part of a status as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCell {
    /// Which part.
    pub part: Arc<str>,
    /// The cell; never a tombstone.
    pub cell: Cell,
}

/// The event keys a frame accepted in one minute of broker time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupeRow {
    /// Minutes since the Unix epoch.
    pub minute: i64,
    /// The frame's time, µs; unique with `minute` inside a shard.
    pub ts: i64,
    /// Concatenated event keys, 16 bytes each.
    pub keys: Bytes,
}

/// What one transaction does to one shard, ready to be applied. Every write carries `ts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which shard.
    pub shard: Shard,
    /// Frame number, dense per shard from 1.
    pub n: i64,
    /// Frame time, µs, strictly rising along the shard's chain.
    pub ts: i64,
    /// Row images; each key at most once.
    pub rows: Vec<RowWrite>,
    /// Agenda changes; each key at most once.
    pub agenda: Vec<AgendaWrite>,
    /// Status writes; each key at most once.
    pub status: Vec<StatusWrite>,
    /// Accepted event keys by minute; `ts` of each equals the frame's.
    pub dedupe: Vec<DedupeRow>,
    /// Minutes of the dedupe window that have ended: the whole partition is deleted.
    pub dedupe_ended: Vec<i64>,
}

/// The watermark of a shard: everything at or below it is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Log offset after the last applied trailer.
    pub applied: i64,
    /// Number of the last applied frame.
    pub n: i64,
    /// Its time, µs.
    pub ts: i64,
    /// Next offset to read per input topic (topic names without prefix).
    pub positions: BTreeMap<String, i64>,
    /// Highest append time of the shard, ms.
    pub horizon: i64,
    /// Lowest agenda slice (minute) that may hold items.
    pub agenda_floor: i64,
}

/// All rows of one subject in one read, with write times and the head's `seq`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectRows {
    /// Live rows by sort, engine rows (`~…`) left out, expired ones left out.
    pub rows: BTreeMap<String, Cell>,
    /// `seq` of the last result of the subject, 0 if none.
    pub seq: i64,
    /// Newest write time among the subject's rows (head included), µs; 0 if there are none.
    pub newest_ts: i64,
}
