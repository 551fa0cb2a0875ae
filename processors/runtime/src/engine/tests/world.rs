//! Hands for the core: every action succeeds at once unless a fault is planted.

mod inputs;
mod seen;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use schemas::catalog::{Catalog, FollowStart, HeaderStyle, Ordering, RecordSchema, Retry, Tracking};
use schemas::partition::partition_of;
use schemas::registry::RegisteredSchema;
use state::{AgendaKey, Frame, Memory, RowKey, RowWrite, StateStore};

use crate::effects;
use crate::engine::assignment::{Assignment, ShardState};
use crate::engine::decide::Tally;
use crate::engine::input::{Arrived, Feed, Inlet};
use crate::engine::recover::{LogRecord, rebuild};
use crate::engine::rules::Rules;
use crate::engine::settings::{EngineIds, EventSpec, Limits, RowReader, SendSpec, Settings, Target};
use crate::engine::transaction::{OutRecord, Topic, Transaction};
use crate::engine::{Action, Attempt, Committed, Core, Ended, Event, Failure};
use crate::fetch::{fetch, scan};
use crate::logic;
use crate::restore::{Plan, restore};

use super::sums::{DIED, Sums};

const SHARDS: i32 = 2;

/// What goes wrong at the next opportunity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Produce,
    Ownership,
    CommitHappenedButUnknown,
    /// The producer is replaced before a transaction begins.
    Recycle,
}

/// One stream with two shards.
pub(super) struct World {
    pub(super) settings: Arc<Settings>,
    pub(super) tally: Tally,
    pub(super) aborted: usize,
    pub(super) restarts: usize,
    /// Processes that ended inside the processor.
    pub(super) deaths: usize,
    pub(super) store_is_deaf: bool,
    pub(super) core: Core,
    /// The store holds what no history explains.
    damaged: bool,
    /// Shards for which a start was made.
    torn: BTreeSet<i32>,
    next: Option<Action>,
    events: BTreeMap<i32, Vec<Arrived>>,
    /// Results of a followed stream.
    followed: BTreeMap<i32, Vec<Arrived>>,
    read: BTreeMap<Inlet, i64>,
    logs: BTreeMap<i32, Vec<LogRecord>>,
    out: Vec<OutRecord>,
    staged: Vec<OutRecord>,
    pub(super) store: Memory,
    unheard: Vec<Committed>,
    /// Attempts the core asked for.
    pub(super) attempts: Vec<(u8, Attempt)>,
    /// Attempts that have ended.
    pub(super) ended: Vec<Ended>,
    pub(super) registered: HashMap<i32, Arc<RegisteredSchema>>,
    acks: Vec<(u64, i32, i64)>,
    fault: Option<Fault>,
    clock: i64,
    instances: u8,
    extra: Vec<(String, String)>,
    taken_over: VecDeque<Event>,
}

impl World {
    pub(super) fn new() -> Self {
        let settings = Arc::new(settings());
        let mut world = Self {
            core: core(&settings, 0),
            settings,
            tally: Tally::default(),
            aborted: 0,
            restarts: 0,
            deaths: 0,
            store_is_deaf: false,
            damaged: false,
            torn: BTreeSet::new(),
            next: None,
            events: BTreeMap::new(),
            followed: BTreeMap::new(),
            read: BTreeMap::new(),
            logs: BTreeMap::new(),
            out: Vec::new(),
            staged: Vec::new(),
            store: Memory::new(),
            unheard: Vec::new(),
            attempts: Vec::new(),
            ended: Vec::new(),
            registered: HashMap::new(),
            acks: Vec::new(),
            fault: None,
            clock: 1_000_000_000_000,
            instances: 0,
            extra: Vec::new(),
            taken_over: VecDeque::new(),
        };
        world.take_over();
        world
    }

