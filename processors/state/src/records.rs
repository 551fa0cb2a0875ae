//! The engine's own rows: head of a subject, watermark of a shard, status of an event.
//!
//! Each is one version byte and an Avro datum of the schema beside it. `runtime` writes them, [`crate::StateReader`]
//! and audits read them. State lies below `schemas`, so the few lines of Avro they need are here.

mod agenda;
mod schema;
mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;

use self::wire::{Reader, Writer};
use crate::types::Mark;

pub use self::agenda::{Effect, Input, Item, Parked, Source};
pub use self::schema::{EVENT_STATUS_AVSC, HEAD_AVSC, MARK_AVSC};
pub use self::wire::VALUE_BYTES_MAX;

/// Sort of a subject's head row. Rewritten by every frame that changes any row of the subject.
pub const HEAD_SORT: &str = "~head";
/// Sorts of parked inputs are this and their number.
pub const PARK_SORT: &str = "~park/";
/// Timers read back per subject at the most; the runtime allows fewer.
pub const TIMERS_MAX: usize = 1_024;
/// Input topics of one shard at the most.
pub const POSITIONS_MAX: usize = 256;
/// Steps kept of a history: the first [`HISTORY_FIRST`] and the last 28.
pub const HISTORY_MAX: usize = 32;
/// Steps that are never dropped from the front of a history.
pub const HISTORY_FIRST: usize = 4;
/// Products named in a status at the most.
pub const PRODUCTS_MAX: usize = 32;
/// Bytes of `detail` that are kept.
pub const DETAIL_BYTES_MAX: usize = 4_096;

const VERSION: u8 = 1;

/// Why bytes are not the row they should be: a foreign writer, damage, or a newer version of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a value.
    #[error("the row ends inside a value, at byte {at}")]
    Truncated {
        /// Byte offset.
        at: usize,
    },
    /// A value that the schema or its bound does not allow.
    #[error("{what} at byte {at}")]
    Invalid {
        /// What, in words.
        what: &'static str,
        /// Byte offset.
        at: usize,
    },
    /// Written in a layout this program does not know.
    #[error("the row has layout {found}, this program reads layout {VERSION}; run the newer program")]
    Version {
        /// Version byte found.
        found: u8,
    },
}

/// What the engine keeps per subject, in row [`HEAD_SORT`]. It outlives the subject's other rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of the subject's last result; 0 before the first.
    pub seq: i64,
    /// Due time (µs) of each timer that is set, by name.
    pub timers: BTreeMap<String, i64>,
    /// Number of the first parked input; the subject is held while `front < back`.
    pub front: i64,
    /// Number the next parked input gets.
    pub back: i64,
    /// Due time (µs) of the agenda item `h/<subject>` while the subject is held.
    pub held_item: Option<i64>,
}

impl Head {
    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION, 16 + self.timers.len() * 32);
        out.long(self.seq);
        out.block(self.timers.iter(), |out, (name, due)| {
            out.string(name);
            out.long(*due);
        });
        out.long(self.front);
        out.long(self.back);
        out.optional(self.held_item, Writer::long);
        out.finish()
    }

    /// Reads the row's bytes.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn decode(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row, VERSION)?;
        let head = Self {
            seq: row.long()?,
            timers: row.blocks(TIMERS_MAX, |row| Ok((row.string()?, row.long()?)))?.into_iter().collect(),
            front: row.long()?,
            back: row.long()?,
            held_item: row.optional(Reader::long)?,
        };
        row.end()?;
        Ok(head)
    }
}

impl Mark {
    /// The watermark's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION, 48 + self.positions.len() * 40);
        out.long(self.applied);
        out.long(self.n);
        out.long(self.ts);
        out.block(self.positions.iter(), |out, (topic, next)| {
            out.string(topic);
            out.long(*next);
        });
        out.long(self.horizon);
        out.long(self.agenda_floor);
        out.finish()
    }

    /// Reads the watermark's bytes.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn decode(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row, VERSION)?;
        let mark = Self {
            applied: row.long()?,
            n: row.long()?,
            ts: row.long()?,
            positions: row.blocks(POSITIONS_MAX, |row| Ok((row.string()?, row.long()?)))?.into_iter().collect(),
            horizon: row.long()?,
            agenda_floor: row.long()?,
        };
        row.end()?;
        Ok(mark)
    }
}

/// Where an event is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits to be processed: behind its position, parked, or for its next attempt whose time has come.
    Queued,
    /// Taken up, and effects of it are open.
    Processing,
    /// Its decision is committed, a refusal too.
    Succeeded,
    /// Waits for its next attempt.
    FailedRetryable,
    /// A dead letter was written.
    FailedTerminal,
}

impl State {
    const ALL: [Self; 5] = [Self::Queued, Self::Processing, Self::Succeeded, Self::FailedRetryable, Self::FailedTerminal];

    fn read(row: &mut Reader<'_>) -> Result<Self, Error> {
        let index = row.long()?;
        let state = usize::try_from(index).ok().and_then(|index| Self::ALL.get(index));
        state.copied().ok_or_else(|| row.invalid("an unknown state"))
    }
}

