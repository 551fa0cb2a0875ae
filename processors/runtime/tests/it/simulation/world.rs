//! One run: processes, cluster, store, readers and clocks under one scheduler.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use runtime::engine::input::Inlet;
use runtime::engine::settings::Settings;
use runtime::engine::transaction::Topic;
use runtime::{Logic, logic};

use super::clients::{self, Clients};
use super::hands;
use super::history::History;
use super::kafka::{Kafka, Member};
use super::lists::Lists;
use super::oracle;
use super::plan::{Faults, Mutant, Plan};
use super::random::Random;
use super::receipts::Receipts;
use super::store::{Store, Weather};
use super::target::Call;
use super::views::Views;
use super::workload::{self, BEGIN_US, Chains, SHARDS, WINDOW};

/// Steps a run may take to come to its end when nothing goes wrong any more.
const CALM: usize = 9_000;
/// Processes at once.
const PROCESSES: usize = 6;

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What everybody in a run shares.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) faults: RefCell<Faults>,
    pub(super) settings: Arc<Settings>,
    pub(super) logic: Arc<dyn Logic>,
    pub(super) clients: RefCell<Clients>,
    pub(super) kafka: RefCell<Kafka>,
    pub(super) store: Store,
    /// Every call of a target.
    pub(super) calls: RefCell<Vec<Call>>,
    pub(super) clock_us: Cell<i64>,
    random: RefCell<Random>,
    step: Cell<usize>,
    history: RefCell<History>,
    violations: RefCell<BTreeMap<&'static str, String>>,
}

impl Shared {
    pub(super) fn violation(&self, kind: &'static str, what: impl FnOnce() -> String) {
        self.violations.borrow_mut().entry(kind).or_insert_with(|| {
            let what = what();
            self.tell(&"oracle", || format!("{kind}: {what}"));
            what
        });
    }

    /// Keeps a call of a target, and numbers it.
    pub(super) fn call(&self, call: Call) -> usize {
        self.calls.borrow_mut().push(call);
        self.calls.borrow().len() - 1
    }

    fn tell(&self, who: &dyn fmt::Display, what: impl FnOnce() -> String) {
        self.history.borrow_mut().tell(self.step.get(), who, what);
    }
}

/// Where a process runs.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) shared: Rc<Shared>,
    pub(super) process: usize,
    pub(super) slot: Rc<str>,
    skew_us: i64,
    spawned: Rc<RefCell<Vec<Task>>>,
    stopped: Rc<Cell<bool>>,
}

impl Place {
    /// The process's own clock.
    pub(super) fn now_us(&self) -> i64 {
        self.shared.clock_us.get() + self.skew_us
    }

    /// A clock that never jumps and counts pauses.
    pub(super) fn boot_us(&self) -> i64 {
        self.shared.clock_us.get()
    }

    pub(super) fn chance(&self, part: f64) -> bool {
        self.shared.random.borrow_mut().chance(part)
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        self.shared.random.borrow_mut().below(bound)
    }

    pub(super) fn faults(&self) -> std::cell::Ref<'_, Faults> {
        self.shared.faults.borrow()
    }

    pub(super) fn lacks(&self, mutant: Mutant) -> bool {
        self.shared.plan.lacks(mutant)
    }

    pub(super) fn spawn(&self, task: Task) {
        self.spawned.borrow_mut().push(task);
    }

    /// The process stops.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        self.shared.tell(&format_args!("{}:{}", self.process, self.slot), what);
    }

    pub(super) fn violation(&self, kind: &'static str, what: impl FnOnce() -> String) {
        self.shared.violation(kind, what);
    }
}

struct Process {
    place: Place,
    /// The worker first, then appliers of its sessions.
    tasks: Vec<Task>,
    /// Steps it stands still.
    paused: usize,
}

impl Drop for Process {
    fn drop(&mut self) {
        // a session that begins right now has left its applier here, which holds on to this place
        self.tasks.clear();
        self.place.spawned.take();
    }
}

/// How a run ended.
pub(super) struct Outcome {
    /// What was violated, with the first case of each kind.
    pub(super) violations: BTreeMap<&'static str, String>,
    pub(super) history: Vec<String>,
    pub(super) counts: Counts,
}

