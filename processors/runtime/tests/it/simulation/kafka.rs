//! A cluster in memory: partitions with transactions and late markers, a coordinator with epochs (protocol version 1),
//! a group with generations and offsets that wait for their transaction.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use runtime::engine::input::{Feed, Inlet};
use runtime::engine::transaction::{OutRecord, Topic};

use super::random::Random;

/// An open transaction is aborted after so many steps.
const TRANSACTION_TICKS: u64 = 400;

/// The broker's clock is not steady: append times go back by up to this, ms.
const APPEND_JITTER_MS: i64 = 3_000;
/// Records that no transaction wrote.
const PLAIN: TransactionId = 0;

/// Names one transaction; each gets its own.
pub(super) type TransactionId = u64;

/// One record of a partition. Without `record` it is a marker, which takes an offset too.
struct Entry {
    transaction: TransactionId,
    record: Option<OutRecord>,
}

/// One partition that is written in transactions.
#[derive(Default)]
pub(super) struct Partition {
    entries: Vec<Entry>,
    open: BTreeMap<TransactionId, i64>,
    committed: HashSet<TransactionId>,
}

impl Partition {
    fn append(&mut self, transaction: TransactionId, record: OutRecord) -> i64 {
        let offset = self.entries.len() as i64;
        self.open.entry(transaction).or_insert(offset);
        self.entries.push(Entry { transaction, record: Some(record) });
        offset
    }

    /// The broker's own time for the next record.
    fn append_time(&self, at_ms: i64) -> i64 {
        at_ms - self.end() * 977 % APPEND_JITTER_MS
    }

    /// A record of a producer without transactions; what is not ours takes offsets before it.
    pub(super) fn append_plain(&mut self, foreign: i64, at_ms: i64, record: OutRecord) -> (i64, i64) {
        self.entries.extend((0..foreign).map(|_| Entry { transaction: PLAIN, record: None }));
        let appended_ms = self.append_time(at_ms);
        let record = OutRecord { timestamp_ms: Some(appended_ms), ..record };
        self.entries.push(Entry { transaction: PLAIN, record: Some(record) });
        (self.end() - 1, appended_ms)
    }

    fn mark(&mut self, transaction: TransactionId, commit: bool) {
        if commit {
            self.committed.insert(transaction);
        }
        self.open.remove(&transaction);
        self.entries.push(Entry { transaction, record: None });
    }

    /// Next offset.
    pub(super) fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    /// First offset of an undecided transaction, else the end.
    pub(super) fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end())
    }

    /// What a read_committed reader gets from `from` on.
    pub(super) fn committed(&self, from: i64) -> impl Iterator<Item = (i64, &OutRecord)> {
        let stable = self.stable();
        let entries = (0..stable).zip(&self.entries).skip(from as usize);
        entries
            .filter(|(_, entry)| entry.transaction == PLAIN || self.committed.contains(&entry.transaction))
            .filter_map(|(at, entry)| Some((at, entry.record.as_ref()?)))
    }
}

/// A partition, or the group's offsets, as part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// Index of the topic, partition.
    Partition(usize, i32),
    Offsets,
}

impl Target {
    /// An input of a shard: its own events, or the results of the stream it follows.
    fn input(Inlet { feed, shard }: Inlet) -> Self {
        if feed == Feed::EVENTS { Self::of(Topic::Events(0), shard) } else { Self::Partition(usize::MAX, shard) }
    }

    pub(super) fn of(topic: Topic, shard: i32) -> Self {
        let index = match topic {
            Topic::Results => 0,
            Topic::Dead => 1,
            Topic::Log => 2,
            Topic::Events(target) => 3 + target,
        };
        Self::Partition(index, shard)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    /// Decided, markers on their way.
    Prepared(bool),
    Complete(bool),
}

/// What the coordinator knows of a transactional id.
struct Producer {
    epoch: i32,
    state: State,
    transaction: TransactionId,
    /// Tick it began at.
    begun: u64,
    targets: BTreeSet<Target>,
    unmarked: BTreeSet<Target>,
}

/// The producer is fenced, or its transaction is not what it thinks.
#[derive(Debug)]
pub(super) struct Refused(pub(super) &'static str);

/// One member of the group, as of the present generation.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) process: usize,
    pub(super) slot: String,
    /// `None`: joined, but not part of the present generation.
    pub(super) shards: Option<Vec<i32>>,
    /// Its consumer is gone; nobody told the group.
    pub(super) gone: bool,
}

/// Brokers and coordinators.
#[derive(Default)]
pub(super) struct Kafka {
    partitions: BTreeMap<Target, Partition>,
    producers: BTreeMap<String, Producer>,
    transactions: TransactionId,
    ticks: u64,
    /// Time of the brokers, ms.
    pub(super) clock_ms: i64,
    /// When transactions were committed.
    committed_at: BTreeMap<TransactionId, u64>,
    /// EndTxn requests that the client sent a second time: they may arrive whenever they like.
    late_ends: Vec<(String, i32, bool)>,
    pub(super) generation: i32,
    pub(super) members: BTreeMap<u64, Member>,
    pub(super) offsets: BTreeMap<Inlet, i64>,
    pending: BTreeMap<TransactionId, Vec<(Inlet, i64)>>,
    last_member: u64,
}

impl Kafka {
    pub(super) fn partition(&mut self, topic: Topic, shard: i32) -> &mut Partition {
        self.partitions.entry(Target::of(topic, shard)).or_default()
    }

