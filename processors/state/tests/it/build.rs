//! Short ways to say frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use state::records::{HEAD_SORT, Head};
use state::{AgendaKey, AgendaWrite, DedupeRow, Frame, Mark, RowKey, RowWrite, Shard, StatusKey, StatusWrite};

/// A minute in µs.
pub(crate) const MINUTE: i64 = 60_000_000;
/// Times of tests begin here, µs: in the past for every clock.
pub(crate) const START: i64 = 1_700_000_000_000_000;

pub(crate) fn shard(stream: &str, number: i32) -> Shard {
    Shard { stream: stream.into(), number }
}

pub(crate) fn key(subject: &str, sort: &str) -> RowKey {
    RowKey { subject: subject.into(), sort: sort.into() }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// An empty frame of shard 0 at `START + after`.
pub(crate) fn frame(stream: &str, after: i64) -> Frame {
    Frame {
        shard: shard(stream, 0),
        n: after,
        ts: START + after,
        rows: Vec::new(),
        agenda: Vec::new(),
        status: Vec::new(),
        dedupe: Vec::new(),
        dedupe_ended: Vec::new(),
    }
}

pub(crate) trait Builds: Sized {
    fn row(self, subject: &str, sort: &str, val: Option<&str>) -> Self;
    fn expiring(self, subject: &str, sort: &str, val: &str, expire_at: i64) -> Self;
    fn head(self, subject: &str, seq: i64) -> Self;
    fn item(self, due: i64, id: &str, val: Option<&str>) -> Self;
    fn status(self, event: u8, part: &str, val: Bytes) -> Self;
    fn accepted(self, minute: i64, keys: &str) -> Self;
    fn ended(self, minute: i64) -> Self;
}

impl Builds for Frame {
    fn row(mut self, subject: &str, sort: &str, val: Option<&str>) -> Self {
        self.rows.push(RowWrite { key: key(subject, sort), val: val.map(bytes), expire_at: None });
        self
    }

    fn expiring(mut self, subject: &str, sort: &str, val: &str, expire_at: i64) -> Self {
        self.rows.push(RowWrite { key: key(subject, sort), val: Some(bytes(val)), expire_at: Some(expire_at) });
        self
    }

    fn head(mut self, subject: &str, seq: i64) -> Self {
        let head = Head { seq, ..Head::default() };
        self.rows.push(RowWrite { key: key(subject, HEAD_SORT), val: Some(head.encode()), expire_at: None });
        self
    }

    fn item(mut self, due: i64, id: &str, val: Option<&str>) -> Self {
        let key = AgendaKey { due, id: id.into() };
        self.agenda.push(AgendaWrite { key, subject: "subject".into(), val: val.map(bytes) });
        self
    }

    fn status(mut self, event: u8, part: &str, val: Bytes) -> Self {
        self.status.push(StatusWrite { key: StatusKey { event: [event; 16], part: part.into() }, val, expire_at: None });
        self
    }

    fn accepted(mut self, minute: i64, keys: &str) -> Self {
        self.dedupe.push(DedupeRow { minute, ts: self.ts, keys: bytes(keys) });
        self
    }

    fn ended(mut self, minute: i64) -> Self {
        self.dedupe_ended.push(minute);
        self
    }
}

/// A watermark over the frame at `START + after`.
pub(crate) fn mark(stream: &str, after: i64, position: i64) -> Mark {
    Mark {
        applied: after + 1,
        n: after,
        ts: START + after,
        positions: BTreeMap::from([(format!("{stream}.events"), position)]),
        horizon: 0,
        agenda_floor: 0,
    }
}

pub(crate) fn agenda_key(due: i64, id: &str) -> AgendaKey {
    AgendaKey { due, id: Arc::from(id) }
}