/// What there was in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) processes: u64,
    pub(super) rebalances: u64,
    pub(super) transactions: u64,
    pub(super) frames: u64,
    pub(super) views: u64,
    pub(super) receipts: u64,
    pub(super) lists: u64,
    pub(super) steps: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            processes: self.processes + other.processes,
            rebalances: self.rebalances + other.rebalances,
            transactions: self.transactions + other.transactions,
            frames: self.frames + other.frames,
            views: self.views + other.views,
            receipts: self.receipts + other.receipts,
            lists: self.lists + other.lists,
            steps: self.steps + other.steps,
        }
    }
}

/// A run in progress.
struct World {
    shared: Rc<Shared>,
    processes: Vec<Process>,
    views: Views,
    receipts: Receipts,
    lists: Lists,
    started: usize,
    down: usize,
}

/// Runs a plan to its end and judges it.
pub(super) fn run(plan: Plan) -> Outcome {
    let mut random = Random::new(plan.seed);
    let shared = Rc::new(Shared {
        faults: RefCell::new(plan.faults.clone()),
        settings: workload::settings_of(&plan),
        logic: logic::of(Chains::default()),
        clients: RefCell::new(Clients::new(workload::events(&mut random, plan.chaos > 0), &mut random)),
        kafka: RefCell::default(),
        store: Store::new(Random::new(random.next()), plan.mutant),
        calls: RefCell::default(),
        clock_us: Cell::new(BEGIN_US),
        random: RefCell::new(random),
        step: Cell::new(0),
        history: RefCell::new(History::new(plan.told)),
        violations: RefCell::default(),
        plan,
    });
    let (views, receipts) = (Views::new(&shared.store), Receipts::new(&shared.store));
    let lists = Lists::new(&shared.store, shared.plan.seed);
    let mut world = World { views, receipts, lists, shared, processes: Vec::new(), started: 0, down: 0 };
    world.go();
    world.end()
}

impl World {
    fn go(&mut self) {
        let chaos = self.shared.plan.chaos;
        self.rebalance();
        for step in 0..chaos + CALM {
            self.shared.step.set(step);
            self.time_passes(step < chaos);
            self.cluster_works();
            if step < chaos {
                self.something_fails();
            } else if step == chaos {
                self.calm_down();
            }
            self.group_notices();
            self.processes_work();
            if step % 3 == 0 {
                self.views.step(&self.shared, &mut self.shared.random.borrow_mut());
                self.receipts.step(&self.shared, &mut self.shared.random.borrow_mut());
                self.lists.step(&self.shared, &self.views);
            }
            if step > chaos && step % 50 == 0 && self.is_done() {
                return;
            }
        }
        self.shared.violation("stuck", || "not everything was processed and applied in the end".into());
    }

    fn chance(&self, part: f64) -> bool {
        self.shared.random.borrow_mut().chance(part)
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        self.shared.tell(&"world", what);
    }

    fn time_passes(&self, chaos: bool) {
        let mut random = self.shared.random.borrow_mut();
        let clock = &self.shared.clock_us;
        clock.set(clock.get() + random.between(1_000, 30_000));
        let jump = self.shared.faults.borrow().clock_jump;
        if random.chance(if chaos { jump } else { 0.01 }) {
            clock.set(clock.get() + random.between(1_000_000, 60_000_000));
        }
    }

    fn cluster_works(&self) {
        let shared = &self.shared;
        let mut random = shared.random.borrow_mut();
        let faults = shared.faults.borrow();
        let mut kafka = shared.kafka.borrow_mut();
        let now_us = shared.clock_us.get();
        kafka.clock_ms = now_us / 1_000;
        shared.clients.borrow_mut().step(&mut kafka, &mut random, now_us, |shard, sent| {
            self.tell(|| format!("{:?} of {} comes at {shard}/{}", sent.op, sent.subject, sent.offset));
        });
        kafka.write_markers(&mut random);
        for _ in 0..faults.store_speed {
            shared.store.step();
        }
        if let Some(what) = kafka.time_out(&mut random, faults.transaction_timeout) {
            self.tell(|| what);
        }
        if random.chance(0.02)
            && let Some(what) = kafka.deliver_copy(&mut random)
        {
            self.tell(|| what);
        }
    }

