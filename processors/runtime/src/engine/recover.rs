//! From the log to a shard's state at its committed tip. Pure: the worker reads the records, this folds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use schemas::datum::{Datum, DecodeError};
use schemas::engine::{LogClaim, LogData, LogTrailer};
use schemas::{frame, names};
use state::{AgendaKey, AgendaWrite, DedupeRow, Frame, Mark, RowKey, RowWrite, Shard, StatusKey, StatusWrite};

use super::headers::HeaderList;
use super::log::{KIND_CLAIM, KIND_TRAILER, Trying, VERSION, WriterId};

/// A committed record of the log.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// Offset.
    pub offset: i64,
    /// Headers: `kind` and `v`, or none for DATA.
    pub headers: HeaderList,
    /// Value.
    pub value: Bytes,
}

/// Why a shard is not run. Nothing is guessed: an operator looks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// An open transaction keeps the log's stable end below its end.
    #[error(
        "a hanging transaction holds the log at offset {stable} of {end}; it ends by its time-out, else see the runbook page \"hanging transaction\""
    )]
    HangingTransaction {
        /// Last stable offset.
        stable: i64,
        /// End of the log when the shard was taken over.
        end: i64,
    },
    /// The log ends below what the store has applied.
    #[error("the log was truncated or recreated: it ends at {end}, the store has applied up to {applied}")]
    Truncated {
        /// End of the log.
        end: i64,
        /// Offset after the last applied trailer.
        applied: i64,
    },
    /// Retention removed what the store has not applied.
    #[error(
        "the log starts at {start}, the store has applied up to {applied}: frames between are lost; restore the store from a backup, or accept the gap with --accept-log-gap"
    )]
    Gap {
        /// First offset still there.
        start: i64,
        /// Offset after the last applied trailer.
        applied: i64,
    },
    /// Frames do not chain.
    #[error("the log's chain is broken at offset {offset}: {what}")]
    Broken {
        /// Where.
        offset: i64,
        /// What does not fit.
        what: String,
    },
    /// Events were deleted before this shard had processed them.
    #[error(
        "{topic} starts at {start}, but this shard has processed it up to {position}: the events between were deleted unprocessed; see the runbook page \"events gone\", and accept the loss with --accept-input-gap"
    )]
    EventsGone {
        /// Topic, prefix included.
        topic: String,
        /// Next offset the shard wants.
        position: i64,
        /// First offset still there.
        start: i64,
    },
    /// The input ends below what was processed of it.
    #[error(
        "{topic} ends at {end}, but this shard has processed it up to {position}: it was truncated or recreated; see the runbook page \"events recreated\""
    )]
    EventsTruncated {
        /// Topic, prefix included.
        topic: String,
        /// Next offset the shard wants.
        position: i64,
        /// Its end.
        end: i64,
    },
    /// The partition of the input is not there.
    #[error("{topic} has no partition for this shard any more: was it deleted? see the runbook page \"events recreated\"")]
    EventsMissing {
        /// Topic, prefix included.
        topic: String,
    },
    /// The store shows what no history of the shard can have led to, also to a new owner.
    #[error("what the store holds cannot be, and a fresh start shows it again: {what}; see the runbook page \"torn view\"")]
    Torn {
        /// What cannot be.
        what: String,
    },
    /// A record of a version this program does not know.
    #[error("the log record at offset {offset} was written by a newer version ({version}); run that version")]
    Version {
        /// Where.
        offset: i64,
        /// Its `v`.
        version: String,
    },
}

/// Where a shard's history stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// Offset after the last trailer; 0 if there is none.
    pub applied: i64,
    /// Number of the last frame; 0 if there is none.
    pub n: i64,
    /// Its time, µs.
    pub ts: i64,
    /// Next offset per input topic.
    pub positions: BTreeMap<String, i64>,
    /// Highest append time, ms.
    pub horizon: i64,
    /// Lowest agenda slice that may hold items.
    pub agenda_floor: i64,
}

impl From<&Mark> for Tip {
    fn from(mark: &Mark) -> Self {
        Self {
            applied: mark.applied,
            n: mark.n,
            ts: mark.ts,
            positions: mark.positions.clone(),
            horizon: mark.horizon,
            agenda_floor: mark.agenda_floor,
        }
    }
}