    /// A world whose settings differ.
    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut world = Self::new();
        let mut settings = (*world.settings).clone();
        change(&mut settings);
        world.settings = Arc::new(settings);
        world.take_over();
        world
    }

    pub(super) fn home(subject: &str) -> i32 {
        partition_of(subject, SHARDS)
    }

    pub(super) fn fail_next(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Time passes, µs.
    pub(super) fn pass(&mut self, us: i64) {
        self.clock += us;
    }

    /// A new owner runs a version whose rows have lost the first of their two digits.
    pub(super) fn upgrade_rows(&mut self) {
        let digit = |name: &str| format!(r#"{{"name":"{name}","type":{{"type":"fixed","name":"of_{name}","size":1}}}}"#);
        let (old, new) = (record(&format!("{},{}", digit("tens"), digit("ones"))), record(&digit("ones")));
        let old =
            RegisteredSchema { id: 2, full_name: old.full_name.clone(), schema: old.schema.clone(), plan: old.plan.clone() };
        self.registered.insert(2, Arc::new(old));
        let settings = Settings {
            rows: [("test.sum".to_owned(), 5)].into(),
            row_names: [(5, "test.sum".into())].into(),
            row_readers: [("test.sum".to_owned(), RowReader { id: 5, schema: new })].into(),
            ..(*self.settings).clone()
        };
        self.settings = Arc::new(settings);
        self.take_over();
    }

    /// The group gives all shards to a new owner.
    pub(super) fn take_over(&mut self) {
        self.instances += 1;
        self.core = core(&self.settings, self.instances).after_torn(self.torn.clone());
        self.staged.clear();
        self.acks.clear();
        self.unheard.clear();
        self.ended.clear();
        self.taken_over.push_back(Event::Assigned { generation: i32::from(self.instances), shards: (0..SHARDS).collect() });
        self.next = None;
        self.run();
    }

    /// Performs actions until the core only polls and finds nothing.
    pub(super) fn run(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            let action = self.next.take().unwrap_or(Action::Poll { take: false, inputs_max: 0 });
            let Some(event) = self.perform(action) else { return };
            idle = if matches!(&event, Event::Polled { inputs, .. } if inputs.is_empty()) { idle + 1 } else { 0 };
            self.clock += 1_000;
            let step = self.core.step(event, self.clock);
            if DIED.take() {
                self.deaths += 1;
                assert!(self.deaths < 100, "no end of it");
                return self.take_over();
            }
            if let Some(tally) = step.tally {
                self.tally.duplicates += tally.duplicates;
                self.tally.rejected += tally.rejected;
                self.tally.processed += tally.processed;
                self.tally.fired += tally.fired;
                self.tally.parked += tally.parked;
                self.tally.retries += tally.retries;
                self.tally.leases_expired += tally.leases_expired;
            }
            self.attempts.extend(step.attempts.into_iter().map(|(_, attempt)| (self.instances, attempt)));
            for committed in step.committed {
                if self.store_is_deaf {
                    self.unheard.push(committed);
                } else {
                    let Committed { assignment, frame, mark } = committed;
                    let told: BTreeSet<_> = frame.status.iter().map(|write| &write.key).collect();
                    assert_eq!(told.len(), frame.status.len(), "a frame says one thing about one event");
                    wait(self.store.apply(&frame));
                    wait(self.store.set_marks(&[(frame.shard.clone(), mark)]));
                    self.acks.push((assignment, frame.shard.number, frame.n));
                }
            }
            self.next = Some(step.action);
        }
        let settled = |assignment: &Assignment| assignment.shards.values().all(|shard| shard.backlog().0 == 0);
        if !self.damaged && self.core.assignment().is_some_and(settled) {
            self.check();
        }
    }

    fn perform(&mut self, action: Action) -> Option<Event> {
        Some(match action {
            Action::Poll { take, inputs_max } => {
                if let Some(event) = self.taken_over.pop_front() {
                    return Some(event);
                }
                let inputs = if take { self.poll(inputs_max) } else { Vec::new() };
                Event::Polled { inputs, acks: std::mem::take(&mut self.acks), ended: std::mem::take(&mut self.ended) }
            }
            Action::Recover(shards) => {
                let shards = shards.into_iter().map(|number| self.recover(number)).collect();
                Event::Recovered { shards, halted: Vec::new() }
            }
            Action::Resume { positions, .. } => {
                self.read = positions.into_iter().collect();
                Event::Done
            }
            Action::Fetch(needs) => Event::Fetched(wait(fetch(&needs, &self.settings, &self.store))),
            Action::Scan(scans) => Event::Scanned(wait(scan(&scans, &self.settings, &self.store))),
            Action::Learn(ids) => Event::Learnt(ids.iter().map(|id| self.registered[id].clone()).collect()),
            Action::Begin => match self.fault.take_if(|fault| *fault == Fault::Recycle) {
                Some(_) => Event::Recycled([99; 8]),
                None => Event::Done,
            },
            Action::Produce(transaction) => {
                if self.fault.take_if(|fault| *fault == Fault::Produce).is_some() {
                    return Some(Event::Failed(Failure::Abort("planted".into())));
                }
                let trailers = self.produce(&transaction);
                Event::Drained(trailers)
            }
            Action::SendOffsets(_) => match self.fault.take_if(|fault| *fault == Fault::Ownership) {
                Some(_) => Event::Failed(Failure::Ownership("planted".into())),
                None => Event::Done,
            },
            Action::Commit => {
                self.commit();
                match self.fault.take_if(|fault| *fault == Fault::CommitHappenedButUnknown) {
                    Some(_) => Event::Failed(Failure::Restart("planted".into())),
                    None => Event::Done,
                }
            }
            Action::Abort => {
                self.aborted += 1;
                self.staged.clear();
                Event::Done
            }
            Action::Halt(shard, halt) => Event::Halted(vec![(shard, halt)]),
            Action::Restart { why, torn, .. } => {
                self.restarts += 1;
                self.torn.extend(torn);
                // a worker that cannot start waits longer and longer; after a planted fault it can
                if self.restarts < 5 || why == "planted" {
                    self.take_over();
                }
                return None;
            }
            Action::Stop(why) => panic!("{why}"),
        })
    }

    fn poll(&mut self, inputs_max: usize) -> Vec<Arrived> {
        let mut inputs = Vec::new();
        let queues = [(Feed::EVENTS, &self.events), (Feed(1), &self.followed)];
        for (feed, (shard, queue)) in queues.iter().flat_map(|(feed, queues)| queues.iter().map(move |queue| (*feed, queue))) {
            let Some(from) = self.read.get_mut(&Inlet { feed, shard: *shard }) else { continue };
            for input in queue.iter().skip(*from as usize).take(inputs_max - inputs.len()) {
                inputs.push(input.clone());
                *from += 1;
            }
        }
        inputs
    }

    /// Takes records of an open transaction; readers do not see them before the commit.
    fn produce(&mut self, transaction: &Transaction) -> Vec<(i32, i64, i64)> {
        let mut ends: BTreeMap<i32, i64> = self.logs.iter().map(|(shard, log)| (*shard, log.len() as i64)).collect();
        let mut trailers = Vec::new();
        for record in &transaction.records {
            if record.topic == Topic::Log {
                let end = ends.entry(record.shard).or_default();
                if record.key.is_none() {
                    trailers.push((record.shard, *end, self.clock / 1_000));
                }
                *end += 1;
            }
        }
        self.staged.clone_from(&transaction.records);
        trailers
    }

    fn commit(&mut self) {
        for record in std::mem::take(&mut self.staged) {
            if let Topic::Events(_) = record.topic {
                let writer = self.writer();
                self.arrive(record.shard, record.key, record.value, record.headers, writer);
                continue;
            }
            if record.topic == Topic::Log {
                let log = self.logs.entry(record.shard).or_default();
                log.push(LogRecord { offset: log.len() as i64, headers: record.headers, value: record.value });
            } else {
                self.out.push(record);
            }
        }
    }

    fn recover(&mut self, number: i32) -> ShardState {
        let shard = Assignment::name(&self.settings.stream, number);
        let mark = wait(self.store.mark(&shard));
        let plan = Plan { shard, mark, log_start: 0.into() };
        let log = self.logs.get(&number).map_or(&[][..], |log| &log[plan.from() as usize..]).to_vec();
        let mut shard = wait(restore(plan, &log, &self.settings, &self.store)).unwrap();
        for feed in shard.unread(&self.settings) {
            let follow = self.settings.followed(feed).unwrap();
            let end = self.followed.get(&number).map_or(0, Vec::len) as i64;
            shard.begin(&follow.topic, if follow.start == FollowStart::Latest { end } else { 0 });
        }
        shard
    }

    /// The store must hold what the log adds up to, no more and no less (G6), when nothing is on its way.
    fn check(&self) {
        for (number, log) in &self.logs {
            let shard = Assignment::name(&self.settings.stream, *number);
            let frames = rebuild(&shard, None, 0, log).unwrap().frames;
            let (mut rows, mut items, mut subjects) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
            for frame in frames {
                for write in frame.rows {
                    subjects.insert(write.key.subject.clone());
                    rows.insert(write.key, write.val.map(|val| (frame.ts, val, write.expire_at)));
                }
                items.extend(frame.agenda.into_iter().map(|write| (write.key, write.val.map(|val| (write.subject, val)))));
            }
            let stored = subjects.iter().flat_map(|subject| wait(self.store.subject(&shard, subject)));
            let stored: BTreeMap<_, _> = stored.map(|(key, cell)| (key, (cell.ts, cell.val.unwrap(), cell.expire_at))).collect();
            let folded: BTreeMap<_, _> = rows.into_iter().filter_map(|(key, row)| Some((key, row?))).collect();
            assert_eq!(stored, folded, "rows of {shard}");
            let key = |due| AgendaKey { due, id: "".into() };
            let stored = wait(self.store.agenda(&shard, &key(0), &key(i64::MAX), usize::MAX));
            let stored: BTreeMap<_, _> = stored.into_iter().map(|item| (item.key, (item.subject, item.val))).collect();
            let folded: BTreeMap<_, _> = items.into_iter().filter_map(|(key, item)| Some((key, item?))).collect();
            assert_eq!(stored, folded, "agenda of {shard}");
        }
    }

    /// The first parked input of a subject disappears from the store, which no history explains.
    pub(super) fn lose_parked(&mut self, subject: &str) {
        let key = RowKey { subject: subject.into(), sort: "~park/0".into() };
        let shard = Assignment::name(&self.settings.stream, Self::home(subject));
        let frame = Frame {
            ts: i64::MAX,
            rows: vec![RowWrite { key, val: None, expire_at: None }],
            shard,
            n: 0,
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: Vec::new(),
        };
        wait(self.store.apply(&frame));
        self.damaged = true;
    }

    /// The oldest attempt the core asked for ends.
    pub(super) fn end_attempt(&mut self, outcome: Result<&str, effects::Error>) -> Attempt {
        let (instance, attempt) = self.attempts.remove(0);
        let Attempt { shard, key, subject, .. } = attempt.clone();
        let outcome = outcome.map(|brought| Bytes::copy_from_slice(brought.as_bytes()));
        // a worker that is gone hears of nothing
        if instance == self.instances {
            let assignment = self.core.assignment().unwrap().number;
            self.ended.push(Ended { assignment, shard, key, subject, outcome });
        }
        attempt
    }

    /// The store hears of everything it was deaf for.
    pub(super) fn catch_up(&mut self) {
        self.store_is_deaf = false;
        for Committed { assignment, frame, mark } in std::mem::take(&mut self.unheard) {
            wait(self.store.apply(&frame));
            wait(self.store.set_marks(&[(frame.shard.clone(), mark)]));
            self.acks.push((assignment, frame.shard.number, frame.n));
        }
    }
}

