//! Records of `<stream>.log`: DATA, TRAILER and CLAIM, written straight into the wire format.
//!
//! Reading them back is cold and goes through the generated records of `schemas::engine`; a test holds both to the
//! same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use schemas::frame;
use state::{AgendaWrite, StatusWrite};

use super::cache::Image;

/// Header `kind` of a trailer.
pub const KIND_TRAILER: &str = "T";
/// Header `kind` of a claim.
pub const KIND_CLAIM: &str = "C";
/// Header `v`: which compiled-in schemas a frame was written with.
pub const VERSION: &str = "1";

/// Names a producer instance: a random half for the process, a random half for the instance. With `n` it names a frame.
pub type WriterId = [u8; 8];

/// The half of a writer's name that its process's other writers share.
#[must_use]
pub fn process_of(writer: &WriterId) -> &[u8] {
    &writer[..4]
}

/// Appends the DATA record of one subject.
pub fn write_data<'a>(
    out: &mut Vec<u8>,
    schema: i32,
    (n, writer): (i64, &WriterId),
    subject: &str,
    rows: impl ExactSizeIterator<Item = (&'a str, &'a Image)>,
    agenda: &[AgendaWrite],
    status: &[StatusWrite],
) {
    frame::begin(schema, out);
    long(out, n);
    out.extend_from_slice(writer);
    bytes(out, subject.as_bytes());
    array(out, rows.len(), rows, |out, (sort, image)| {
        bytes(out, sort.as_bytes());
        optional(out, image.val.as_deref(), bytes);
        optional(out, image.expire_at, long);
    });
    array(out, agenda.len(), agenda, |out, item| {
        long(out, item.key.due);
        bytes(out, item.key.id.as_bytes());
        optional(out, item.val.as_deref(), bytes);
    });
    array(out, status.len(), status, |out, write| {
        out.extend_from_slice(&write.key.event);
        bytes(out, write.key.part.as_bytes());
        bytes(out, &write.val);
        optional(out, write.expire_at, long);
    });
}

/// What ends a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Frame number.
    pub n: i64,
    /// Producer instance.
    pub writer: WriterId,
    /// Frame time, µs.
    pub ts: i64,
    /// Time of the frame before, µs.
    pub prev_ts: i64,
    /// DATA records of the frame.
    pub count: i32,
    /// BLAKE3 over their values in order.
    pub digest: [u8; 16],
    /// Next offset per input topic (names without prefix).
    pub positions: BTreeMap<String, i64>,
    /// Accepted event keys by minute, concatenated.
    pub accepted: Vec<(i64, Bytes)>,
    /// Highest append time, ms.
    pub horizon: i64,
    /// Lowest agenda slice that may hold items.
    pub agenda_floor: i64,
}

impl Trailer {
    /// The record's value.
    #[must_use]
    pub fn encode(&self, schema: i32) -> Bytes {
        let mut out = Vec::with_capacity(160);
        frame::begin(schema, &mut out);
        long(&mut out, self.n);
        out.extend_from_slice(&self.writer);
        long(&mut out, self.ts);
        long(&mut out, self.prev_ts);
        long(&mut out, i64::from(self.count));
        out.extend_from_slice(&self.digest);
        map(&mut out, &self.positions);
        array(&mut out, self.accepted.len(), &self.accepted, |out, (minute, keys)| {
            long(out, *minute);
            bytes(out, keys);
        });
        long(&mut out, self.horizon);
        long(&mut out, self.agenda_floor);
        out.into()
    }
}

/// Who took a shard over. Proves ownership early and repairs the group's offsets; recovery skips it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Producer instance.
    pub writer: WriterId,
    /// Slot of the worker.
    pub slot: &'a str,
    /// Host it runs on.
    pub host: &'a str,
    /// Generation of the group.
    pub generation: i32,
    /// Last frame before the claim.
    pub after_n: i64,
    /// Clock of the worker, µs.
    pub ts: i64,
    /// Next offset per input topic.
    pub positions: &'a BTreeMap<String, i64>,
    /// The input that is tried alone after it.
    pub trying: Option<&'a Trying>,
}

/// An input that may have ended processes before, announced before it is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trying {
    /// Topic without prefix, or `agenda`.
    pub source: String,
    /// Offset there; of an agenda item when it is due, µs.
    pub offset: i64,
    /// Id of an agenda item.
    pub id: Option<String>,
    /// 1 for the first time.
    pub tries: i32,
}

impl Claim<'_> {
    /// The record's value.
    #[must_use]
    pub fn encode(&self, schema: i32) -> Bytes {
        let mut out = Vec::with_capacity(96);
        frame::begin(schema, &mut out);
        out.extend_from_slice(&self.writer);
        bytes(&mut out, self.slot.as_bytes());
        bytes(&mut out, self.host.as_bytes());
        long(&mut out, i64::from(self.generation));
        long(&mut out, self.after_n);
        long(&mut out, self.ts);
        map(&mut out, self.positions);
        optional(&mut out, self.trying, |out, trying| {
            bytes(out, trying.source.as_bytes());
            long(out, trying.offset);
            optional(out, trying.id.as_deref(), |out, id| bytes(out, id.as_bytes()));
            long(out, i64::from(trying.tries));
        });
        out.into()
    }
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    long(out, value.len() as i64);
    out.extend_from_slice(value);
}

fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => long(out, 0),
        Some(value) => {
            long(out, 1);
            write(out, value);
        }
    }
}

fn array<T>(out: &mut Vec<u8>, count: usize, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    if count > 0 {
        long(out, count as i64);
        for item in items {
            write(out, item);
        }
    }
    long(out, 0);
}

fn map(out: &mut Vec<u8>, values: &BTreeMap<String, i64>) {
    array(out, values.len(), values, |out, (name, value)| {
        bytes(out, name.as_bytes());
        long(out, *value);
    });
}
