//! Deciding a batch: one shard after another, each input against everything before it, into one transaction.
//!
//! Nothing of the assignment changes here. A batch works on copies ([`ShardWork`]), so an aborted transaction leaves
//! no trace.

mod again;
mod effects;
mod finish;
mod outcome;
mod settle;
mod shard;
mod subject;
mod tally;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use schemas::catalog::Tracking;
use schemas::key::EventKey;
use state::AgendaKey;
use state::records::{Source, State};

use self::subject::Work;
pub use self::tally::Tally;
use super::agenda::Named;
use super::assignment::{Assignment, ShardState};
use super::batch::{Batch, Fate, Items, Prepared};
use super::breaker::Breakers;
use super::dedupe::{KeyHasher, MINUTE_MS};
use super::due::{Before, Origin};
use super::emit;
use super::input::{Arrived, Feed};
use super::log::WriterId;
use super::places::{Places, Running};
use super::ranges::Ranges;
use super::rules::Rule;
use super::settings::{Policy, Settings};
use super::shard_rows::Changes;
use super::step::Attempt;
use super::transaction::{OutRecord, Transaction};
use crate::dead_letter::Reason;
use crate::effects::Effects;
use crate::logic::{Opened, RawDecision, RawRows};
use crate::processor::{Context, Reads, Rejection};

/// Why a batch cannot be decided as it is.
#[derive(Debug)]
pub enum Undecided {
    /// The batch ends before the input at this place: it needs more of a range than was read, because of what inputs before
    /// it deleted, or its subject's share of the frame is full.
    Short(usize),
    /// These items must be read too: effects that a decision cancels.
    Items(Vec<(i32, AgendaKey)>),
    /// The store shows what no history of this shard can have led to: somebody else owns it, or the store is damaged.
    Torn(i32, String),
}

/// Decides `batch` at clock `now_us`. Inputs of one shard stand in offset order.
///
/// # Errors
/// [`Undecided`]; nothing has changed.
pub fn decide(
    batch: Batch,
    assignment: &mut Assignment,
    settings: &Settings,
    (effects, breakers): (&Effects, &Breakers),
    writer: &WriterId,
    now_us: i64,
) -> Result<(Transaction, Tally), Undecided> {
    let ended = batch.ended;
    let (inputs, ranges, items) = batch.into_inputs();
    let mut places = assignment.running.free(effects, breakers, settings.limits.effects, now_us);
    for input in &inputs {
        if let Fate::Attempt(effect) = &input.fate {
            places.occupy(&Named::from(effect));
        }
    }
    let mut tally = Tally::default();
    let records = inputs.iter().filter(|input| matches!(input.origin, Origin::Topic)).count();
    let mut transaction = Transaction { inputs: records, ended, ..Transaction::default() };
    let mut order: Vec<(i32, usize)> = inputs.iter().enumerate().map(|(at, input)| (input.record.shard, at)).collect();
    order.sort_unstable();
    // inputs are large: each stays where it is until its turn
    let mut inputs: Vec<Option<Prepared>> = inputs.into_iter().map(Some).collect();
    // an input is short only because of inputs of its own shard, so the first that is short ends the batch for all
    let (mut short, mut missing) = (None, Vec::new());
    for ours in order.chunk_by(|(one, _), (next, _)| one == next) {
        let number = ours[0].0;
        let Some(shard) = assignment.shards.get_mut(&number) else { continue };
        let mut work = ShardWork::new(shard, settings, effects, &mut places, (&ranges, &items), now_us);
        for (_, at) in ours {
            let Some(input) = inputs[*at].take() else { continue };
            match work.take(input, &mut tally) {
                Ok(()) => {}
                Err(Stop::Short) => {
                    short = Some(short.map_or(*at, |other: usize| other.min(*at)));
                    break;
                }
                // take() has dealt with the others
                Err(Stop::Torn(why) | Stop::Dead(_, why) | Stop::Again(why)) => return Err(Undecided::Torn(number, why)),
            }
        }
        missing.append(&mut work.missing);
        work.finish(writer, &mut transaction);
    }
    let undecided = (!missing.is_empty()).then_some(Undecided::Items(missing)).or(short.map(Undecided::Short));
    undecided.map_or(Ok((transaction, tally)), Err)
}

/// A frame of nothing but positions: what a shard that follows a stream from now on starts with.
pub fn anchor(shard: &mut ShardState, settings: &Settings, writer: &WriterId, now_us: i64, transaction: &mut Transaction) {
    let (effects, breakers, ranges, items) = (Effects::default(), Breakers::default(), Ranges::default(), Items::new());
    let mut places = Running::default().free(&effects, &breakers, 0, now_us);
    let mut work = ShardWork::new(shard, settings, &effects, &mut places, (&ranges, &items), now_us);
    // the claim has them all
    work.positions.clear();
    work.finish(writer, transaction);
}