    fn something_fails(&mut self) {
        let Faults { kill, zombie, rebalance, outage, replica_restart, store_down, loss, store_timeout, .. } =
            self.shared.faults.borrow().clone();
        if self.chance(kill) {
            self.kill();
        }
        if self.chance(zombie)
            && let Some(at) = self.an_owner()
        {
            self.processes[at].paused = 20 + self.shared.random.borrow_mut().below(500);
            let paused = self.processes[at].paused;
            self.processes[at].place.tell(|| format!("stands still for {paused} steps"));
            self.rebalance();
        }
        if self.chance(rebalance) {
            self.rebalance();
        }
        if self.chance(outage) {
            self.outage();
        }
        if self.chance(replica_restart) {
            self.tell(|| "a replica restarts".into());
            self.shared.store.restart_replica();
        }
        if self.down == 0 && self.chance(store_down) {
            self.down = 20 + self.shared.random.borrow_mut().below(150);
            self.tell(|| "the store is down".into());
        }
        self.down = self.down.saturating_sub(1);
        self.shared.store.set_weather(Weather { loss, timeout: store_timeout, down: self.down > 0 });
    }

    fn calm_down(&mut self) {
        self.tell(|| "no more faults".into());
        let calm = self.shared.faults.borrow().calm();
        self.shared.store.set_weather(Weather { loss: calm.loss, ..Weather::default() });
        *self.shared.faults.borrow_mut() = calm;
        self.shared.kafka.borrow_mut().forget_copies();
        for process in &mut self.processes {
            process.paused = 0;
        }
    }

    /// A process that has shards, if one is left.
    fn an_owner(&self) -> Option<usize> {
        let kafka = self.shared.kafka.borrow();
        let owners: Vec<_> =
            kafka.members.values().filter(|member| member.shards.is_some()).map(|member| member.process).collect();
        let at: Vec<_> = (0..self.processes.len()).filter(|at| owners.contains(&self.processes[*at].place.process)).collect();
        (!at.is_empty()).then(|| *self.shared.random.borrow_mut().pick(&at))
    }

    fn kill(&mut self) {
        if let Some(at) = self.an_owner() {
            self.processes[at].place.tell(|| "is killed".into());
            self.processes.swap_remove(at);
        }
    }

    /// Nobody works for longer than copies are recognised; clients go on.
    fn outage(&mut self) {
        self.processes.clear();
        let longest = 3 * WINDOW.as_micros() as i64;
        let passes = self.shared.random.borrow_mut().between(longest / 3, longest);
        self.shared.clock_us.set(self.shared.clock_us.get() + passes);
        self.tell(|| format!("all workers are gone for {} s", passes / 1_000_000));
    }

    fn start_process(&mut self) {
        self.started += 1;
        let process = self.started;
        let (slot, skew_us) = {
            let mut random = self.shared.random.borrow_mut();
            let slot = if random.chance(0.4) { format!("slot{}", random.below(2)) } else { format!("own{process}") };
            let skew = self.shared.plan.faults.skew_us;
            (slot, random.between(-skew, skew))
        };
        let place = Place {
            shared: self.shared.clone(),
            process,
            slot: slot.into(),
            skew_us,
            spawned: Rc::default(),
            stopped: Rc::default(),
        };
        place.tell(|| format!("starts, clock off by {} ms", skew_us / 1_000));
        let tasks: Vec<Task> = vec![Box::pin(hands::work(place.clone()))];
        self.processes.push(Process { place, tasks, paused: 0 });
    }

    /// Some of those who joined form the next generation.
    fn rebalance(&mut self) {
        let running = |kafka: &Kafka, processes: &[Process]| -> Vec<u64> {
            let alive = |process| processes.iter().any(|other| other.place.process == process && other.paused == 0);
            kafka.members.iter().filter(|(_, member)| !member.gone && alive(member.process)).map(|(id, _)| *id).collect()
        };
        let shared = self.shared.clone();
        let members = running(&shared.kafka.borrow(), &self.processes);
        let awake = self.processes.iter().filter(|process| process.paused == 0).count();
        if awake == 0 || (awake < 2 && self.processes.len() < PROCESSES && shared.plan.chaos > 0) {
            self.start_process();
        }
        if members.is_empty() {
            return;
        }
        let mut random = shared.random.borrow_mut();
        let first = *random.pick(&members);
        let mut chosen = vec![first];
        let second = *random.pick(&members);
        if second != first && random.chance(0.7) {
            chosen.push(second);
        }
        let mut kafka = shared.kafka.borrow_mut();
        kafka.rebalance(&chosen, SHARDS, &mut random);
        self.tell(|| format!("generation {} of members {chosen:?}", kafka.generation));
    }

