//! Everything in memory that belongs to one generation of the group. Created by assign, dropped by revoke; nothing
//! that describes shards lives outside it (I7).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use state::{AgendaKey, Shard};

use super::agenda::{Agenda, Entry};
use super::cache::RowCache;
use super::dedupe::Window;
use super::due::Due;
use super::input::{Feed, Inlet};
use super::places::{Places, Running};
use super::recover::{Claimed, Halt, Tip};
use super::rules::{self, Rule};
use super::settings::Settings;
use super::shard_rows::ShardRows;
use super::single::Single;
use super::step::Ended;
use super::transaction::ShardChange;

/// The shards of one assignment.
#[derive(Debug)]
pub struct Assignment {
    /// Distinguishes assignments of this process; late messages of another number are dropped.
    pub number: u64,
    /// Generation of the group.
    pub generation: i32,
    /// Running shards by number.
    pub shards: BTreeMap<i32, ShardState>,
    /// Shards that are not run, and why.
    pub halted: BTreeMap<i32, Halt>,
    /// Attempts at effects that are being made here.
    pub running: Running,
    /// Those that have ended, and whose outcome is not committed yet.
    pub ended: VecDeque<Ended>,
}

/// One running shard.
#[derive(Debug)]
pub struct ShardState {
    /// Its name.
    pub shard: Shard,
    /// Where its history stands.
    pub tip: Tip,
    /// Duplicates are found here.
    pub dedupe: Window,
    /// Committed row images.
    pub cache: RowCache,
    /// Rows of the shard itself, where the stream has such.
    pub rows: Option<ShardRows>,
    /// What is due.
    pub agenda: Agenda,
    /// Held subjects that this owner has met, and how many of their inputs wait.
    pub held: BTreeMap<Arc<str>, i64>,
    /// Claims of owners before that committed nothing.
    pub claims: Vec<Claimed>,
    /// Inputs are tried one at a time.
    pub single: Option<Single>,
    /// The next batch takes at most this many of its inputs; each frame of this owner doubles it.
    pub inputs_max: usize,
    /// Frames the store has not acknowledged: number and bytes, in order.
    unacked: VecDeque<(i64, usize)>,
    unacked_bytes: usize,
    /// Frames up to this one are acknowledged.
    acked: i64,
    /// See [`ShardState::begin`].
    begun: bool,
}

impl ShardState {
    /// A shard whose store is complete up to `tip`.
    #[must_use]
    pub fn new(shard: Shard, tip: Tip, dedupe: Window, settings: &Settings) -> Self {
        let cache = RowCache::new(settings.limits.cache_bytes, tip.n);
        let agenda = Agenda::new(tip.agenda_floor, settings.limits.agenda_index);
        let rows = settings.shard_rows.then(|| ShardRows::new(shard.number));
        let rows = if settings.rules.keep(Rule::ShardRowsRead) { rows } else { rows.map(rules::unread) };
        let acked = tip.n;
        Self {
            shard,
            tip,
            dedupe,
            cache,
            rows,
            agenda,
            held: BTreeMap::new(),
            claims: Vec::new(),
            single: None,
            inputs_max: settings.limits.single_inputs,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            acked,
            begun: false,
        }
    }

    /// Next offset of the input topic.
    #[must_use]
    pub fn position(&self, topic: &str) -> i64 {
        self.tip.positions.get(topic).copied().unwrap_or(0)
    }

    /// Every input partition and its next offset.
    #[must_use]
    pub fn positions(&self, settings: &Settings) -> Vec<(Inlet, i64)> {
        let shard = self.shard.number;
        settings.feeds().map(|feed| (Inlet { feed, shard }, self.position(settings.topic(feed)))).collect()
    }

    /// Followed topics that it has never read.
    #[must_use]
    pub fn unread(&self, settings: &Settings) -> Vec<Feed> {
        let unread = |feed: &Feed| *feed != Feed::EVENTS && !self.tip.positions.contains_key(&**settings.topic(*feed));
        settings.feeds().filter(unread).collect()
    }

    /// Begins a followed topic at `offset`. A frame of its own keeps that before anything is read.
    pub fn begin(&mut self, topic: &str, offset: i64) {
        self.tip.positions.insert(topic.to_owned(), offset);
        self.begun = true;
    }

