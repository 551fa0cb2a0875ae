//! Deciding a batch: one shard after another, each input against everything before it, into one transaction.
//!
//! Nothing of the assignment changes here. A batch works on copies ([`ShardWork`]), so an aborted transaction leaves
//! no trace.

mod finish;
mod subject;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use schemas::catalog::Tracking;
use schemas::key::EventKey;
use state::records::State;

use self::subject::Work;
use super::assignment::{Assignment, ShardState};
use super::batch::{Fate, Prepared};
use super::dedupe::MINUTE_MS;
use super::emit;
use super::log::WriterId;
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

/// Decides `batch` at clock `now_us`. Inputs of one shard stand in offset order.
pub fn decide(
    batch: Vec<Prepared>,
    assignment: &mut Assignment,
    settings: &Settings,
    writer: &WriterId,
    now_us: i64,
) -> (Transaction, Tally) {
    let mut tally = Tally::default();
    let mut transaction = Transaction { inputs: batch.len(), ..Transaction::default() };
    let mut by_shard: BTreeMap<i32, Vec<Prepared>> = BTreeMap::new();
    for input in batch {
        by_shard.entry(input.record.shard).or_default().push(input);
    }
    for (number, inputs) in by_shard {
        let Some(shard) = assignment.shards.get_mut(&number) else { continue };
        let mut work = ShardWork::new(shard, settings, now_us);
        for input in inputs {
            work.take(input, &mut tally);
        }
        work.finish(writer, &mut transaction);
    }
    (transaction, tally)
}

/// One shard's part of the batch.
struct ShardWork<'a> {
    shard: &'a mut ShardState,
    settings: &'a Settings,
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
    fn new(shard: &'a mut ShardState, settings: &'a Settings, now_us: i64) -> Self {
        Self {
            ts: if settings.rules.keep(Rule::RisingTime) { (shard.tip.ts + 1_000).max(now_us) } else { now_us },
            horizon: shard.tip.horizon,
            position: shard.position(&settings.events),
            shard,
            settings,
            subjects: HashMap::new(),
            works: Vec::new(),
            records: Vec::new(),
            accepted: BTreeMap::new(),
            seen: HashSet::new(),
        }
    }

    fn take(&mut self, input: Prepared, tally: &mut Tally) {
        let Prepared { record, envelope, key, subject, fate } = input;
        let appended = record.appended_ms.max(self.horizon);
        self.horizon = appended;
        self.position = record.offset + 1;
        if self.shard.dedupe.holds(&key, appended) || !self.seen.insert(key) {
            tally.duplicates += 1;
            return;
        }
        self.accepted.entry(appended.div_euclid(MINUTE_MS)).or_default().extend_from_slice(&key.0);
        let told = emit::Told { record: &record, envelope: &envelope, key, subject: &subject, appended, ts: self.ts };
        let outcome = match fate {
            Fate::Dead(reason, detail) => Err((reason, detail, Tracking::All)),
            Fate::Ready { event, opened, reads } => {
                self.run(&told, &event, opened, &reads, tally).map_err(|(reason, detail)| (reason, detail, event.tracking))
            }
        };
        if let Err((reason, detail, tracking)) = outcome {
            tally.dead += 1;
            self.records.push(dead_letter::record(&record, &self.settings.events, reason, &detail, self.ts));
            if tracking != Tracking::None {
                let mut status = told.status(State::FailedTerminal, self.settings);
                status.reason = Some(reason.name().to_owned());
                status.detail = Some(detail);
                let write = told.write(&status, self.settings);
                let at = self.work(&subject);
                self.works[at].status.push(write);
            }
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
    ) -> Result<(), (Reason, String)> {
        let at = self.work(told.subject);
        let rows = self.rows(at, reads)?;
        let context = told.context(&event.name);
        match guarded(opened, &rows, &context)? {
            Ok(decision) => {
                let products = self.accept(at, told, &decision)?;
                tally.processed += 1;
                if event.tracking == Tracking::All {
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
            Err(Rejection::Terminal(detail)) => return Err((Reason::Terminal, detail)),
            // delayed retries need the agenda; until it runs here nothing may be lost, so the input is kept aside
            Err(Rejection::Retry(detail)) => return Err((Reason::RetriesExhausted, detail)),
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