/// Why an input is not decided.
enum Stop {
    /// It is a dead letter.
    Dead(Reason, String),
    /// The processor wants it again later.
    Again(String),
    /// See [`Undecided::Short`].
    Short,
    /// See [`Undecided::Torn`].
    Torn(String),
}

/// What became of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It is decided.
    Settled,
    /// It waits, and everything that is needed for that is written.
    Waits,
}

impl From<(Reason, String)> for Stop {
    fn from((reason, detail): (Reason, String)) -> Self {
        Self::Dead(reason, detail)
    }
}

/// One shard's part of the batch.
struct ShardWork<'a, 'e> {
    shard: &'a mut ShardState,
    settings: &'a Settings,
    effects: &'a Effects,
    places: &'a mut Places<'e>,
    ranges: &'a Ranges,
    items: &'a Items,
    missing: Vec<(i32, AgendaKey)>,
    ts: i64,
    horizon: i64,
    /// Next offset of each topic; that of the events always, since the positions fence a stale owner.
    positions: BTreeMap<Feed, i64>,
    subjects: HashMap<Arc<str>, usize>,
    works: Vec<Work>,
    /// Changed rows of the shard itself.
    shard_changes: Changes,
    records: Vec<OutRecord>,
    accepted: BTreeMap<i64, Vec<u8>>,
    /// Keys accepted in this batch, with their minute.
    seen: HashMap<EventKey, i64>,
    /// Events whose status the frame tells.
    told: HashSet<EventKey, BuildHasherDefault<KeyHasher>>,
    attempts: Vec<Attempt>,
}

impl<'a, 'e> ShardWork<'a, 'e> {
    fn new(
        shard: &'a mut ShardState,
        settings: &'a Settings,
        effects: &'a Effects,
        places: &'a mut Places<'e>,
        (ranges, items): (&'a Ranges, &'a Items),
        now_us: i64,
    ) -> Self {
        Self {
            ts: if settings.rules.keep(Rule::RisingTime) { (shard.tip.ts + 1_000).max(now_us) } else { now_us },
            horizon: shard.tip.horizon,
            positions: match settings.rules.keep(Rule::PositionsAlways) {
                true => [(Feed::EVENTS, shard.position(&settings.events))].into(),
                false => BTreeMap::new(),
            },
            shard,
            settings,
            effects,
            places,
            ranges,
            items,
            missing: Vec::new(),
            subjects: HashMap::new(),
            works: Vec::new(),
            shard_changes: Changes::default(),
            records: Vec::new(),
            accepted: BTreeMap::new(),
            seen: HashMap::new(),
            told: HashSet::default(),
            attempts: Vec::new(),
        }
    }

    /// Decides one input, lets it wait, or writes its dead letter.
    fn take(&mut self, input: Prepared, tally: &mut Tally) -> Result<(), Stop> {
        let Prepared { record, envelope, key, subject, fate, origin, source, effect } = input;
        let fresh = Before::default();
        let (appended, before) = match &origin {
            Origin::Topic => match self.arrives(&record, key) {
                Some(appended) => (appended, &fresh),
                None => {
                    tally.duplicates += 1;
                    return Ok(());
                }
            },
            Origin::Item { timer: Some(_), before, .. } => (self.ts / 1_000, before),
            Origin::Item { before, .. } | Origin::Park { before, .. } => (record.appended_ms, before),
        };
        if !self.fires(&origin, &subject)? {
            return Ok(());
        }
        tally.leases_expired += u64::from(self.lease_has_ended(&origin, &fate, effect.as_ref()));
        let id = envelope.id.strip_prefix("e/").unwrap_or_default();
        if let Some(effect) = effect {
            let failed = matches!(&source, Some(Source::Outcome { ok: false, .. }));
            let failed = failed.then(|| String::from_utf8_lossy(&record.value).into_owned());
            self.end_effect(&subject, id, effect, failed)?;
        }
        let cause = envelope.cause.as_deref();
        let told = emit::Told {
            record: &record,
            envelope: &envelope,
            key,
            subject: &subject,
            appended,
            cause,
            source: source.as_ref(),
            before,
            ts: self.ts,
        };
        let (tracking, outcome) = match fate {
            Fate::PassedOver => return Ok(()),
            Fate::Attempt(effect) => return self.attempt(&subject, id, effect),
            Fate::Requeue(effect, why) => return self.requeue(&subject, id, effect, &why),
            Fate::Dead(reason, detail) => {
                let tracking = if record.feed == Feed::EVENTS { Tracking::All } else { Tracking::None };
                (tracking, Err(Stop::Dead(reason, detail)))
            }
            Fate::Ready { policy, opened, reads } => {
                (policy.tracking, self.attend(&told, &origin, &policy, opened, &reads, tally))
            }
        };
        let done = match outcome {
            Err(Stop::Dead(reason, detail)) => {
                tally.dead[reason as usize] += 1;
                self.bury(&told, tracking, reason, detail)?;
                Done::Settled
            }
            outcome => outcome?,
        };
        if let (Origin::Park { n, .. }, Done::Settled) = (&origin, done) {
            self.unpark(&told, *n)?;
        }
        if let Origin::Item { key, .. } | Origin::Park { key, .. } = &origin {
            tally.fired += 1;
            tally.lateness_us = tally.lateness_us.max(self.ts - key.due);
        }
        Ok(())
    }

