//! The hands of a simulated worker: what `runtime::worker` does with real clients, done with the cluster and the store
//! of the simulation. The core, `restore` and the ledger are the production's; the rules of the client (F…) that
//! production keeps in its hands are modelled here, each where a mutant can leave it out.
//!
//! Everything that depends on the shape of the core's events and actions is in this file.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use runtime::engine::assignment::Assignment;
use runtime::engine::input::{Arrived, Feed, Inlet};
use runtime::engine::recover::LogRecord;
use runtime::engine::transaction::{Topic, Transaction};
use runtime::engine::{Action, Committed, Core, Ended as AttemptEnded, Event, Failure, Needs, Scan, Step};
use runtime::fetch;
use runtime::restore::{Plan as Restoring, restore};
use state::{StateStore, store};

use super::applier;
use super::kafka::{Refused, Target};
use super::plan::Mutant;
use super::target;
use super::turn;
use super::workload;
use super::world::{Place, Shared};

/// How a session ended.
enum Ended {
    Restart { fenced: bool },
    Stop,
}

/// Frames on their way to the applier, and what it acknowledged.
#[derive(Default)]
pub(super) struct Channel {
    pub(super) jobs: VecDeque<(Committed, i64)>,
    pub(super) acks: Vec<(u64, i32, i64)>,
    /// Attempts at effects that have ended.
    pub(super) ended: Vec<AttemptEnded>,
    /// The session is over; the applier finishes and goes.
    pub(super) closed: bool,
}

/// A worker: sessions one after another.
pub(super) async fn work(place: Place) {
    for session in 0_u32.. {
        match Session::start(&place, session).await.run().await {
            // fenced twice in a short time: the slot has another owner
            Ended::Restart { fenced: true } if place.chance(0.5) => return place.stop(),
            Ended::Restart { .. } => {}
            Ended::Stop => return place.stop(),
        }
        place.tell(|| "starts again".into());
        turn().await;
    }
}

/// The transactional producer.
struct Producer {
    id: String,
    epoch: i32,
    /// An EndTxn was sent twice.
    suspect: bool,
}

struct Session {
    place: Place,
    core: Core,
    producer: Producer,
    member: u64,
    /// Generation of the assignment the consumer has.
    assigned: Option<i32>,
    seen: i32,
    /// Captured in the assign callback.
    metadata: Option<(i32, u64)>,
    read: BTreeMap<Inlet, i64>,
    group_offsets: BTreeMap<Inlet, i64>,
    channel: Rc<RefCell<Channel>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.channel.borrow_mut().closed = true;
        if let Some(member) = self.place.shared.kafka.borrow_mut().members.get_mut(&self.member) {
            member.gone = true;
        }
    }
}

impl Session {
    /// The producer first, then the group.
    async fn start(place: &Place, session: u32) -> Self {
        let producer = Producer::start(place).await;
        let take_over = place.chance(0.5);
        let member = place.shared.kafka.borrow_mut().join(place.process, &place.slot, take_over);
        let channel = Rc::new(RefCell::new(Channel::default()));
        place.spawn(Box::pin(applier::run(place.clone(), channel.clone())));
        let mut writer = [0; 8];
        writer[..4].copy_from_slice(&(place.process as u32).to_be_bytes());
        writer[4..].copy_from_slice(&session.to_be_bytes());
        let core = Core::new(place.shared.settings.clone(), place.shared.logic.clone(), &place.slot, "host", writer);
        place.tell(|| format!("session {session}: producer {} epoch {}, member {member}", producer.id, producer.epoch));
        Self {
            place: place.clone(),
            core,
            producer,
            member,
            assigned: None,
            seen: 0,
            metadata: None,
            read: BTreeMap::new(),
            group_offsets: BTreeMap::new(),
            channel,
        }
    }

    async fn run(mut self) -> Ended {
        let mut action = Action::Poll { take: false, inputs_max: 0 };
        loop {
            let event = match action {
                Action::Restart { why, fenced, .. } => {
                    self.place.tell(|| format!("restart: {why}"));
                    return Ended::Restart { fenced };
                }
                Action::Stop(why) => {
                    self.place.tell(|| format!("stop: {why}"));
                    return Ended::Stop;
                }
                action => self.perform(action).await.unwrap_or_else(Event::Failed),
            };
            if let Event::Failed(failure) = &event {
                self.place.tell(|| format!("failed: {failure:?}"));
            }
            let now = self.place.now_us();
            let Step { action: next, committed, attempts, .. } = self.core.step(event, now);
            if workload::has_died() {
                self.place.tell(|| "its processor ends the process".into());
                return Ended::Stop;
            }
            for committed in committed {
                self.place.tell(|| {
                    format!("committed frame {} of {} at {}", committed.frame.n, committed.frame.shard, committed.frame.ts)
                });
                self.channel.borrow_mut().jobs.push_back((committed, self.place.boot_us()));
            }
            for (assignment, attempt) in attempts {
                self.place.spawn(Box::pin(target::attempt(self.place.clone(), self.channel.clone(), assignment, attempt)));
            }
            action = next;
        }
    }

