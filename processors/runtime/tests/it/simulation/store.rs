//! A store of three replicas behind quorums: messages are delayed, lost and repeated, calls time out while their writes
//! go on, replicas restart. Cells merge as S1 says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use state::store::Error;
use state::{AgendaItem, AgendaKey, Cell, DedupeRow, Frame, Mark, RowKey, RowRange, Shard, StateStore, StatusCell};

use super::plan::Mutant;
use super::random::Random;
use super::turn;

/// Names a cell; shards by number, there is one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Row(i32, Arc<str>, Arc<str>),
    Agenda(i32, i64, Arc<str>),
    Dedupe(i32, i64, i64),
    MinuteEnded(i32, i64),
    Status([u8; 16], Arc<str>),
    Mark(i32),
}

const REPLICAS: usize = 3;
/// Overwritten cells a replica without synced writes remembers, to lose them at a restart.
const UNSYNCED_MAX: usize = 30;

/// Writes that reach a replica together.
struct Part {
    writes: Vec<(Key, Cell)>,
    reached: [bool; REPLICAS],
}

impl Part {
    fn is_acked(&self) -> bool {
        self.reached.iter().filter(|reached| **reached).count() >= 2
    }
}

#[derive(Default)]
struct Replica {
    cells: BTreeMap<Key, Cell>,
    unsynced: Vec<(Key, Option<Cell>)>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// A message to a replica is lost.
    pub(super) loss: f64,
    /// A call gives up; its writes go on.
    pub(super) timeout: f64,
    /// Nobody answers.
    pub(super) down: bool,
}

struct Inner {
    replicas: [Replica; REPLICAS],
    parts: Vec<Part>,
    /// Messages on their way: replica, part.
    net: Vec<(usize, usize)>,
    random: Random,
    weather: Weather,
    mutant: Option<Mutant>,
}

/// The store; clones share it.
#[derive(Clone)]
pub(super) struct Store {
    inner: Arc<Mutex<Inner>>,
    /// Decides what happens to the reads of this clone, in the place of the chance that all share.
    aside: Option<Arc<Mutex<Random>>>,
}

impl Store {
    pub(super) fn new(random: Random, mutant: Option<Mutant>) -> Self {
        let inner = Inner {
            replicas: Default::default(),
            parts: Vec::new(),
            net: Vec::new(),
            random,
            weather: Weather::default(),
            mutant,
        };
        Self { inner: Arc::new(Mutex::new(inner)), aside: None }
    }