    pub(super) fn input(&mut self, inlet: Inlet) -> &mut Partition {
        self.partitions.entry(Target::input(inlet)).or_default()
    }

    /// The owner of a followed stream writes results in a transaction of its own.
    pub(super) fn begin_foreign(&mut self, inlet: Inlet, records: &[OutRecord]) -> TransactionId {
        self.transactions += 1;
        let transaction = self.transactions;
        for record in records {
            let timestamp_ms = Some(self.clock_ms);
            self.input(inlet).append(transaction, OutRecord { timestamp_ms, ..record.clone() });
        }
        transaction
    }

    pub(super) fn end_foreign(&mut self, inlet: Inlet, transaction: TransactionId, commit: bool) {
        self.input(inlet).mark(transaction, commit);
    }

    /// `InitProducerId`: the new epoch, or `None` while an old transaction is being ended.
    pub(super) fn init(&mut self, id: &str) -> Option<i32> {
        let fresh = Producer {
            epoch: -1,
            state: State::Empty,
            transaction: 0,
            begun: 0,
            targets: BTreeSet::new(),
            unmarked: BTreeSet::new(),
        };
        let producer = self.producers.entry(id.to_owned()).or_insert(fresh);
        match producer.state {
            State::Ongoing => {
                producer.epoch += 1;
                producer.decide(false);
                None
            }
            State::Prepared(_) => None,
            State::Empty | State::Complete(_) => {
                producer.epoch += 1;
                producer.state = State::Empty;
                Some(producer.epoch)
            }
        }
    }

    fn producer(&mut self, id: &str, epoch: i32) -> Result<&mut Producer, Refused> {
        self.producers.get_mut(id).filter(|producer| producer.epoch == epoch).ok_or(Refused("fenced"))
    }

    /// `AddPartitionsToTxn`; false: try again, the transaction before is still being ended.
    pub(super) fn add(&mut self, id: &str, epoch: i32, target: Target) -> Result<bool, Refused> {
        let (next, now) = (self.transactions + 1, self.ticks);
        let producer = self.producer(id, epoch)?;
        if matches!(producer.state, State::Prepared(_)) {
            return Ok(false);
        }
        if producer.state != State::Ongoing {
            (producer.state, producer.transaction, producer.begun) = (State::Ongoing, next, now);
            producer.targets.clear();
        }
        producer.targets.insert(target);
        let begun = producer.transaction == next;
        self.transactions += TransactionId::from(begun);
        Ok(true)
    }

    fn open(&mut self, id: &str, epoch: i32, target: Target) -> Result<TransactionId, Refused> {
        let producer = self.producer(id, epoch)?;
        if producer.state != State::Ongoing || !producer.targets.contains(&target) {
            return Err(Refused("the partition is not in the transaction"));
        }
        Ok(producer.transaction)
    }

    pub(super) fn produce(&mut self, id: &str, epoch: i32, record: &OutRecord) -> Result<i64, Refused> {
        let target = Target::of(record.topic, record.shard);
        let transaction = self.open(id, epoch, target)?;
        let clock_ms = self.clock_ms;
        let partition = self.partition(record.topic, record.shard);
        let mut record = record.clone();
        if matches!(record.topic, Topic::Events(_)) {
            record.timestamp_ms = Some(partition.append_time(clock_ms));
        }
        Ok(partition.append(transaction, record))
    }

    /// `TxnOffsetCommit`, after the group accepted the member.
    pub(super) fn commit_offsets(&mut self, id: &str, epoch: i32, offsets: &[(Inlet, i64)]) -> Result<(), Refused> {
        let transaction = self.open(id, epoch, Target::Offsets)?;
        self.pending.insert(transaction, offsets.to_vec());
        Ok(())
    }

    /// `EndTxn`.
    pub(super) fn end(&mut self, id: &str, epoch: i32, commit: bool) -> Result<(), Refused> {
        let producer = self.producer(id, epoch)?;
        match producer.state {
            State::Ongoing => {
                producer.decide(commit);
                let (transaction, now) = (producer.transaction, self.ticks);
                if commit {
                    self.committed_at.insert(transaction, now);
                }
            }
            State::Prepared(was) | State::Complete(was) if was == commit => {}
            _ => return Err(Refused("there is no such transaction to end")),
        }
        Ok(())
    }