impl From<&Tip> for Mark {
    fn from(tip: &Tip) -> Self {
        Self {
            applied: tip.applied,
            n: tip.n,
            ts: tip.ts,
            positions: tip.positions.clone(),
            horizon: tip.horizon,
            agenda_floor: tip.agenda_floor,
        }
    }
}

/// What the log holds behind the mark.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Committed frames that the store may not have, in order.
    pub frames: Vec<Frame>,
    /// The tip after them.
    pub tip: Tip,
    /// Frames that were ignored because their records were not whole (an alarm).
    pub torn: usize,
    /// Claims behind the last frame, in order.
    pub claims: Vec<Claimed>,
}

/// A claim in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Who made it.
    pub writer: WriterId,
    /// What it announced.
    pub trying: Option<Trying>,
}

/// Where the log begins, and what to do when that is behind what the store has.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogStart {
    /// First offset that retention left.
    pub offset: i64,
    /// The group's offsets equal the mark's positions: no frame that moved them is missing.
    pub group_agrees: bool,
    /// An operator said that missing frames are to be passed over.
    pub gap_accepted: bool,
}

impl From<i64> for LogStart {
    fn from(offset: i64) -> Self {
        Self { offset, ..Self::default() }
    }
}

/// Folds the committed records from `applied − 1` on, or from the log's start where that is later.
///
/// # Errors
/// [`Halt`] when the records do not continue the mark.
pub fn rebuild(shard: &Shard, mark: Option<&Mark>, start: impl Into<LogStart>, records: &[LogRecord]) -> Result<Rebuilt, Halt> {
    let start = start.into();
    let applied = mark.map_or(0, |mark| mark.applied);
    let gap = (start.offset > applied.saturating_sub(1).max(0)).then_some(start);
    let tip = mark.map(Tip::from).unwrap_or_default();
    let mut fold = Fold { shard, gap, tip, data: BTreeMap::new(), rebuilt: Rebuilt::default() };
    let mut records = records.iter();
    if let (Some(mark), None) = (mark, gap) {
        fold.check_anchor(mark, records.next())?;
    }
    for record in records {
        fold.take(record)?;
    }
    if let Some(LogStart { offset, group_agrees: false, gap_accepted: false }) = fold.gap {
        return Err(Halt::Gap { start: offset, applied });
    }
    let Fold { tip, data, mut rebuilt, .. } = fold;
    rebuilt.torn += data.len();
    rebuilt.tip = tip;
    Ok(rebuilt)
}

struct Fold<'a> {
    shard: &'a Shard,
    /// Records behind the mark may be missing; answered by the first whole frame.
    gap: Option<LogStart>,
    tip: Tip,
    data: BTreeMap<(i64, WriterId), Vec<(LogData, Bytes)>>,
    rebuilt: Rebuilt,
}

