//! The engine core: a state machine without I/O.
//!
//! The worker performs one [`Action`] at a time and answers with one [`Event`]; [`Core::step`] says what comes next.
//! The loop is serial: no transaction is ever open while the worker polls, so a rebalance never meets one. Steps
//! follow `docs/exactly-once.md`; the simulation drives the same code with other hands.

pub mod agenda;
pub mod assignment;
pub mod batch;
pub mod breaker;
pub mod cache;
mod claim;
pub mod decide;
pub mod dedupe;
pub mod due;
pub mod emit;
pub mod headers;
pub mod input;
mod intake;
pub mod ledger;
pub mod log;
pub mod places;
pub mod ranges;
pub mod recover;
pub mod rules;
pub mod settings;
pub mod shard_rows;
pub mod single;
pub mod step;
pub mod transaction;
pub mod versions;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use state::{AgendaKey, Mark};

use self::assignment::Assignment;
use self::batch::Batch;
use self::breaker::Breakers;
use self::decide::Tally;
use self::input::Arrived;
use self::log::WriterId;
use self::recover::Halt;
use self::rules::Rule;
use self::settings::Settings;
use self::transaction::Transaction;
use self::versions::Versions;
use crate::effects::Effects;
use crate::logic::Logic;

pub use self::step::{Action, Attempt, Committed, Ended, Event, Failure, Found, Needs, Scan, Scanned, Step};

/// Own clock and the broker's may differ by this much before somebody is told, µs.
const SKEW_ALARM_US: i64 = 60_000_000;
/// And by this much before the worker stops, µs.
const SKEW_STOP_US: i64 = 600_000_000;

/// Where the loop stands.
enum Phase {
    /// Nothing is running.
    Idle,
    /// Shards are being read back.
    Recovering { generation: i32 },
    /// Polling.
    Polling,
    /// Rows are being read for a batch.
    Fetching { batch: Batch },
    /// Their schemas are being asked for.
    Learning { batch: Batch, found: Found },
    /// The agenda is being looked into.
    Scanning,
    /// A transaction is being carried out.
    Transacting { transaction: Arc<Transaction>, at: TransactionStep, tally: Tally },
    /// It is being aborted.
    Aborting { ownership: bool, claim: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TransactionStep {
    Beginning,
    Producing,
    SendingOffsets,
    Committing,
}

/// The engine core of one worker.
pub struct Core {
    settings: Arc<Settings>,
    logic: Arc<dyn Logic>,
    slot: String,
    host: String,
    writer: WriterId,
    assignments: u64,
    assignment: Option<Assignment>,
    /// Inputs polled and not yet consumed: kept over an abort, in order.
    pending: VecDeque<Arrived>,
    redo: u32,
    versions: Versions,
    effects: Effects,
    breakers: Breakers,
    /// Items that the next batch reads too, because a decision needs them.
    wanted: Vec<(i32, AgendaKey)>,
    phase: Phase,
    /// Shards that were torn before this start.
    torn: BTreeSet<i32>,
}

impl Core {
    /// A core for one producer instance; `writer` is random per instance.
    #[must_use]
    pub fn new(settings: Arc<Settings>, logic: Arc<dyn Logic>, slot: &str, host: &str, writer: WriterId) -> Self {
        Self {
            effects: logic.effects().ruled(&settings.effects),
            settings,
            logic,
            slot: slot.to_owned(),
            host: host.to_owned(),
            writer,
            assignments: 0,
            assignment: None,
            pending: VecDeque::new(),
            redo: 0,
            versions: Versions::default(),
            breakers: Breakers::default(),
            wanted: Vec::new(),
            phase: Phase::Idle,
            torn: BTreeSet::new(),
        }
    }

    /// What the store holds of these shards could not be, and a start was made for it: the next time they are halted.
    #[must_use]
    pub fn after_torn(self, torn: BTreeSet<i32>) -> Self {
        Self { torn, ..self }
    }

    /// The running assignment, for gauges.
    #[must_use]
    pub fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    /// Targets of effects: attempts that are being made here, and whether it is left alone. For gauges.
    #[must_use]
    pub fn targets(&self) -> Vec<(Arc<str>, usize, bool)> {
        let running = self.assignment.as_ref().map(|assignment| assignment.running.by_target(&self.effects)).unwrap_or_default();
        let told = |target: Arc<str>| {
            let count = running.get(&target).copied().unwrap_or(0);
            let open = self.breakers.is_open(&target);
            (target, count, open)
        };
        self.effects.targets().into_iter().map(told).collect()
    }

    /// Takes what happened at clock `now_us` and says what to do next.
    pub fn step(&mut self, event: Event, now_us: i64) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Idle);
        let mut step = Step {
            action: Action::Poll { take: false, inputs_max: 0 },
            committed: Vec::new(),
            attempts: Vec::new(),
            tally: None,
        };
        step.action = match (phase, event) {
            (_, Event::Failed(Failure::Restart(why))) => self.restart(why),
            (_, Event::Failed(Failure::Fenced(why))) => self.restart_as(why, true),
            (_, Event::Revoked) => self.drop_assignment(),
            (_, Event::Assigned { generation, shards }) => self.assigned(generation, shards),
            (Phase::Recovering { generation }, Event::Recovered { shards, halted }) => {
                self.recovered(generation, shards, halted, now_us)
            }
            (Phase::Polling, Event::Done) => self.poll(),
            (Phase::Polling, Event::Halted(shards)) => self.halt(shards),
            (Phase::Polling | Phase::Idle, Event::Polled { inputs, acks, ended }) => self.polled(inputs, &acks, ended, now_us),
            (Phase::Fetching { batch }, Event::Fetched(found)) => self.fetched(batch, found, now_us),
            (Phase::Learning { batch, found }, Event::Learnt(schemas)) => {
                self.versions.learn(schemas);
                self.fetched(batch, found, now_us)
            }
            (Phase::Scanning, Event::Scanned(scanned)) => self.scanned(scanned, now_us),
            (Phase::Transacting { transaction, at, tally }, event) => {
                self.transacting(transaction, at, tally, event, now_us, &mut step)
            }
            (Phase::Aborting { ownership: true, .. }, Event::Done) => self.drop_assignment(),
            (Phase::Aborting { ownership: false, claim }, Event::Done) => self.redo(claim, now_us),
            (_, Event::Failed(Failure::Abort(why) | Failure::Ownership(why))) => self.restart(why),
            (_, event) => self.restart(format!("{event:?} does not fit the phase")),
        };
        step
    }

