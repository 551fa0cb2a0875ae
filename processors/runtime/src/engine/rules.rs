//! Rules of the protocol as values, so that a simulation can take one away and show that it is needed.

use state::Mark;

use super::cache::Image;
use super::shard_rows::ShardRows;
use super::transaction::Transaction;
use super::{Attempt, Committed, Core};

/// A rule that the engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Frame times of a shard rise, whatever the clock says (I3).
    RisingTime,
    /// An aborted batch leaves nothing behind (I2).
    NothingDirty,
    /// Frames go to the store after their commit (I2).
    ApplyAfterCommit,
    /// The watermark moves behind acknowledgements (I4).
    MarkAfterAcks,
    /// Rows of frames that the store has not acknowledged are never evicted from memory (I5).
    PinnedUntilAcked,
    /// A new owner loads the dedupe window from the store (G1).
    StoredWindow,
    /// Every shard with anything in a transaction gets a trailer, also when its position stands still.
    TrailerAlways,
    /// Positions are part of every transaction, also when they stand still: they are its fence (I1).
    PositionsAlways,
    /// The agenda is read further only when the store has all frames of the shard.
    DrainedReach,
    /// The agenda's floor stays below every item there may be.
    LowFloor,
    /// An item is deleted in the frame of what it led to (G4).
    ItemGoesWithFiring,
    /// The positions of followed topics are in the trailer, like that of the events.
    FollowedPositions,
    /// Whether a subject is held is told by its head row, not by what memory has of the item that tries it again.
    DurableHold,
    /// Timers, outcomes and relaxed inputs pass a held subject, which may be waiting for them.
    TimersPassHolds,
    /// What was polled and not decided ends with the assignment (I7).
    PendingEndsWithAssignment,
    /// An attempt at an effect is made after the commit of its record.
    AttemptAfterCommit,
    /// An outcome counts only if its item is there as the attempt left it.
    OutcomeOfItsAttempt,
    /// A new owner reads the rows of its shard from the store before it decides anything.
    ShardRowsRead,
}

/// The rules that are kept: all of them, except in a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    missing: u32,
}

impl Rules {
    /// Every rule.
    #[must_use]
    pub const fn all() -> Self {
        Self { missing: 0 }
    }

    /// Every rule but `rule`. For simulations only: a lint keeps it out of everything else.
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { missing: 1 << rule as u32 }
    }

    /// True when `rule` is kept.
    #[must_use]
    pub const fn keep(self, rule: Rule) -> bool {
        self.missing & (1 << rule as u32) == 0
    }
}

/// Without [`Rule::ShardRowsRead`]: a new owner thinks that its shard has no rows.
pub(super) fn unread(mut rows: ShardRows) -> ShardRows {
    if let Some(question) = rows.question().cloned() {
        rows.answer(&question, Vec::new());
    }
    rows
}

/// What happens where a rule is missing.
impl Core {
    /// Without [`Rule::NothingDirty`]: the row images of an aborted batch stay in memory.
    pub(super) fn leave_dirty(&mut self, aborted: &Transaction) {
        let Some(assignment) = &mut self.assignment else { return };
        for change in &aborted.changes {
            let Some(shard) = assignment.shards.get_mut(&change.shard) else { continue };
            for write in &change.frame.rows {
                let image = Image { val: write.val.clone(), expire_at: write.expire_at };
                shard.cache.put(&write.key.subject, &write.key.sort, image, change.frame.n);
            }
        }
    }

    /// Without [`Rule::AttemptAfterCommit`]: attempts are made while their transaction is open.
    pub(super) fn attempt_early(&self, open: &Transaction) -> Vec<(u64, Attempt)> {
        let number = self.assignment.as_ref().map_or(0, |assignment| assignment.number);
        open.attempts.iter().map(|attempt| (number, attempt.clone())).collect()
    }

    /// Without [`Rule::ApplyAfterCommit`]: frames go to the store while their transaction is open.
    pub(super) fn hand_over(&self, open: &Transaction, committed: &mut Vec<Committed>) {
        let Some(assignment) = &self.assignment else { return };
        committed.extend(open.changes.iter().map(|change| Committed {
            assignment: assignment.number,
            frame: change.frame.clone(),
            mark: Mark::from(&change.tip),
        }));
    }
}