    async fn perform(&mut self, action: Action) -> Result<Event, Failure> {
        match action {
            Action::Poll { take, inputs_max } => self.poll(take, inputs_max).await,
            Action::Recover(shards) => self.recover(shards).await,
            Action::Resume { positions, .. } => {
                self.read = positions.into_iter().collect();
                if self.place.lacks(Mutant::GroupOffsets) {
                    self.read.extend(self.group_offsets.iter().map(|(inlet, at)| (*inlet, *at)));
                }
                self.place.tell(|| {
                    format!("reads from {}", told(&self.read.iter().map(|(inlet, at)| (*inlet, *at)).collect::<Vec<_>>()))
                });
                Ok(Event::Done)
            }
            Action::Fetch(needs) => self.fetch(needs).await,
            Action::Scan(scans) => self.scan(scans).await,
            Action::Learn(ids) => Err(Failure::Restart(format!("nobody writes rows of schemas {ids:?} here"))),
            Action::Begin => {
                if self.producer.suspect && !self.place.lacks(Mutant::NoRecycle) {
                    self.producer = Producer::start(&self.place).await;
                    self.place.tell(|| format!("recycled: epoch {}", self.producer.epoch));
                }
                Ok(Event::Done)
            }
            Action::Produce(transaction) => self.produce(&transaction).await,
            Action::SendOffsets(positions) => {
                if !self.place.lacks(Mutant::PositionsBeforeDrain) {
                    self.send_offsets(&positions).await?;
                }
                Ok(Event::Done)
            }
            Action::Commit => self.commit().await,
            Action::Abort => self.abort().await,
            Action::Halt(shard, halt) => Err(Failure::Restart(format!("shard {shard}: {halt}"))),
            Action::Restart { why, .. } | Action::Stop(why) => Err(Failure::Restart(why)),
        }
    }

    /// What the group decided, if the consumer hears of it now.
    fn rebalanced(&mut self) -> Result<Option<Event>, Failure> {
        let kafka = self.place.shared.kafka.borrow();
        let Some(shards) = kafka.assignment(self.member) else {
            return Err(Failure::Restart("another consumer uses the instance id".into()));
        };
        let generation = kafka.generation;
        if self.assigned.is_some_and(|assigned| assigned != generation) && self.place.chance(0.5) {
            (self.assigned, self.metadata) = (None, None);
            self.read.clear();
            self.place.tell(|| "revoked".into());
            return Ok(Some(Event::Revoked));
        }
        let (None, Some(shards)) = (self.assigned, shards.clone()) else { return Ok(None) };
        if self.seen == generation {
            return Ok(None);
        }
        (self.assigned, self.seen, self.metadata) = (Some(generation), generation, Some((generation, self.member)));
        self.place.tell(|| format!("assigned {shards:?} in generation {generation}"));
        Ok(Some(Event::Assigned { generation, shards }))
    }

    async fn poll(&mut self, take: bool, inputs_max: usize) -> Result<Event, Failure> {
        turn().await;
        if let Some(event) = self.rebalanced()? {
            return Ok(event);
        }
        let mut inputs = Vec::new();
        if take {
            for (inlet, from) in &mut self.read {
                let wanted = self.place.below(5).min(inputs_max - inputs.len());
                let found: Vec<Arrived> = self.place.shared.arrived(*inlet, *from, wanted);
                *from = found.last().map_or(*from, |last| last.offset + 1);
                inputs.extend(found);
            }
        }
        let mut channel = self.channel.borrow_mut();
        let (acks, ended) = (std::mem::take(&mut channel.acks), std::mem::take(&mut channel.ended));
        if !inputs.is_empty() {
            let of = |input: &Arrived| {
                let followed = if input.feed == Feed::EVENTS { "" } else { "others/" };
                format!("{followed}{}/{}", input.shard, input.offset)
            };
            self.place.tell(|| format!("polled {}", inputs.iter().map(of).collect::<Vec<_>>().join(" ")));
        }
        Ok(Event::Polled { inputs, acks, ended })
    }