    fn restart(&mut self, why: String) -> Action {
        self.restart_as(why, false)
    }

    fn restart_as(&mut self, why: String, fenced: bool) -> Action {
        self.assignment = None;
        self.pending.clear();
        Action::Restart { why, fenced, torn: None }
    }

    /// Revoke and lost: nothing outlives its assignment (I7).
    fn drop_assignment(&mut self) -> Action {
        self.assignment = None;
        self.forget_pending();
        self.redo = 0;
        self.phase = Phase::Idle;
        Action::Poll { take: false, inputs_max: 0 }
    }

    fn forget_pending(&mut self) {
        if self.settings.rules.keep(Rule::PendingEndsWithAssignment) {
            self.pending.clear();
        }
    }

    fn assigned(&mut self, generation: i32, shards: Vec<i32>) -> Action {
        self.assignment = None;
        self.forget_pending();
        self.assignments += 1;
        self.phase = Phase::Recovering { generation };
        Action::Recover(shards)
    }

    fn resume(&mut self) -> Action {
        self.phase = Phase::Polling;
        let Some(assignment) = &self.assignment else { return self.poll() };
        Action::Resume {
            positions: assignment.shards.values().flat_map(|shard| shard.positions(&self.settings)).collect(),
            halted: assignment.halted.keys().copied().collect(),
        }
    }

    /// Takes shards out of the assignment; what was polled of them is read again by the next one.
    fn halt(&mut self, shards: Vec<(i32, Halt)>) -> Action {
        if let Some(assignment) = &mut self.assignment {
            for (number, halt) in shards {
                assignment.shards.remove(&number);
                assignment.halted.insert(number, halt);
                self.pending.retain(|input| input.shard != number);
            }
        }
        self.poll()
    }

    fn poll(&mut self) -> Action {
        self.phase = Phase::Polling;
        let take = self.assignment.as_ref().is_some_and(|assignment| !assignment.is_backed_up(&self.settings));
        Action::Poll { take, inputs_max: self.settings.limits.batch_inputs }
    }

    fn polled(&mut self, inputs: Vec<Arrived>, acks: &[(u64, i32, i64)], ended: Vec<Ended>, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else {
            self.phase = Phase::Idle;
            return Action::Poll { take: false, inputs_max: 0 };
        };
        for (number, shard, n) in acks {
            if *number == assignment.number
                && let Some(shard) = assignment.shards.get_mut(shard)
            {
                shard.acknowledge(*n);
            }
        }
        for ended in ended.into_iter().filter(|ended| ended.assignment == assignment.number) {
            if let Some(named) = assignment.running.end(ended.shard, &ended.key)
                && let Some((policy, target)) = self.effects.policy(&named.effect).zip(self.effects.target(&named.effect))
                && policy.breaker
            {
                let failed = ended.outcome.as_ref().is_err_and(crate::effects::Error::is_retryable);
                self.breakers.told(target, failed, now_us);
            }
            assignment.ended.push_back(ended);
        }
        self.pending.extend(inputs);
        self.next_batch(now_us)
    }

    fn begin(&mut self, transaction: Transaction, tally: Tally) -> Action {
        self.phase = Phase::Transacting { transaction: Arc::new(transaction), at: TransactionStep::Beginning, tally };
        Action::Begin
    }