    /// The group finds out that somebody is gone, or came.
    fn group_notices(&mut self) {
        let (lost, idle) = {
            let kafka = self.shared.kafka.borrow();
            let alive = |process| self.processes.iter().any(|other| other.place.process == process);
            let serves = |member: &&Member| !member.gone && alive(member.process);
            let owned =
                kafka.members.values().filter(serves).filter_map(|member| member.shards.as_ref()).map(Vec::len).sum::<usize>();
            (owned < SHARDS as usize, owned == 0)
        };
        if lost && self.chance(if idle { 0.2 } else { 0.05 }) || self.processes.is_empty() {
            self.rebalance();
        }
    }

    fn processes_work(&mut self) {
        for _ in 0..3 {
            if self.processes.is_empty() {
                return;
            }
            let owner = if self.chance(0.7) { self.an_owner() } else { None };
            let at = owner.unwrap_or_else(|| self.shared.random.borrow_mut().below(self.processes.len()));
            let process = &mut self.processes[at];
            process.step();
            if process.place.stopped.get() {
                process.place.tell(|| "is gone".into());
                self.processes.swap_remove(at);
            }
        }
        for process in &mut self.processes {
            process.paused = process.paused.saturating_sub(1);
        }
    }

    /// Everything that was sent is processed, and the store has all of it.
    fn is_done(&self) -> bool {
        let shared = &self.shared;
        let is_read = |shard: i32| {
            let mut kafka = shared.kafka.borrow_mut();
            let tip = oracle::tip(kafka.partition(Topic::Log, shard));
            let mut has_read = |inlet: Inlet, topic: &str| {
                let end = kafka.input(inlet).committed(0).last().map_or(0, |(offset, _)| offset + 1);
                let position = tip.as_ref().and_then(|tip| tip.positions.get(topic));
                kafka.offsets.get(&inlet).copied().unwrap_or(0) == end && position.copied().unwrap_or(0) == end
            };
            has_read(clients::own(shard), "chains.events")
                && has_read(clients::followed(shard), "others.results")
                && tip.is_some_and(|tip| oracle::mark(&shared.store, shard).is_some_and(|mark| mark.ts == tip.ts))
        };
        shared.clients.borrow().is_done()
            && shared.kafka.borrow().is_settled()
            && (0..SHARDS).all(is_read)
            && (0..SHARDS).all(|shard| oracle::nothing_waits(shared, shard))
    }

    fn end(self) -> Outcome {
        let Self { shared, processes, views, receipts, lists, started, .. } = self;
        drop(processes);
        while !shared.store.is_quiet() {
            shared.store.step();
        }
        let frames = oracle::judge(&shared, &views, &receipts, &lists);
        let counts = Counts {
            processes: started as u64,
            rebalances: shared.kafka.borrow().generation as u64,
            transactions: shared.kafka.borrow().transactions(),
            frames,
            views: views.seen.len() as u64,
            receipts: receipts.shown.len() as u64,
            lists: lists.seen.len() as u64,
            steps: shared.step.get() as u64,
        };
        drop((views, receipts, lists));
        let Ok(shared) = Rc::try_unwrap(shared).map_err(drop) else { panic!("somebody holds on to the run") };
        Outcome { violations: shared.violations.into_inner(), history: shared.history.into_inner().into_lines(), counts }
    }
}

impl Process {
    fn step(&mut self) {
        if self.paused > 0 {
            return;
        }
        self.tasks.append(&mut self.place.spawned.borrow_mut());
        let appliers = self.tasks.len() - 1;
        let at = if appliers == 0 || self.place.chance(0.55) { 0 } else { 1 + self.place.below(appliers) };
        let mut context = Context::from_waker(Waker::noop());
        if self.tasks[at].as_mut().poll(&mut context).is_ready() && at > 0 {
            drop(self.tasks.swap_remove(at));
        }
    }
}