    /// True while the transaction of `id` is undecided.
    pub(super) fn is_ongoing(&self, id: &str, epoch: i32) -> bool {
        self.producers.get(id).is_some_and(|producer| producer.epoch == epoch && producer.state == State::Ongoing)
    }

    /// The client sent this EndTxn twice.
    pub(super) fn copy_end(&mut self, id: &str, epoch: i32, commit: bool) {
        self.late_ends.push((id.to_owned(), epoch, commit));
    }

    /// A late copy arrives.
    pub(super) fn deliver_copy(&mut self, random: &mut Random) -> Option<String> {
        if self.late_ends.is_empty() {
            return None;
        }
        let (id, epoch, commit) = self.late_ends.swap_remove(random.below(self.late_ends.len()));
        let told = match self.end(&id, epoch, commit) {
            Ok(()) => "taken",
            Err(Refused(why)) => why,
        };
        Some(format!("late copy of EndTxn of {id} epoch {epoch} commit {commit}: {told}"))
    }

    pub(super) fn forget_copies(&mut self) {
        self.late_ends.clear();
    }

    /// Open transactions time out: surely in the end, and at any moment in `part` of all steps.
    pub(super) fn time_out(&mut self, random: &mut Random, part: f64) -> Option<String> {
        self.ticks += 1;
        for (id, producer) in &mut self.producers {
            let late = self.ticks - producer.begun > TRANSACTION_TICKS;
            if producer.state == State::Ongoing && (late || random.chance(part)) {
                producer.epoch += 1;
                producer.decide(false);
                return Some(format!("the transaction of {id} timed out"));
            }
        }
        None
    }

    /// Markers of decided transactions reach their partitions, in any order.
    pub(super) fn write_markers(&mut self, random: &mut Random) {
        for producer in self.producers.values_mut() {
            let State::Prepared(commit) = producer.state else { continue };
            if !random.chance(0.4) {
                continue;
            }
            let unmarked: Vec<_> = producer.unmarked.iter().copied().collect();
            if !unmarked.is_empty() {
                let target = *random.pick(&unmarked);
                producer.unmarked.remove(&target);
                if target == Target::Offsets {
                    let offsets = self.pending.remove(&producer.transaction).unwrap_or_default();
                    if commit {
                        self.offsets.extend(offsets);
                    }
                } else {
                    self.partitions.entry(target).or_default().mark(producer.transaction, commit);
                }
            }
            if producer.unmarked.is_empty() {
                producer.state = State::Complete(commit);
            }
        }
    }

    /// True when nothing is undecided anywhere.
    pub(super) fn is_settled(&self) -> bool {
        self.producers.values().all(|producer| !matches!(producer.state, State::Ongoing | State::Prepared(_)))
    }

    /// When the committed record at `offset` became so.
    pub(super) fn committed_at(&self, topic: Topic, shard: i32, offset: i64) -> Option<u64> {
        let entry = self.partitions.get(&Target::of(topic, shard))?.entries.get(offset as usize)?;
        self.committed_at.get(&entry.transaction).copied()
    }

    /// Steps since the beginning.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }

    pub(super) fn transactions(&self) -> u64 {
        self.transactions
    }
}

/// The group.
impl Kafka {
    /// A consumer joins. A static member that comes back may take its own place over, in the same generation.
    pub(super) fn join(&mut self, process: usize, slot: &str, take_over: bool) -> u64 {
        self.last_member += 1;
        let mut member = Member { process, slot: slot.to_owned(), shards: None, gone: false };
        let before = self.members.iter().find(|(_, other)| other.slot == slot).map(|(id, _)| *id);
        if let Some(old) = before.and_then(|before| self.members.remove(&before))
            && take_over
        {
            member.shards = old.shards;
        }
        self.members.insert(self.last_member, member);
        self.last_member
    }

    /// What the group gave to `member` in the present generation; `None`: it does not know the member any more.
    pub(super) fn assignment(&self, member: u64) -> Option<&Option<Vec<i32>>> {
        self.members.get(&member).map(|member| &member.shards)
    }

    /// A rebalance among `members`; everybody else joined too late.
    pub(super) fn rebalance(&mut self, members: &[u64], shards: i32, random: &mut Random) {
        self.generation += 1;
        self.members.retain(|_, member| !member.gone);
        for (id, member) in &mut self.members {
            member.shards = members.contains(id).then(Vec::new);
        }
        for shard in 0..shards {
            if let Some(shards) = self.members.get_mut(random.pick(members)).and_then(|member| member.shards.as_mut()) {
                shards.push(shard);
            }
        }
    }
}

impl Producer {
    fn decide(&mut self, commit: bool) {
        self.state = State::Prepared(commit);
        self.unmarked = self.targets.clone();
    }
}
