//! Deciding a batch: one shard after another, each input against everything before it, into one transaction.
//!
//! Nothing of the assignment changes here. A batch works on copies ([`ShardWork`]), so an aborted transaction leaves
//! no trace.

mod finish;
mod settle;
mod subject;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use schemas::catalog::Tracking;
use schemas::key::EventKey;
use state::records::State;

use self::subject::Work;
use super::assignment::{Assignment, ShardState};
use super::batch::{Batch, Fate, Prepared};
use super::dedupe::MINUTE_MS;
use super::emit;
use super::log::WriterId;
use super::ranges::Ranges;
use super::rules::Rule;
use super::settings::{EventSpec, Settings};
use super::transaction::{OutRecord, Transaction};
use crate::dead_letter::{self, Reason};
use crate::logic::{Opened, RawDecision, RawRow};
use crate::processor::{Context, Reads, Rejection};

/// Counts of a decided batch, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Inputs that were duplicates.
    pub duplicates: u64,
    /// Inputs that became dead letters.
    pub dead: u64,
    /// Inputs that were refused by the processor.
    pub rejected: u64,
    /// Inputs that were processed.
    pub processed: u64,
}

/// Why a batch cannot be decided as it is.
#[derive(Debug)]
pub enum Undecided {
    /// The input at this place needs more of a range than was read, because of what inputs before it deleted.
    Short(usize),
    /// The store shows what no history can have led to: somebody else owns the shard, or it is damaged.
    Torn(String),
}

/// Decides `batch` at clock `now_us`. Inputs of one shard stand in offset order.
///
/// # Errors
/// [`Undecided`]; nothing has changed.
pub fn decide(
    batch: Batch,
    assignment: &mut Assignment,
    settings: &Settings,
    writer: &WriterId,
    now_us: i64,
) -> Result<(Transaction, Tally), Undecided> {
    let Batch { inputs, ranges } = batch;
    let mut tally = Tally::default();
    let mut transaction = Transaction { inputs: inputs.len(), ..Transaction::default() };
    let mut by_shard: BTreeMap<i32, Vec<(usize, Prepared)>> = BTreeMap::new();
    for (at, input) in inputs.into_iter().enumerate() {
        by_shard.entry(input.record.shard).or_default().push((at, input));
    }
    // an input is short only because of inputs of its own shard, so the first that is short ends the batch for all
    let mut short = None;
    for (number, inputs) in by_shard {
        let Some(shard) = assignment.shards.get_mut(&number) else { continue };
        let mut work = ShardWork::new(shard, settings, &ranges, now_us);
        for (at, input) in inputs {
            match work.take(input, &mut tally) {
                Ok(()) => {}
                Err(Stop::Short) => {
                    short = Some(short.map_or(at, |other: usize| other.min(at)));
                    break;
                }
                // take() has turned dead ones into dead letters
                Err(Stop::Torn(why) | Stop::Dead(_, why)) => return Err(Undecided::Torn(why)),
            }
        }
        work.finish(writer, &mut transaction);
    }
    short.map_or(Ok((transaction, tally)), |at| Err(Undecided::Short(at)))
}

/// Why an input is not decided.
enum Stop {
    /// It is a dead letter.
    Dead(Reason, String),
    /// See [`Undecided::Short`].
    Short,
    /// See [`Undecided::Torn`].
    Torn(String),
}

impl From<(Reason, String)> for Stop {
    fn from((reason, detail): (Reason, String)) -> Self {
        Self::Dead(reason, detail)
    }
}

/// One shard's part of the batch.
struct ShardWork<'a> {
    shard: &'a mut ShardState,
    settings: &'a Settings,
    ranges: &'a Ranges,
    ts: i64,
    horizon: i64,
    position: i64,
    subjects: HashMap<Arc<str>, usize>,
    works: Vec<Work>,
    records: Vec<OutRecord>,
    accepted: BTreeMap<i64, Vec<u8>>,
    seen: HashSet<EventKey>,
}

impl<'a> ShardWork<'a> {
    fn new(shard: &'a mut ShardState, settings: &'a Settings, ranges: &'a Ranges, now_us: i64) -> Self {
        Self {
            ts: if settings.rules.keep(Rule::RisingTime) { (shard.tip.ts + 1_000).max(now_us) } else { now_us },
            horizon: shard.tip.horizon,
            position: shard.position(&settings.events),
            shard,
            settings,
            ranges,
            subjects: HashMap::new(),
            works: Vec::new(),
            records: Vec::new(),
            accepted: BTreeMap::new(),
            seen: HashSet::new(),
        }
    }