    fn transacting(
        &mut self,
        mut transaction: Arc<Transaction>,
        at: TransactionStep,
        tally: Tally,
        event: Event,
        now_us: i64,
        step: &mut Step,
    ) -> Action {
        let (at, action) = match (at, event) {
            (_, Event::Failed(failure)) => {
                if !self.settings.rules.keep(Rule::NothingDirty) {
                    self.leave_dirty(&transaction);
                }
                let ownership = matches!(failure, Failure::Ownership(_));
                self.phase = Phase::Aborting { ownership, claim: transaction.claim };
                return Action::Abort;
            }
            // it was written in the name of a producer that is gone
            (TransactionStep::Beginning, Event::Recycled(writer)) => {
                self.writer = writer;
                return if transaction.claim { self.prove(now_us) } else { self.next_batch(now_us) };
            }
            (TransactionStep::Beginning, Event::Done) => (TransactionStep::Producing, Action::Produce(transaction.clone())),
            (TransactionStep::Producing, Event::Drained(trailers)) => {
                let skew = trailers.iter().map(|(_, _, appended_ms)| (now_us - appended_ms * 1_000).abs()).max().unwrap_or(0);
                if skew > SKEW_STOP_US {
                    return Action::Stop(format!("the clock is {} s off the broker's: set it right", skew / 1_000_000));
                }
                if skew > SKEW_ALARM_US {
                    tracing::warn!(skew_s = skew / 1_000_000, "the clock differs from the broker's");
                }
                if transaction.claim {
                    self.claimed(&trailers);
                }
                transaction = with_offsets(transaction, &trailers);
                (TransactionStep::SendingOffsets, Action::SendOffsets(transaction.positions.clone()))
            }
            (TransactionStep::SendingOffsets, Event::Done) => {
                if !self.settings.rules.keep(Rule::ApplyAfterCommit) {
                    self.hand_over(&transaction, &mut step.committed);
                }
                if !self.settings.rules.keep(Rule::AttemptAfterCommit) {
                    step.attempts = self.attempt_early(&transaction);
                }
                (TransactionStep::Committing, Action::Commit)
            }
            (TransactionStep::Committing, Event::Done) => {
                step.tally = Some(tally);
                return self.committed(transaction, step, now_us);
            }
            (_, event) => return self.restart(format!("{event:?} does not fit an open transaction")),
        };
        self.phase = Phase::Transacting { transaction, at, tally };
        action
    }

    /// Only now inputs are consumed and changes become visible.
    fn committed(&mut self, transaction: Arc<Transaction>, step: &mut Step, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        let Ok(transaction) = Arc::try_unwrap(transaction) else {
            return self.restart("the worker kept a committed transaction".into());
        };
        let claim = transaction.claim;
        for change in transaction.changes {
            let Some(shard) = assignment.shards.get_mut(&change.shard) else { continue };
            shard.publish(&change);
            step.committed.push(Committed { assignment: assignment.number, mark: Mark::from(&change.tip), frame: change.frame });
        }
        if let Some((number, trying)) = transaction.trying
            && let Some(single) = assignment.shards.get_mut(&number).and_then(|shard| shard.single.as_mut())
        {
            single.announced(trying);
        }
        for attempt in transaction.attempts {
            assignment.running.begin(attempt.shard, attempt.key.clone(), attempt.named.clone());
            if self.settings.rules.keep(Rule::AttemptAfterCommit) {
                step.attempts.push((assignment.number, attempt));
            }
        }
        assignment.ended.drain(..transaction.ended.min(assignment.ended.len()));
        self.pending.drain(..transaction.inputs.min(self.pending.len()));
        self.redo = 0;
        if claim {
            return self.resume();
        }
        if self.pending.is_empty() { self.poll() } else { self.next_batch(now_us) }
    }

    /// After an abort the same inputs are decided again from memory, in smaller batches.
    /// A claim is made again: before it is committed nothing is read.
    fn redo(&mut self, claim: bool, now_us: i64) -> Action {
        self.redo += 1;
        if self.redo > self.settings.limits.redo_attempts {
            return self.restart("the transaction was aborted too often".into());
        }
        if claim { self.prove(now_us) } else { self.next_batch(now_us) }
    }
}

/// Sets `applied` of every change from the delivery report of its trailer.
fn with_offsets(transaction: Arc<Transaction>, trailers: &[(i32, i64, i64)]) -> Arc<Transaction> {
    let Ok(mut transaction) = Arc::try_unwrap(transaction) else { return Arc::default() };
    for change in &mut transaction.changes {
        // a claim may come before it
        if let Some(offset) = trailers.iter().filter(|(shard, ..)| *shard == change.shard).map(|(_, offset, _)| *offset).max() {
            change.tip.applied = offset + 1;
        }
    }
    Arc::new(transaction)
}