    /// Whether a followed topic was begun that no frame knows of.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes over what was committed: row images become visible, pinned until the store has them.
    pub fn publish(&mut self, change: &ShardChange) {
        for write in &change.frame.rows {
            let image = super::cache::Image { val: write.val.clone(), expire_at: write.expire_at };
            match &mut self.rows {
                Some(rows) if rows.owns(&write.key) => rows.publish(&write.key.sort, image, change.frame.ts),
                _ => self.cache.put(&write.key.subject, &write.key.sort, image, change.frame.n),
            }
        }
        self.agenda.publish(change.frame.n, &change.frame.agenda);
        for row in &change.frame.dedupe {
            let keys = row.keys.chunks_exact(16).map(|key| {
                let mut bytes = [0; 16];
                bytes.copy_from_slice(key);
                schemas::key::EventKey(bytes)
            });
            self.dedupe.insert(row.minute, keys);
        }
        self.dedupe.expire(change.tip.horizon);
        for (subject, waiting) in &change.held {
            if *waiting == 0 {
                self.held.remove(subject);
            } else if self.held.len() < HELD_KNOWN_MAX || self.held.contains_key(subject) {
                self.held.insert(subject.clone(), *waiting);
            }
        }
        self.tip = change.tip.clone();
        self.begun = false;
        self.inputs_max = self.inputs_max.saturating_mul(2);
        if self.single.as_mut().is_some_and(Single::is_over_after_frame) {
            self.single = None;
        }
        self.unacked.push_back((change.frame.n, change.bytes));
        self.unacked_bytes += change.bytes;
    }

    /// The store has every frame up to `n`.
    pub fn acknowledge(&mut self, n: i64) {
        self.acked = self.acked.max(n);
        while let Some((frame, bytes)) = self.unacked.front().copied()
            && frame <= n
        {
            self.unacked.pop_front();
            self.unacked_bytes -= bytes;
        }
    }

    /// Frames and bytes the store has not acknowledged.
    #[must_use]
    pub fn backlog(&self) -> (usize, usize) {
        (self.unacked.len(), self.unacked_bytes)
    }
}

/// Held subjects of a shard that are counted.
const HELD_KNOWN_MAX: usize = 100_000;

/// Held subjects that are tried in one batch: each may be many inputs.
const HELD_PER_BATCH: usize = 4;

impl Assignment {
    /// What is due at `now` (µs), the oldest `max` of all shards. Effects without a place stay due, and are not in the way
    /// of what is due after them.
    #[must_use]
    pub fn due(&self, now: i64, max: usize, places: &mut Places<'_>) -> Vec<Due> {
        let mut entries: Vec<(&AgendaKey, i32, &Entry)> = Vec::new();
        for (number, shard) in &self.shards {
            let mut room = places.clone();
            let fits = move |(_, entry): &(&AgendaKey, &Entry)| entry.effect.as_ref().is_none_or(|named| room.take(named));
            entries.extend(shard.agenda.due(now).filter(fits).take(max).map(|(key, entry)| (key, *number, entry)));
        }
        entries.sort_unstable_by_key(|(key, number, _)| (*key, *number));
        let mut held = HELD_PER_BATCH;
        entries.retain(|(key, _, entry)| match &entry.effect {
            Some(named) => places.take(named),
            None if key.id.starts_with("h/") => held.checked_sub(1).map(|less| held = less).is_some(),
            None => true,
        });
        let entries = entries.into_iter().take(max);
        let entry = |(key, shard, entry): (&AgendaKey, i32, &Entry)| Due::Entry {
            shard,
            key: key.clone(),
            subject: entry.subject.clone(),
            ended: None,
        };
        entries.map(entry).collect()
    }

    /// Drops pins of acknowledged frames of every shard: only at the start of a batch.
    pub fn unpin(&mut self, settings: &Settings) {
        let pinned = settings.rules.keep(Rule::PinnedUntilAcked);
        for shard in self.shards.values_mut() {
            shard.cache.unpin(if pinned { shard.acked } else { i64::MAX });
            shard.agenda.unpin(shard.acked);
        }
    }

    /// True when a shard's backlog is at its bound: no inputs are taken until the store catches up.
    #[must_use]
    pub fn is_backed_up(&self, settings: &Settings) -> bool {
        let limits = &settings.limits;
        self.shards.values().any(|shard| {
            let (frames, bytes) = shard.backlog();
            frames >= limits.backlog_frames || bytes >= limits.backlog_bytes
        })
    }

    /// Names a shard of `stream`.
    #[must_use]
    pub fn name(stream: &Arc<str>, number: i32) -> Shard {
        Shard { stream: stream.clone(), number }
    }
}