    /// For readers whose reads change nothing in the rest of the run.
    pub(super) fn aside(&self, random: Random) -> Self {
        Self { inner: self.inner.clone(), aside: Some(Arc::new(Mutex::new(random))) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// One message arrives, or does not.
    pub(super) fn step(&self) {
        self.lock().step();
    }

    /// A replica restarts: what it had not synced is gone.
    pub(super) fn restart_replica(&self) {
        let mut inner = self.lock();
        let at = inner.random.below(REPLICAS);
        let Replica { cells, unsynced } = &mut inner.replicas[at];
        for (key, before) in unsynced.drain(..).rev() {
            match before {
                Some(cell) => cells.insert(key, cell),
                None => cells.remove(&key),
            };
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.lock().net.is_empty()
    }

    /// Every cell as all replicas but one have it, tombstones included.
    pub(super) fn cells(&self, left_out: usize) -> BTreeMap<Key, Cell> {
        let inner = self.lock();
        let mut all: BTreeMap<Key, Cell> = BTreeMap::new();
        let asked = inner.replicas.iter().enumerate().filter(|(at, _)| *at != left_out);
        for (key, cell) in asked.flat_map(|(_, replica)| &replica.cells) {
            match all.get(key) {
                Some(old) if !wins(cell, old) => {}
                _ => drop(all.insert(key.clone(), cell.clone())),
            }
        }
        all
    }

    /// The newest cell of `key` on any replica.
    pub(super) fn newest(&self, key: &Key) -> Option<Cell> {
        let inner = self.lock();
        let cells = inner.replicas.iter().filter_map(|replica| replica.cells.get(key));
        cells.reduce(|one, other| if wins(other, one) { other } else { one }).cloned()
    }

    /// Sends writes to every replica and waits until a quorum has all of them.
    async fn write(&self, parts: Vec<Vec<(Key, Cell)>>) -> Result<(), Error> {
        let sent = self.lock().send(parts);
        loop {
            turn().await;
            let mut inner = self.lock();
            if sent.clone().all(|part| inner.parts[part].is_acked()) {
                return Ok(());
            }
            let Weather { timeout, down, .. } = inner.weather;
            if down || inner.random.chance(timeout) {
                return Err(Error::Unavailable("time-out".into()));
            }
            if inner.random.chance(0.1) {
                sent.clone().for_each(|part| inner.send_again(part));
            }
        }
    }

    /// Two replicas answer.
    async fn read<T>(&self, merge: impl FnOnce(&[&Replica; 2]) -> T) -> Result<T, Error> {
        turn().await;
        let inner = &mut *self.lock();
        let mut aside = self.aside.as_ref().map(|random| random.lock().unwrap_or_else(PoisonError::into_inner));
        let random = aside.as_deref_mut().unwrap_or(&mut inner.random);
        let Weather { timeout, down, .. } = inner.weather;
        if down || random.chance(timeout) {
            return Err(Error::Unavailable("time-out".into()));
        }
        let left_out = random.below(REPLICAS);
        let two = [&inner.replicas[(left_out + 1) % REPLICAS], &inner.replicas[(left_out + 2) % REPLICAS]];
        Ok(merge(&two))
    }
}

impl Inner {
    fn send(&mut self, parts: Vec<Vec<(Key, Cell)>>) -> std::ops::Range<usize> {
        let first = self.parts.len();
        for writes in parts {
            self.net.extend((0..REPLICAS).map(|replica| (replica, self.parts.len())));
            self.parts.push(Part { writes, reached: [false; REPLICAS] });
        }
        first..self.parts.len()
    }

    fn send_again(&mut self, part: usize) {
        if !self.parts[part].is_acked() {
            let missing = (0..REPLICAS).filter(|replica| !self.parts[part].reached[*replica]);
            self.net.extend(missing.map(|replica| (replica, part)));
        }
    }

    fn step(&mut self) {
        if self.net.is_empty() || self.weather.down {
            return;
        }
        let (replica, part) = self.net.swap_remove(self.random.below(self.net.len()));
        if self.random.chance(self.weather.loss) {
            return;
        }
        let Replica { cells, unsynced } = &mut self.replicas[replica];
        for (key, cell) in &self.parts[part].writes {
            let old = cells.get(key);
            if old.is_some_and(|old| !wins(cell, old)) {
                continue;
            }
            if self.mutant == Some(Mutant::AckBeforeSync) {
                unsynced.push((key.clone(), old.cloned()));
                unsynced.drain(..unsynced.len().saturating_sub(UNSYNCED_MAX));
            }
            if cell.val.is_none() && self.mutant == Some(Mutant::NoTombstones) {
                cells.remove(key);
            } else {
                cells.insert(key.clone(), cell.clone());
            }
        }
        self.parts[part].reached[replica] = true;
    }
}

/// S1.
fn wins(new: &Cell, old: &Cell) -> bool {
    (new.ts, new.val.is_none(), &new.val) > (old.ts, old.val.is_none(), &old.val)
}

/// The newest cell of `key`, tombstones included.
fn newest(two: &[&Replica; 2], key: &Key) -> Option<Cell> {
    let cells = two.iter().filter_map(|replica| replica.cells.get(key));
    cells.reduce(|one, other| if wins(other, one) { other } else { one }).cloned()
}

fn live(two: &[&Replica; 2], key: &Key) -> Option<Cell> {
    newest(two, key).filter(|cell| cell.val.is_some())
}

/// Live cells between two keys, the second left out.
fn between(two: &[&Replica; 2], from: &Key, to: &Key) -> BTreeMap<Key, Cell> {
    let keys = two.iter().flat_map(|replica| replica.cells.range(from..to).map(|(key, _)| key.clone()));
    keys.filter_map(|key| live(two, &key).map(|cell| (key, cell))).collect()
}

/// What a frame writes, by what is atomic: the rows of a subject, else each cell (S4, S10).
pub(super) fn parts_of(frame: &Frame) -> Vec<Vec<(Key, Cell)>> {
    let (shard, ts) = (frame.shard.number, frame.ts);
    let cell = |val: Option<Bytes>, expire_at| Cell { ts, val, expire_at };
    let mut subjects: BTreeMap<&str, Vec<(Key, Cell)>> = BTreeMap::new();
    for row in &frame.rows {
        let key = Key::Row(shard, row.key.subject.clone(), row.key.sort.clone());
        let expire_at = row.expire_at.filter(|_| row.val.is_some());
        subjects.entry(&row.key.subject).or_default().push((key, cell(row.val.clone(), expire_at)));
    }
    let mut parts: Vec<_> = subjects.into_values().collect();
    for item in &frame.agenda {
        let val = agenda_value(&item.subject, item.val.as_ref());
        parts.push(vec![(Key::Agenda(shard, item.key.due, item.key.id.clone()), cell(val, None))]);
    }
    for status in &frame.status {
        let key = Key::Status(status.key.event, status.key.part.clone());
        parts.push(vec![(key, cell(Some(status.val.clone()), status.expire_at))]);
    }
    for row in &frame.dedupe {
        parts.push(vec![(Key::Dedupe(shard, row.minute, ts), cell(Some(row.keys.clone()), None))]);
    }
    parts.extend(frame.dedupe_ended.iter().map(|minute| vec![(Key::MinuteEnded(shard, *minute), cell(None, None))]));
    parts
}

/// How an agenda item lies in its cell.
pub(super) fn agenda_value(subject: &str, val: Option<&Bytes>) -> Option<Bytes> {
    val.map(|val| [subject.as_bytes(), b"\0", val].concat().into())
}

fn agenda_item(key: Key, cell: Cell) -> Option<AgendaItem> {
    let Key::Agenda(_, due, id) = key else { return None };
    let val = cell.val?;
    let end = val.iter().position(|byte| *byte == 0)?;
    let subject = std::str::from_utf8(&val[..end]).ok()?.into();
    Some(AgendaItem { key: AgendaKey { due, id }, subject, val: val.slice(end + 1..) })
}

#[async_trait]
impl StateStore for Store {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn open_stream(&self, _stream: &str, _partitions: i32, _buckets: i32) -> Result<(), Error> {
        Ok(())
    }

    async fn apply(&self, frame: &Frame) -> Result<(), Error> {
        self.write(parts_of(frame)).await
    }

    async fn set_marks(&self, marks: &[(Shard, Mark)]) -> Result<(), Error> {
        let cell = |mark: &Mark| Cell { ts: mark.ts, val: Some(mark.encode()), expire_at: None };
        self.write(marks.iter().map(|(shard, mark)| vec![(Key::Mark(shard.number), cell(mark))]).collect()).await
    }

    async fn mark(&self, shard: &Shard) -> Result<Option<Mark>, Error> {
        let cell = self.read(|two| live(two, &Key::Mark(shard.number))).await?;
        Ok(cell.and_then(|cell| Mark::decode(&cell.val?).ok()))
    }

    async fn rows(&self, shard: &Shard, keys: &[RowKey]) -> Result<Vec<Option<Cell>>, Error> {
        let key = |key: &RowKey| Key::Row(shard.number, key.subject.clone(), key.sort.clone());
        self.read(|two| keys.iter().map(|row| live(two, &key(row))).collect()).await
    }

    async fn range(&self, shard: &Shard, range: &RowRange) -> Result<Vec<(RowKey, Cell)>, Error> {
        let rows = self.subject(shard, &range.subject).await?;
        let wanted = |sort: &Arc<str>| sort.starts_with(&*range.prefix) && range.start.as_ref().is_none_or(|start| sort >= start);
        Ok(rows.into_iter().filter(|(key, _)| wanted(&key.sort)).take(range.limit).collect())
    }

    async fn subject(&self, shard: &Shard, subject: &str) -> Result<Vec<(RowKey, Cell)>, Error> {
        let from = Key::Row(shard.number, subject.into(), "".into());
        let to = Key::Row(shard.number, format!("{subject}\0").into(), "".into());
        let rows = self.read(|two| between(two, &from, &to)).await?;
        let named = rows.into_iter().filter_map(|(key, cell)| match key {
            Key::Row(_, subject, sort) => Some((RowKey { subject, sort }, cell)),
            _ => None,
        });
        Ok(named.collect())
    }

    async fn subjects(
        &self,
        shard: &Shard,
        prefix: &str,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
        let (from, to) = (Key::Row(shard.number, "".into(), "".into()), Key::Row(shard.number + 1, "".into(), "".into()));
        let rows = self.read(|two| between(two, &from, &to)).await?;
        let subject = |key| if let Key::Row(_, subject, _) = key { Some(subject.to_string()) } else { None };
        let mut subjects: Vec<_> = rows.into_keys().filter_map(subject).collect();
        subjects.retain(|subject| subject.starts_with(prefix) && cursor.is_none_or(|last| subject.as_bytes() > last));
        subjects.dedup();
        let more = subjects.len() > limit;
        subjects.truncate(limit);
        let next = subjects.last().filter(|_| more).map(|last| last.clone().into_bytes());
        Ok((subjects, next))
    }

    async fn agenda(&self, shard: &Shard, from: &AgendaKey, to: &AgendaKey, limit: usize) -> Result<Vec<AgendaItem>, Error> {
        let key = |key: &AgendaKey| Key::Agenda(shard.number, key.due, key.id.clone());
        let items = self.read(|two| between(two, &key(from), &key(to))).await?;
        Ok(items.into_iter().filter_map(|(key, cell)| agenda_item(key, cell)).take(limit).collect())
    }

    async fn agenda_item(&self, shard: &Shard, key: &AgendaKey) -> Result<Option<AgendaItem>, Error> {
        let key = Key::Agenda(shard.number, key.due, key.id.clone());
        Ok(self.read(|two| live(two, &key)).await?.and_then(|cell| agenda_item(key, cell)))
    }

    async fn dedupe(&self, shard: &Shard, minute: i64) -> Result<Vec<DedupeRow>, Error> {
        let key = |ts| Key::Dedupe(shard.number, minute, ts);
        let (ended, rows) = self
            .read(|two| {
                let ended = newest(two, &Key::MinuteEnded(shard.number, minute)).map_or(i64::MIN, |cell| cell.ts);
                (ended, between(two, &key(i64::MIN), &key(i64::MAX)))
            })
            .await?;
        let rows = rows.into_values().filter(|cell| cell.ts > ended);
        Ok(rows.filter_map(|cell| Some(DedupeRow { minute, ts: cell.ts, keys: cell.val? })).collect())
    }

    async fn status(&self, events: &[[u8; 16]]) -> Result<Vec<Vec<StatusCell>>, Error> {
        let from = |event: &[u8; 16]| (Key::Status(*event, "".into()), Key::Status(*event, "\u{10ffff}".into()));
        let parts = |(key, cell)| match key {
            Key::Status(_, part) => Some(StatusCell { part, cell }),
            _ => None,
        };
        self.read(|two| {
            let of = |event| {
                let (from, to) = from(event);
                between(two, &from, &to).into_iter().filter_map(parts).collect()
            };
            events.iter().map(of).collect()
        })
        .await
    }

    async fn ping(&self, _within: Duration) -> Result<(), Error> {
        Ok(())
    }
}