    /// Marks, barrier, logs, replay; one shard after the other.
    async fn recover(&mut self, shards: Vec<i32>) -> Result<Event, Failure> {
        let shared = self.place.shared.clone();
        let unavailable = |error: store::Error| Failure::Restart(format!("the store during recovery: {error}"));
        let mut running = Vec::new();
        let mut halted = Vec::new();
        self.group_offsets.clear();
        for number in shards {
            for (inlet, at) in shared.kafka.borrow().offsets.iter().filter(|(inlet, _)| inlet.shard == number) {
                self.group_offsets.insert(*inlet, *at);
            }
            let shard = Assignment::name(&shared.settings.stream, number);
            let mark = shared.store.mark(&shard).await.map_err(unavailable)?;
            self.pass_barrier(number).await;
            let plan = Restoring { shard, mark, log_start: 0.into() };
            let records: Vec<_> = {
                let mut kafka = shared.kafka.borrow_mut();
                let log = kafka.partition(Topic::Log, number);
                let record = |(offset, record): (i64, &runtime::engine::transaction::OutRecord)| LogRecord {
                    offset,
                    headers: record.headers.clone(),
                    value: record.value.clone(),
                };
                log.committed(plan.from()).map(record).collect()
            };
            self.place.tell(|| format!("replays {number} from mark {:?}", plan.mark.as_ref().map(|mark| (mark.applied, mark.n))));
            match restore(plan, &records, &shared.settings, &shared.store).await.map_err(unavailable)? {
                Ok(mut shard) => {
                    for feed in shard.unread(&shared.settings) {
                        shard.begin(shared.settings.topic(feed), 0);
                    }
                    running.push(shard);
                }
                Err(halt) => {
                    self.place.violation("halt", || format!("shard {number}: {halt}"));
                    halted.push((number, halt));
                }
            }
        }
        Ok(Event::Recovered { shards: running, halted })
    }

    /// Everything below the end must be decided (F11, I1).
    async fn pass_barrier(&self, shard: i32) {
        let kafka = &self.place.shared.kafka;
        let end = kafka.borrow_mut().partition(Topic::Log, shard).end();
        turn().await;
        while !self.place.lacks(Mutant::NoBarrier)
            && !self.place.lacks(Mutant::GroupOffsets)
            && kafka.borrow_mut().partition(Topic::Log, shard).stable() < end
        {
            turn().await;
        }
    }

    /// While the store does not answer the group is served, and the same is asked again.
    async fn fetch(&mut self, needs: Needs) -> Result<Event, Failure> {
        let shared = self.place.shared.clone();
        loop {
            if let Ok(found) = fetch::fetch(&needs, &shared.settings, &shared.store).await {
                return Ok(Event::Fetched(found));
            }
            if let Some(event) = self.rebalanced()? {
                return Ok(event);
            }
        }
    }

    async fn scan(&mut self, scans: Vec<Scan>) -> Result<Event, Failure> {
        let shared = self.place.shared.clone();
        loop {
            if let Ok(scanned) = fetch::scan(&scans, &shared.settings, &shared.store).await {
                return Ok(Event::Scanned(scanned));
            }
            if let Some(event) = self.rebalanced()? {
                return Ok(event);
            }
        }
    }

    /// Adds a partition to the transaction; waits while the one before is being ended.
    async fn add(&self, target: Target) -> Result<(), Failure> {
        loop {
            let added = self.place.shared.kafka.borrow_mut().add(&self.producer.id, self.producer.epoch, target);
            if added.map_err(fenced)? {
                return Ok(());
            }
            turn().await;
        }
    }

    async fn produce(&mut self, transaction: &Transaction) -> Result<Event, Failure> {
        if self.place.lacks(Mutant::PositionsBeforeDrain) {
            self.send_offsets(&transaction.positions).await?;
        }
        let mut trailers = Vec::new();
        for record in &transaction.records {
            self.add(Target::of(record.topic, record.shard)).await?;
            let produced = self.place.shared.kafka.borrow_mut().produce(&self.producer.id, self.producer.epoch, record);
            let offset = produced.map_err(fenced)?;
            // claims too
            if record.topic == Topic::Log && record.key.is_none() {
                trailers.push((record.shard, offset, self.place.shared.clock_us.get() / 1_000));
            }
            turn().await;
        }
        if self.place.chance(self.place.faults().abort) {
            return Err(Failure::Abort("a record was not written".into()));
        }
        Ok(Event::Drained(trailers))
    }