/// One step of an event's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// State that was entered.
    pub state: State,
    /// When, µs.
    pub at: i64,
}

/// Something an event brought forth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// `result`, `event`, `effect` or `dead_letter`.
    pub kind: String,
    /// Stream it went to.
    pub stream: String,
    /// Its subject there.
    pub subject: String,
    /// `ce_type`.
    pub event_type: String,
    /// `seq` of a result.
    pub seq: Option<i64>,
    /// Event key of an event.
    pub key: Option<[u8; 16]>,
}

/// Outcome in the status of an effect that was cancelled.
pub const CANCELLED: &str = "cancelled";

/// The status of one event, or of one effect of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventStatus {
    /// Present state.
    pub state: State,
    /// `ok` or `rejected`, once it succeeded; of an effect that was cancelled [`CANCELLED`].
    pub outcome: Option<String>,
    /// Code of a refusal or failure.
    pub code: Option<String>,
    /// For people; [`DETAIL_BYTES_MAX`] bytes of it are kept.
    pub detail: Option<String>,
    /// Steps in order; see [`EventStatus::enter`].
    pub history: Vec<Step>,
    /// Attempts made, 1 after the first.
    pub attempts: i32,
    /// When it will be tried again, µs.
    pub next_attempt: Option<i64>,
    /// Stream of the event.
    pub stream: String,
    /// Subject of the event.
    pub subject: String,
    /// Partition of its record.
    pub partition: i32,
    /// Offset of its record.
    pub offset: i64,
    /// What caused it, when that is an input of ours: event key in hex, or agenda id.
    pub cause: Option<String>,
    /// What it brought forth, the first [`PRODUCTS_MAX`].
    pub products: Vec<Product>,
    /// Reason of the dead letter.
    pub reason: Option<String>,
}

impl EventStatus {
    /// Enters `state` at `at` (µs) and keeps the history within [`HISTORY_MAX`] steps.
    pub fn enter(&mut self, state: State, at: i64) {
        self.state = state;
        self.history.push(Step { state, at });
        if self.history.len() > HISTORY_MAX {
            self.history.remove(HISTORY_FIRST);
        }
    }

    /// True when nothing will change it any more.
    #[must_use]
    pub fn settled(&self) -> bool {
        matches!(self.state, State::Succeeded | State::FailedTerminal)
    }

    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION, 160 + self.products.len() * 96);
        let dropped = self.history.len().saturating_sub(HISTORY_MAX);
        let kept = self.history.iter().take(HISTORY_FIRST).chain(self.history.iter().skip(HISTORY_FIRST + dropped));
        let history: Vec<&Step> = kept.collect();
        out.long(self.state as i64);
        out.optional(self.outcome.as_deref(), Writer::string);
        out.optional(self.code.as_deref(), Writer::string);
        out.optional(self.detail.as_deref(), |out, detail| out.string(wire::clip(detail, DETAIL_BYTES_MAX)));
        out.block(history.into_iter(), |out, step| {
            out.long(step.state as i64);
            out.long(step.at);
        });
        out.long(i64::from(self.attempts));
        out.optional(self.next_attempt, Writer::long);
        out.string(&self.stream);
        out.string(&self.subject);
        out.long(i64::from(self.partition));
        out.long(self.offset);
        out.optional(self.cause.as_deref(), Writer::string);
        out.block(self.products.iter().take(PRODUCTS_MAX), write_product);
        out.optional(self.reason.as_deref(), Writer::string);
        out.finish()
    }

    /// Reads the row's bytes.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn decode(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row, VERSION)?;
        let status = Self {
            state: State::read(&mut row)?,
            outcome: row.optional(Reader::string)?,
            code: row.optional(Reader::string)?,
            detail: row.optional(Reader::string)?,
            history: row.blocks(HISTORY_MAX, |row| Ok(Step { state: State::read(row)?, at: row.long()? }))?,
            attempts: row.int()?,
            next_attempt: row.optional(Reader::long)?,
            stream: row.string()?,
            subject: row.string()?,
            partition: row.int()?,
            offset: row.long()?,
            cause: row.optional(Reader::string)?,
            products: row.blocks(PRODUCTS_MAX, read_product)?,
            reason: row.optional(Reader::string)?,
        };
        row.end()?;
        Ok(status)
    }
}

fn write_product(out: &mut Writer, product: &Product) {
    out.string(&product.kind);
    out.string(&product.stream);
    out.string(&product.subject);
    out.string(&product.event_type);
    out.optional(product.seq, Writer::long);
    out.optional(product.key, |out, key| out.fixed(&key));
}

fn read_product(row: &mut Reader<'_>) -> Result<Product, Error> {
    Ok(Product {
        kind: row.string()?,
        stream: row.string()?,
        subject: row.string()?,
        event_type: row.string()?,
        seq: row.optional(Reader::long)?,
        key: row.optional(|row| row.fixed(16)?.try_into().map_err(|_| row.invalid("an event key")))?,
    })
}

#[cfg(test)]
mod tests;
