//! Deciding a batch: one shard after another, each input against everything before it, into one transaction.
//!
//! Nothing of the assignment changes here. A batch works on copies ([`ShardWork`]), so an aborted transaction leaves
//! no trace.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use schemas::catalog::Tracking;
use schemas::frame;
use schemas::key::EventKey;
use state::records::{Head, Product, State};
use state::{DedupeRow, Frame, RowKey, RowWrite, StatusWrite};

use super::assignment::{Assignment, ShardState};
use super::batch::{Fate, HEAD, Prepared};
use super::cache::Image;
use super::dedupe::MINUTE_MS;
use super::emit;
use super::headers::HeaderList;
use super::log::{self, Trailer, WriterId};
use super::recover::digest;
use super::settings::{EventSpec, Settings};
use super::transaction::{OutRecord, ShardChange, Topic, Transaction};
use crate::dead_letter::{self, Reason};
use crate::logic::{Opened, RawDecision, RawRow};
use crate::processor::{Context, Reads, Refusal, Rejection};

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

/// What the batch does to one subject.
struct Work {
    subject: Arc<str>,
    head: Head,
    rows: Vec<Slot>,
    changed: bool,
    status: Vec<StatusWrite>,
}

struct Slot {
    sort: Arc<str>,
    image: Image,
    dirty: bool,
}