fn core(settings: &Arc<Settings>, instance: u8) -> Core {
    Core::new(settings.clone(), logic::of(Sums), "slot", "host", [instance; 8])
}

fn settings() -> Settings {
    // any record will do: `Sums` reads its bytes as text
    let reader = Catalog::embedded().unwrap().event("flight.departed").unwrap().1.schema.clone();
    let record = reader.full_name.clone();
    let event = EventSpec {
        name: "sum.add".into(),
        reader,
        tracking: Tracking::All,
        ordering: Ordering::Strict,
        retry: Retry { base_ms: 1_000, factor: 2.0, cap_ms: 10_000, attempts: 4 },
        settles_with_effects: false,
    };
    let pass = EventSpec { name: "sum.pass".into(), ordering: Ordering::Relaxed, tracking: Tracking::Failures, ..event.clone() };
    Settings {
        stream: "sums".into(),
        events: "sums.events".into(),
        partitions: SHARDS,
        headers: HeaderStyle::CloudEvents,
        shard_rows: true,
        event_types: [("sum.add".to_owned(), event), ("sum.pass".to_owned(), pass)].into(),
        event_names: [(1, record.as_str().into())].into(),
        by_record: [(record, "sum.add".into())].into(),
        follows: Vec::new(),
        results: [("test.sum".to_owned(), 3), ("sum.rejected".to_owned(), 4)].into(),
        targets: vec![Target { stream: "sums".into(), partitions: SHARDS, headers: HeaderStyle::CloudEvents, shard_rows: true }],
        sends: [("sum.add".to_owned(), SendSpec { target: 0, schema: 1 })].into(),
        rows: [("test.sum".to_owned(), 2)].into(),
        row_names: [(2, "test.sum".into())].into(),
        row_readers: HashMap::new(),
        effects: Vec::new(),
        engine: EngineIds { data: 10, trailer: 11, claim: 12 },
        limits: Limits::default(),
        rules: Rules::all(),
    }
}

/// The store in memory answers at once.
fn wait<T>(answer: impl Future<Output = Result<T, state::Error>>) -> T {
    futures::executor::block_on(answer).unwrap()
}

/// The record `test.sum` with these fields.
fn record(fields: &str) -> Arc<RecordSchema> {
    let sum = format!(r#"{{"type":"record","name":"sum","namespace":"test","fields":[{fields}]}}"#);
    let sums = concat!(
        "title = \"Sums\"\npartitions = 2\n[[event]]\ntype = \"sum.add\"\nschema = \"sums/sum.avsc\"\n",
        "subject = { attribute = true }\n[[row]]\nschema = \"sums/sum.avsc\""
    );
    Catalog::parse(&[("sums", sums)], &[("sums/sum.avsc", &sum)]).unwrap().stream("sums").unwrap().rows[0].schema.clone()
}