    /// Decides one input, or writes its dead letter.
    fn take(&mut self, input: Prepared, tally: &mut Tally) -> Result<(), Stop> {
        let Prepared { record, envelope, key, subject, fate } = input;
        let appended = record.appended_ms.max(self.horizon);
        self.horizon = appended;
        self.position = record.offset + 1;
        if self.shard.dedupe.holds(&key, appended) || !self.seen.insert(key) {
            tally.duplicates += 1;
            return Ok(());
        }
        self.accepted.entry(appended.div_euclid(MINUTE_MS)).or_default().extend_from_slice(&key.0);
        let told = emit::Told { record: &record, envelope: &envelope, key, subject: &subject, appended, ts: self.ts };
        let (tracking, outcome) = match fate {
            Fate::Dead(reason, detail) => (Tracking::All, Err(Stop::Dead(reason, detail))),
            Fate::Ready { event, opened, reads } => (event.tracking, self.run(&told, &event, opened, &reads, tally)),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Stop::Dead(reason, detail)) => {
                tally.dead += 1;
                self.records.push(dead_letter::record(&record, &self.settings.events, reason, &detail, self.ts));
                if tracking != Tracking::None {
                    let mut status = told.status(State::FailedTerminal, self.settings);
                    status.reason = Some(reason.name().to_owned());
                    status.detail = Some(detail);
                    let write = told.write(&status, self.settings);
                    let at = self.work(&subject)?;
                    self.works[at].status.push(write);
                }
                Ok(())
            }
            Err(stop) => Err(stop),
        }
    }

    /// Decides one input and takes its changes over, all or none.
    fn run(
        &mut self,
        told: &emit::Told<'_>,
        event: &EventSpec,
        opened: Box<dyn Opened>,
        reads: &Reads,
        tally: &mut Tally,
    ) -> Result<(), Stop> {
        let at = self.work(told.subject)?;
        let rows = self.rows(at, reads)?;
        let context = told.context(&event.name);
        match guarded(opened, &rows, &context)? {
            Ok(decision) => {
                let products = self.accept(at, told, &decision)?;
                tally.processed += 1;
                if decision.open && event.tracking != Tracking::None {
                    let status = told.open_status(self.settings);
                    self.works[at].status.push(told.write(&status, self.settings));
                } else if event.tracking == Tracking::All {
                    let mut status = told.status(State::Succeeded, self.settings);
                    status.outcome = Some("ok".to_owned());
                    status.code = decision.unchanged.then(|| "unchanged".to_owned());
                    status.products = products;
                    self.works[at].status.push(told.write(&status, self.settings));
                }
            }
            Err(Rejection::Refused(refusal)) => {
                let products = self.refuse(at, told, event, &refusal)?;
                tally.rejected += 1;
                if event.tracking != Tracking::None {
                    let mut status = told.status(State::Succeeded, self.settings);
                    status.outcome = Some("rejected".to_owned());
                    status.code = Some(refusal.code.to_owned());
                    status.detail = Some(refusal.detail);
                    status.products = products;
                    self.works[at].status.push(told.write(&status, self.settings));
                }
            }
            Err(Rejection::Terminal(detail)) => return Err(Stop::Dead(Reason::Terminal, detail)),
            // delayed retries need the agenda; until it runs here nothing may be lost, so the input is kept aside
            Err(Rejection::Retry(detail)) => return Err(Stop::Dead(Reason::RetriesExhausted, detail)),
        }
        Ok(())
    }
}

/// Runs `decide` and turns a panic into a dead letter: nothing has changed yet, so the others need no redo.
fn guarded(
    opened: Box<dyn Opened>,
    rows: &[RawRow],
    context: &Context,
) -> Result<Result<RawDecision, Rejection>, (Reason, String)> {
    catch_unwind(AssertUnwindSafe(|| opened.decide(rows, context))).map_err(|panic| {
        let text =
            panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        (Reason::Panic, text.unwrap_or_else(|| "decide panicked".to_owned()))
    })
}