impl Fold<'_> {
    /// The record before the mark must be the trailer the mark speaks of.
    fn check_anchor(&self, mark: &Mark, record: Option<&LogRecord>) -> Result<(), Halt> {
        let offset = mark.applied - 1;
        let broken = |what: String| Halt::Broken { offset, what };
        let Some(record) = record else { return Err(broken("the last applied trailer is missing".into())) };
        if record.offset != offset || kind(record)? != Kind::Trailer {
            return Err(broken(format!("expected the last applied trailer, found a record at {}", record.offset)));
        }
        let trailer: LogTrailer = decode(record).map_err(|error| broken(error.to_string()))?;
        if (trailer.n, trailer.ts) != (mark.n, mark.ts) {
            return Err(broken(format!(
                "the mark says frame {} at {}, the log frame {} at {}",
                mark.n, mark.ts, trailer.n, trailer.ts
            )));
        }
        Ok(())
    }

    fn take(&mut self, record: &LogRecord) -> Result<(), Halt> {
        let broken = |error: DecodeError| Halt::Broken { offset: record.offset, what: error.to_string() };
        match kind(record)? {
            Kind::Claim => {
                let LogClaim { writer, trying, .. } = decode(record).map_err(broken)?;
                let trying = trying.map(|trying| Trying {
                    source: trying.source,
                    offset: trying.offset,
                    id: trying.id,
                    tries: trying.tries,
                });
                self.rebuilt.claims.push(Claimed { writer, trying });
            }
            Kind::Data => {
                let data: LogData = decode(record).map_err(broken)?;
                self.data.entry((data.n, data.writer)).or_default().push((data, record.value.clone()));
            }
            Kind::Trailer => {
                let trailer: LogTrailer = decode(record).map_err(broken)?;
                self.close(record.offset, trailer)?;
            }
        }
        Ok(())
    }

    fn close(&mut self, offset: i64, trailer: LogTrailer) -> Result<(), Halt> {
        let data = self.data.remove(&(trailer.n, trailer.writer)).unwrap_or_default();
        let values = data.iter().map(|(_, value)| &value[..]);
        if data.len() as i64 != i64::from(trailer.count) || digest(values) != trailer.digest {
            self.rebuilt.torn += 1;
            return Ok(());
        }
        let broken = |what: String| Halt::Broken { offset, what };
        let chains = trailer.n == self.tip.n + 1 && trailer.prev_ts == self.tip.ts && trailer.ts > self.tip.ts;
        let skips = match self.gap.take() {
            // a frame that chains proves that nothing is missing
            Some(_) if chains => false,
            Some(LogStart { gap_accepted: true, .. }) => trailer.n > self.tip.n && trailer.ts > self.tip.ts,
            Some(start) => return Err(Halt::Gap { start: start.offset, applied: self.tip.applied }),
            None => false,
        };
        if !chains && !skips {
            return Err(broken(format!(
                "frame {} ({} after {}) follows frame {} at {}",
                trailer.n, trailer.ts, trailer.prev_ts, self.tip.n, self.tip.ts
            )));
        }
        let positions: BTreeMap<String, i64> = trailer.positions.into_iter().collect();
        if let Some((topic, at)) = self.tip.positions.iter().find(|(topic, at)| positions.get(*topic).is_none_or(|new| new < at))
        {
            return Err(broken(format!("frame {} moves the position of {topic} back behind {at}", trailer.n)));
        }
        self.tip = Tip {
            applied: offset + 1,
            n: trailer.n,
            ts: trailer.ts,
            positions,
            horizon: trailer.horizon,
            agenda_floor: trailer.agenda_floor,
        };
        let accepted =
            trailer.accepted.into_iter().map(|entry| DedupeRow { minute: entry.minute, ts: trailer.ts, keys: entry.keys });
        let mut frame = Frame {
            shard: self.shard.clone(),
            n: trailer.n,
            ts: trailer.ts,
            rows: Vec::new(),
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: accepted.collect(),
            dedupe_ended: Vec::new(),
        };
        for (data, _) in data {
            extend(&mut frame, data);
        }
        self.rebuilt.frames.push(frame);
        self.rebuilt.claims.clear();
        Ok(())
    }
}

fn extend(frame: &mut Frame, data: LogData) {
    let subject: Arc<str> = data.subject.into();
    frame.rows.extend(data.rows.into_iter().map(|row| RowWrite {
        key: RowKey { subject: subject.clone(), sort: row.sort.into() },
        val: row.val,
        expire_at: row.expire_at,
    }));
    frame.agenda.extend(data.agenda.into_iter().map(|item| AgendaWrite {
        key: AgendaKey { due: item.due, id: item.id.into() },
        subject: subject.clone(),
        val: item.val,
    }));
    frame.status.extend(data.status.into_iter().map(|write| StatusWrite {
        key: StatusKey { event: write.key, part: write.part.into() },
        val: write.val,
        expire_at: write.expire_at,
    }));
}

#[derive(PartialEq, Eq)]
enum Kind {
    Data,
    Trailer,
    Claim,
}

fn kind(record: &LogRecord) -> Result<Kind, Halt> {
    let mut kind = Kind::Data;
    for (name, value) in record.headers.iter() {
        if name == names::HEADER_KIND {
            kind = if value == KIND_TRAILER.as_bytes() { Kind::Trailer } else { Kind::Claim };
            debug_assert!(kind == Kind::Trailer || value == KIND_CLAIM.as_bytes());
        } else if name == names::HEADER_V && value != VERSION.as_bytes() {
            return Err(Halt::Version { offset: record.offset, version: String::from_utf8_lossy(value).into_owned() });
        }
    }
    Ok(kind)
}

fn decode<T: Datum>(record: &LogRecord) -> Result<T, DecodeError> {
    let (_, datum) = frame::split(&record.value).map_err(|_| DecodeError::Invalid { what: "no wire-format frame", at: 0 })?;
    T::decode(datum)
}

/// The digest of a frame: BLAKE3 over its DATA values in order, first 16 bytes.
pub fn digest<'a>(values: impl Iterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        hasher.update(value);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}