    /// Decides an input, or lets it wait.
    fn attend(
        &mut self,
        told: &emit::Told<'_>,
        origin: &Origin,
        policy: &Policy,
        opened: Box<dyn Opened>,
        reads: &Reads,
        tally: &mut Tally,
    ) -> Result<Done, Stop> {
        if self.waits(told.subject, origin, policy)? {
            tally.parked += 1;
            return self.park(told, policy.tracking);
        }
        match self.run(told, policy, opened, reads, tally) {
            Err(Stop::Again(detail)) => {
                tally.retries += 1;
                self.again(told, origin, policy, detail)
            }
            outcome => outcome,
        }
    }

    /// A record is taken up: its append time as the shard counts it, `None` for a duplicate.
    fn arrives(&mut self, record: &Arrived, key: EventKey) -> Option<i64> {
        self.positions.insert(record.feed, record.offset + 1);
        if record.feed != Feed::EVENTS {
            // positions alone are exact; and its time is a processor's clock, not the broker's
            return Some(record.appended_ms);
        }
        let appended = record.appended_ms.max(self.horizon);
        self.horizon = appended;
        let (minute, first) = (appended.div_euclid(MINUTE_MS), self.shard.dedupe.first_minute(appended));
        let in_batch = self.seen.get(&key).is_some_and(|minute| *minute >= first);
        if in_batch || self.shard.dedupe.holds(&key, appended) {
            return None;
        }
        self.seen.insert(key, minute);
        self.accepted.entry(minute).or_default().extend_from_slice(&key.0);
        Some(appended)
    }

    /// Decides one input and takes its changes over, all or none.
    fn run(
        &mut self,
        told: &emit::Told<'_>,
        policy: &Policy,
        opened: Box<dyn Opened>,
        reads: &Reads,
        tally: &mut Tally,
    ) -> Result<Done, Stop> {
        let at = self.work(told.subject)?;
        let rows = self.rows(at, reads)?;
        tally.rows += 1 + reads.rows.len() as u64;
        let context = told.context(&policy.name);
        match guarded(opened, &rows, &context)? {
            Ok(decision) => {
                // one that has waited has a status row that must not stay behind
                let waited = policy.tracking != Tracking::None && !told.before.history.is_empty();
                let kept = waited || policy.tracking == Tracking::All;
                let (products, sends) = self.accept(at, told, (policy.tracking, kept), &decision)?;
                tally.processed += 1;
                tally.sends += sends;
                let with_effects = policy.settles_with_effects && !decision.effects.is_empty();
                if (decision.open || with_effects) && policy.tracking != Tracking::None {
                    let mut status = told.open_status(self.settings);
                    // decided already: the reader looks for the outcomes of its effects
                    if !decision.open {
                        (status.outcome, status.products) = (Some("ok".to_owned()), products);
                    }
                    self.put_status(at, told.write(&status, self.settings));
                } else if kept {
                    let mut status = told.status(State::Succeeded, self.settings);
                    status.outcome = Some("ok".to_owned());
                    status.code = decision.unchanged.then(|| "unchanged".to_owned());
                    status.products = products;
                    self.put_status(at, told.write(&status, self.settings));
                }
            }
            Err(Rejection::Refused(refusal)) => {
                let products = self.refuse(at, told, policy, &refusal)?;
                tally.rejected += 1;
                if policy.tracking != Tracking::None {
                    let mut status = told.status(State::Succeeded, self.settings);
                    status.outcome = Some("rejected".to_owned());
                    status.code = Some(refusal.code.to_owned());
                    status.detail = Some(refusal.detail);
                    status.products = products;
                    self.put_status(at, told.write(&status, self.settings));
                }
            }
            Err(Rejection::Terminal(detail)) => return Err(Stop::Dead(Reason::Terminal, detail)),
            Err(Rejection::Retry(detail)) => return Err(Stop::Again(detail)),
        }
        Ok(Done::Settled)
    }
}

/// Runs `decide` and turns a panic into a dead letter: nothing has changed yet, so the others need no redo.
fn guarded(
    opened: Box<dyn Opened>,
    rows: &RawRows,
    context: &Context,
) -> Result<Result<RawDecision, Rejection>, (Reason, String)> {
    catch_unwind(AssertUnwindSafe(|| opened.decide(rows, context))).map_err(|panic| {
        let text =
            panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        (Reason::Panic, text.unwrap_or_else(|| "decide panicked".to_owned()))
    })
}
