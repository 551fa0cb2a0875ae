//! What the core is told, what it asks for, and what comes with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemas::registry::RegisteredSchema;
use state::{AgendaItem, AgendaKey, Cell, Frame, Mark, RowKey, RowRange};

use super::agenda::{Entry, Named};
use super::assignment::ShardState;
use super::decide::Tally;
use super::input::{Arrived, Inlet};
use super::log::WriterId;
use super::recover::Halt;
use super::transaction::Transaction;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Records of running shards, in offset order per shard, and what the store acknowledged meanwhile.
    Polled {
        /// Inputs; empty when there were none, or none were wanted.
        inputs: Vec<Arrived>,
        /// Contiguous frames in the store: assignment number, shard, frame number.
        acks: Vec<(u64, i32, i64)>,
        /// Attempts that have ended.
        ended: Vec<Ended>,
    },
    /// The group gave us shards (rebalance callback).
    Assigned {
        /// Generation, captured inside the callback.
        generation: i32,
        /// Shard numbers.
        shards: Vec<i32>,
    },
    /// Shards were read back from mark and log.
    Recovered {
        /// Ready to run.
        shards: Vec<ShardState>,
        /// Not to be run.
        halted: Vec<(i32, Halt)>,
    },
    /// Inputs of these shards cannot be read any further; the others run on.
    Halted(Vec<(i32, Halt)>),
    /// The group took everything back, or it was lost.
    Revoked,
    /// What the store had, as asked.
    Fetched(Found),
    /// Every schema that was asked for.
    Learnt(Vec<Arc<RegisteredSchema>>),
    /// Agenda items, one answer per scan.
    Scanned(Vec<Scanned>),
    /// The action succeeded.
    Done,
    /// No transaction was begun: the producer had to be replaced first, and frames carry the new one's name from here on.
    Recycled(WriterId),
    /// Every record of the transaction is acknowledged; shard, offset and append time (ms) of each claim and trailer.
    Drained(Vec<(i32, i64, i64)>),
    /// The action failed.
    Failed(Failure),
}

/// How an action failed: what the engine does about it, not what the client called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The transaction must be aborted; its inputs may be redone.
    Abort(String),
    /// The group does not know us any more: abort, and wait for the next assignment.
    Ownership(String),
    /// The outcome is unknown or the client is beyond repair: never guess, start again.
    Restart(String),
    /// Another producer uses the transactional id: start again, and stop when it happens twice in a short time.
    Fenced(String),
}

impl Failure {
    /// What happened, for the log.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Abort(why) | Self::Ownership(why) | Self::Restart(why) | Self::Fenced(why) => why,
        }
    }
}

/// What the worker does next.
#[derive(Debug)]
pub enum Action {
    /// Poll; with `take` false nothing is taken, but the group is served.
    Poll {
        /// Whether inputs are wanted.
        take: bool,
        /// At most this many.
        inputs_max: usize,
    },
    /// Read these shards back: mark, barrier, log, dedupe window.
    Recover(Vec<i32>),
    /// Start reading at these positions; halted shards stay paused.
    Resume {
        /// Input partitions of running shards, and the next offset of each.
        positions: Vec<(Inlet, i64)>,
        /// Halted shards.
        halted: Vec<i32>,
    },
    /// Read this from the store; while it does not answer the group is served and the same is asked again.
    Fetch(Needs),
    /// Get these schemas from the registry, all of them. While it does not answer, or does not know one, the group is
    /// served and the same is asked again: a row that cannot be read yet is no fault of its inputs.
    Learn(Vec<i32>),
    /// Look into the agenda; while the store does not answer the group is served and the same is asked again.
    Scan(Vec<Scan>),
    /// Begin a transaction (recycle the producer first where the client log demands it).
    Begin,
    /// Produce every record and wait for every report.
    Produce(Arc<Transaction>),
    /// Put these positions into the transaction with the captured group metadata.
    SendOffsets(Vec<(Inlet, i64)>),
    /// Commit.
    Commit,
    /// Abort.
    Abort,
    /// Drop consumer, producer and assignment, start again with backoff.
    Restart {
        /// What made it necessary.
        why: String,
        /// Another producer uses the slot's transactional id.
        fenced: bool,
        /// The store showed what cannot be of this shard: another one may own it, and a start finds out.
        torn: Option<i32>,
    },
    /// Read nothing more of this shard: it showed what cannot be, and a start did not mend it. Answered by
    /// [`Event::Halted`].
    Halt(i32, Halt),
    /// Stop the process in order: going on would be wrong.
    Stop(String),
}

/// What a batch needs from the store, by shard number; rows of one shard stand together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Single rows.
    pub rows: Vec<(i32, RowKey)>,
    /// Ranges of rows.
    pub ranges: Vec<(i32, RowRange)>,
    /// Agenda items.
    pub items: Vec<(i32, AgendaKey)>,
}

impl Needs {
    /// True when everything is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ranges.is_empty() && self.items.is_empty()
    }
}

/// Rows of a range, in the order of their sorts.
pub type RangeRows = Vec<(RowKey, Cell)>;

/// What the store had of [`Needs`]. Nothing was acknowledged to the engine between question and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// One answer per row; `None` where there is none.
    pub rows: Vec<(i32, RowKey, Option<Cell>)>,
    /// Rows of each range in order; fewer than its limit means it is at its end.
    pub ranges: Vec<(i32, RowRange, RangeRows)>,
    /// One answer per item; `None` where there is none.
    pub items: Vec<(i32, AgendaKey, Option<AgendaItem>)>,
}

/// A look into the agenda of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Shard number.
    pub shard: i32,
    /// First key wanted.
    pub from: AgendaKey,
    /// First key not wanted.
    pub to: AgendaKey,
    /// At most this many items.
    pub limit: usize,
}

/// The answer to a [`Scan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The question.
    pub scan: Scan,
    /// Key and entry of each item in order; fewer than the limit means there are no more.
    pub items: Vec<(AgendaKey, Entry)>,
}

/// A committed frame on its way to the store.
#[derive(Debug)]
pub struct Committed {
    /// Assignment it belongs to.
    pub assignment: u64,
    /// The frame.
    pub frame: Frame,
    /// The mark that claims it.
    pub mark: Mark,
}

/// An attempt at an effect, recorded as under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Shard number.
    pub shard: i32,
    /// Its item, which is due when the lease ends.
    pub key: AgendaKey,
    /// Subject that started it.
    pub subject: Arc<str>,
    /// Name of the effect, and its concurrency key.
    pub named: Named,
    /// Its argument.
    pub argument: Bytes,
    /// 1 for the first.
    pub attempt: i32,
    /// It must end [`crate::effects::LEASE_MARGIN`] before this is over.
    pub lease: Duration,
}

/// What an attempt brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Assignment that made it; outcomes of another one are dropped.
    pub assignment: u64,
    /// Shard number.
    pub shard: i32,
    /// Its item.
    pub key: AgendaKey,
    /// Its subject.
    pub subject: Arc<str>,
    /// What it brought.
    pub outcome: Result<Bytes, crate::effects::Error>,
}

/// What a step asks for.
#[derive(Debug)]
pub struct Step {
    /// The one thing to do next.
    pub action: Action,
    /// Frames for the applier; non-empty only right after a commit.
    pub committed: Vec<Committed>,
    /// Attempts at effects to be made now; non-empty only right after a commit.
    pub attempts: Vec<(u64, Attempt)>,
    /// Counts of the batch that was committed by this step.
    pub tally: Option<Tally>,
}