impl<'a> ShardWork<'a> {
    fn new(shard: &'a mut ShardState, settings: &'a Settings, now_us: i64) -> Self {
        Self {
            ts: (shard.tip.ts + 1_000).max(now_us),
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

    /// The subject's place in this batch.
    fn work(&mut self, subject: &Arc<str>) -> usize {
        if let Some(at) = self.subjects.get(subject) {
            return *at;
        }
        let head = self.shard.cache.get(subject, HEAD).and_then(|image| image.val.as_ref());
        let head = head.and_then(|bytes| Head::decode(bytes).ok()).unwrap_or_default();
        self.works.push(Work { subject: subject.clone(), head, rows: Vec::new(), changed: false, status: Vec::new() });
        self.subjects.insert(subject.clone(), self.works.len() - 1);
        self.works.len() - 1
    }

    /// The rows an input asked for, as they stand after everything before it.
    fn rows(&mut self, at: usize, reads: &Reads) -> Result<Vec<RawRow>, (Reason, String)> {
        let work = &mut self.works[at];
        let mut rows = Vec::with_capacity(reads.rows.len());
        for sort in &reads.rows {
            let image = match work.rows.iter().find(|slot| &*slot.sort == sort) {
                Some(slot) => &slot.image,
                None => match self.shard.cache.get(&work.subject, sort) {
                    Some(image) => image,
                    None => continue,
                },
            };
            let Some(framed) = image.at(self.ts) else { continue };
            let damaged = |what: String| (Reason::Terminal, format!("row {sort:?}: {what}"));
            let (id, datum) = frame::split(framed).map_err(|error| damaged(error.to_string()))?;
            let record =
                self.settings.row_names.get(&id).ok_or_else(|| damaged(format!("written with unknown schema id {id}")))?;
            rows.push(RawRow { sort: sort.as_str().into(), record: record.clone(), datum: framed.slice_ref(datum) });
        }
        Ok(rows)
    }

    /// Takes a decision over. Everything is checked before anything changes.
    fn accept(&mut self, at: usize, told: &emit::Told<'_>, decision: &RawDecision) -> Result<Vec<Product>, (Reason, String)> {
        let mut slots = Vec::with_capacity(decision.rows.len());
        for change in &decision.rows {
            if change.sort.starts_with('~') {
                return Err((Reason::Terminal, format!("sort {:?}: names starting with ~ are the engine's", change.sort)));
            }
            let val = change.row.as_ref().map(|(record, datum)| self.framed(record, datum)).transpose()?;
            slots.push(Slot { sort: change.sort.clone(), image: Image { val, expire_at: change.expire_at }, dirty: true });
        }
        let results = self.tell(at, told, &decision.results)?;
        let work = &mut self.works[at];
        for slot in slots {
            work.changed = true;
            match work.rows.iter_mut().find(|other| other.sort == slot.sort) {
                Some(old) => *old = slot,
                None => work.rows.push(slot),
            }
        }
        Ok(results)
    }

    fn framed(&self, record: &str, datum: &[u8]) -> Result<Bytes, (Reason, String)> {
        let id =
            self.settings.rows.get(record).ok_or_else(|| (Reason::Terminal, format!("{record} is no row of this stream")))?;
        if datum.len() > self.settings.limits.row_bytes {
            return Err((Reason::TooLarge, format!("a row of {record} is {} bytes", datum.len())));
        }
        let mut framed = Vec::with_capacity(datum.len() + frame::HEAD);
        frame::begin(*id, &mut framed);
        framed.extend_from_slice(datum);
        Ok(framed.into())
    }

    /// Numbers the results of an input and puts them into the batch.
    fn tell(&mut self, at: usize, told: &emit::Told<'_>, results: &[(String, Bytes)]) -> Result<Vec<Product>, (Reason, String)> {
        let first = self.works[at].head.seq + 1;
        let mut records = Vec::with_capacity(results.len());
        let mut products = Vec::with_capacity(results.len());
        for (seq, (ce_type, datum)) in (first..).zip(results) {
            let result = emit::Result { ce_type, datum, seq };
            let (record, product) = told.result(&result, self.settings).map_err(|error| (error.0, error.1))?;
            records.push(record);
            products.push(product);
        }
        let work = &mut self.works[at];
        work.head.seq += records.len() as i64;
        work.changed |= !records.is_empty();
        self.records.append(&mut records);
        products.truncate(emit::PRODUCTS_MAX);
        Ok(products)
    }

    /// Tells a refusal as `<noun>.rejected`, where the stream has such a result.
    fn refuse(
        &mut self,
        at: usize,
        told: &emit::Told<'_>,
        event: &EventSpec,
        refusal: &Refusal,
    ) -> Result<Vec<Product>, (Reason, String)> {
        let noun = event.name.split('.').next().unwrap_or_default();
        let ce_type = format!("{noun}.rejected");
        if !self.settings.results.contains_key(&ce_type) {
            return Ok(Vec::new());
        }
        let datum = emit::rejected(&event.name, refusal);
        self.tell(at, told, &[(ce_type, datum)])
    }

    /// DATA and TRAILER of the shard, and the frame for the store.
    fn finish(self, writer: &WriterId, transaction: &mut Transaction) {
        let Self { shard, settings, ts, horizon, position, works, records, accepted, .. } = self;
        let n = shard.tip.n + 1;
        let mut frame = Frame {
            shard: shard.shard.clone(),
            n,
            ts,
            rows: Vec::new(),
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: shard.dedupe.ended(horizon).collect(),
        };
        let number = shard.shard.number;
        transaction.records.extend(records);
        let first_data = transaction.records.len();
        for work in works {
            if let Some(record) = data_of(work, (n, writer), settings, number, &mut frame) {
                transaction.records.push(record);
            }
        }
        let data = &transaction.records[first_data..];
        let mut tip = shard.tip.clone();
        let trailer = Trailer {
            n,
            writer: *writer,
            ts,
            prev_ts: tip.ts,
            count: data.len() as i32,
            digest: digest(data.iter().map(|record| &record.value[..])),
            positions: {
                tip.positions.insert(settings.events.to_string(), position);
                tip.positions.clone()
            },
            accepted: accepted.into_iter().map(|(minute, keys)| (minute, keys.into())).collect(),
            horizon,
            agenda_floor: tip.agenda_floor,
        };
        let dedupe = trailer.accepted.iter().map(|(minute, keys)| DedupeRow { minute: *minute, ts, keys: keys.clone() });
        frame.dedupe = dedupe.collect();
        let bytes = data.iter().map(|record| record.value.len()).sum();
        transaction.records.push(marker(number, log::KIND_TRAILER, trailer.encode(settings.engine.trailer)));
        transaction.positions.push((number, position));
        (tip.n, tip.ts, tip.horizon) = (n, ts, horizon);
        transaction.changes.push(ShardChange { shard: number, frame, bytes, tip });
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

/// The DATA record of a subject, and its writes for the store; `None` when nothing changed.
fn data_of(work: Work, frame_id: (i64, &WriterId), settings: &Settings, shard: i32, frame: &mut Frame) -> Option<OutRecord> {
    let Work { subject, head, mut rows, changed, status } = work;
    if !changed && status.is_empty() {
        return None;
    }
    rows.retain(|slot| slot.dirty);
    if changed {
        let image = Image { val: Some(head.encode()), expire_at: None };
        rows.push(Slot { sort: HEAD.into(), image, dirty: true });
    }
    let mut value = Vec::with_capacity(64 + rows.len() * 96 + status.len() * 192);
    let images = rows.iter().map(|slot| (&*slot.sort, &slot.image));
    log::write_data(&mut value, settings.engine.data, frame_id, &subject, images, &[], &status);
    let key = (!subject.is_empty()).then(|| Bytes::copy_from_slice(subject.as_bytes()));
    frame.rows.extend(rows.into_iter().map(|slot| RowWrite {
        key: RowKey { subject: subject.clone(), sort: slot.sort },
        val: slot.image.val,
        expire_at: slot.image.expire_at,
    }));
    frame.status.extend(status);
    let headers = HeaderList::default();
    Some(OutRecord { topic: Topic::Log, shard, key, value: value.into(), headers, timestamp_ms: None, trailer: false })
}

/// A record of the log that is no DATA: a trailer or a claim.
pub fn marker(shard: i32, kind: &str, value: Bytes) -> OutRecord {
    let mut headers = HeaderList::builder(32);
    headers.push(schemas::names::HEADER_KIND, kind.as_bytes());
    headers.push(schemas::names::HEADER_V, log::VERSION.as_bytes());
    let trailer = kind == log::KIND_TRAILER;
    OutRecord { topic: Topic::Log, shard, key: None, value, headers: headers.finish(), timestamp_ms: None, trailer }
}