    async fn send_offsets(&mut self, positions: &[(Inlet, i64)]) -> Result<(), Failure> {
        // the client sends no request for an empty list, so nobody is asked whether the member is still one
        if positions.is_empty() {
            return Ok(());
        }
        self.add(Target::Offsets).await?;
        turn().await;
        self.commit_offsets(positions)?;
        self.place.tell(|| format!("positions {} are in the transaction", told(positions)));
        turn().await;
        Ok(())
    }

    /// The group's fence: the member must be one of the present generation (F1, F2).
    fn commit_offsets(&self, positions: &[(Inlet, i64)]) -> Result<(), Failure> {
        let captured = self.metadata.ok_or_else(|| Failure::Ownership("no captured group metadata".into()))?;
        let mut kafka = self.place.shared.kafka.borrow_mut();
        let knows = |member| matches!(kafka.assignment(member), Some(Some(_)));
        let (generation, member) = match self.place.shared.plan.mutant {
            Some(Mutant::GenerationAtCommit) if knows(self.member) => (kafka.generation, self.member),
            _ => captured,
        };
        let accepted = generation == kafka.generation && knows(member);
        if !accepted && !self.place.lacks(Mutant::NoGeneration) {
            return Err(Failure::Ownership(format!("generation {generation} is over")));
        }
        kafka.commit_offsets(&self.producer.id, self.producer.epoch, positions).map_err(fenced)
    }

    /// EndTxn: sent, perhaps twice, perhaps never; told, perhaps not.
    async fn commit(&mut self) -> Result<Event, Failure> {
        let unknown = self.place.chance(self.place.faults().unknown);
        if unknown && self.place.chance(0.4) {
            return Err(self.unknown("not sent"));
        }
        self.end(true).map_err(fenced)?;
        turn().await;
        if unknown {
            return Err(self.unknown("sent"));
        }
        Ok(Event::Done)
    }

    /// F5: nothing but success and this.
    fn unknown(&self, truth: &str) -> Failure {
        self.place.tell(|| format!("the outcome of the commit is unknown ({truth})"));
        match self.place.lacks(Mutant::UnknownIsAbort) {
            true => Failure::Abort("an error of commit".into()),
            false => Failure::Restart("the outcome of a commit is unknown".into()),
        }
    }

    async fn abort(&mut self) -> Result<Event, Failure> {
        turn().await;
        let ongoing = self.place.shared.kafka.borrow().is_ongoing(&self.producer.id, self.producer.epoch);
        if ongoing {
            self.end(false).map_err(fenced)?;
        }
        self.place.tell(|| "aborted".into());
        Ok(Event::Done)
    }

    fn end(&mut self, commit: bool) -> Result<(), Refused> {
        let Producer { id, epoch, suspect } = &mut self.producer;
        let mut kafka = self.place.shared.kafka.borrow_mut();
        if self.place.chance(self.place.faults().copies) {
            kafka.copy_end(id, *epoch, commit);
            *suspect = true;
        }
        kafka.end(id, *epoch, commit)
    }
}

impl Producer {
    async fn start(place: &Place) -> Self {
        let id = format!("forebay.chains.{}", place.slot);
        loop {
            turn().await;
            let epoch = place.shared.kafka.borrow_mut().init(&id);
            if let Some(epoch) = epoch {
                return Self { id, epoch, suspect: false };
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn fenced(refused: Refused) -> Failure {
    match refused.0 {
        "fenced" => Failure::Fenced("fenced".into()),
        why => Failure::Restart(why.into()),
    }
}

impl Shared {
    /// Committed records of an input, from offset `from` on.
    fn arrived(&self, inlet: Inlet, from: i64, most: usize) -> Vec<Arrived> {
        let mut kafka = self.kafka.borrow_mut();
        let records = kafka.input(inlet).committed(from).take(most);
        records.map(|(offset, record)| workload::arrived(inlet, offset, record)).collect()
    }
}

fn told(positions: &[(Inlet, i64)]) -> String {
    let one =
        |(inlet, at): &(Inlet, i64)| format!("{}{}/{at}", if inlet.feed == Feed::EVENTS { "" } else { "others/" }, inlet.shard);
    positions.iter().map(one).collect::<Vec<_>>().join(" ")
}
