//! The edge's dedupe window: a bounded memory of event keys, best effort and never wrong (E6).
//!
//! The processors are the authority; the window only saves them work and tells a caller where the first record
//! stands. It is never wrong because `duplicate` is answered from an entry that was settled by an acknowledgement,
//! and only when type, subject and datum are the same.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use schemas::key::EventKey;

/// Locks are spread over this many shards, a power of two.
const SHARDS: usize = 64;

/// What the window knows about a key when somebody asks to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim<T> {
    /// Nothing: it is now in flight for the caller, who must settle or release it.
    New,
    /// Another request is sending it.
    InFlight,
    /// The same content was settled under this key.
    Duplicate {
        /// What it was settled with.
        first: T,
        /// When, ms since the Unix epoch.
        seen_ms: i64,
    },
    /// Other content was settled under this key.
    Reused,
}

#[derive(Clone, Copy)]
enum State<T> {
    InFlight,
    Settled { first: T, seen_ms: i64 },
}

struct Entry<T> {
    fingerprint: u64,
    state: State<T>,
}

struct Shard<T> {
    entries: HashMap<EventKey, Entry<T>>,
    /// Settled keys, oldest first. Keys in flight are not in it, so they are never evicted.
    settled: VecDeque<(EventKey, i64)>,
}

/// A sharded map from key to what it was settled with: for events their position in the log. Holds at most `entries` settled keys for at most `age`; keys in
/// flight come on top and are bounded by the admission pool.
pub(crate) struct Window<T> {
    shards: Vec<Mutex<Shard<T>>>,
    per_shard_max: usize,
    age_ms: i64,
    hasher: RandomState,
    /// Keys held, in flight ones included.
    held: AtomicUsize,
}

impl<T: Copy> Window<T> {
    /// A window of at most `entries` settled keys, each remembered for `age_ms`.
    #[must_use]
    pub(crate) fn new(entries: usize, age_ms: i64) -> Self {
        let empty = || Mutex::new(Shard { entries: HashMap::new(), settled: VecDeque::new() });
        let shards = std::iter::repeat_with(empty).take(SHARDS).collect();
        Self {
            shards,
            per_shard_max: entries.div_ceil(SHARDS).max(1),
            age_ms,
            hasher: RandomState::new(),
            held: AtomicUsize::new(0),
        }
    }

    /// 64 bits over the parts of an event that a repeat must have in common. Differs from process to process.
    #[must_use]
    pub(crate) fn fingerprint(&self, parts: &[&[u8]]) -> u64 {
        self.hasher.hash_one(parts)
    }

    /// Asks to send `key`; see [`Claim`].
    pub(crate) fn claim(&self, key: EventKey, fingerprint: u64, now_ms: i64) -> Claim<T> {
        let mut shard = self.shard(key);
        self.held.fetch_sub(shard.forget_older_than(now_ms - self.age_ms), Relaxed);
        match shard.entries.get(&key) {
            None => {
                shard.entries.insert(key, Entry { fingerprint, state: State::InFlight });
                self.held.fetch_add(1, Relaxed);
                Claim::New
            }
            Some(Entry { state: State::InFlight, .. }) => Claim::InFlight,
            Some(entry) if entry.fingerprint != fingerprint => Claim::Reused,
            Some(Entry { state: State::Settled { first, seen_ms }, .. }) => Claim::Duplicate { first: *first, seen_ms: *seen_ms },
        }
    }

    /// A claimed key came to its end: its record was acknowledged. Returns how many older keys had to go before their age.
    pub(crate) fn settle(&self, key: EventKey, first: T, now_ms: i64) -> usize {
        let mut shard = self.shard(key);
        let Some(entry) = shard.entries.get_mut(&key) else { return 0 };
        if matches!(entry.state, State::Settled { .. }) {
            return 0;
        }
        entry.state = State::Settled { first, seen_ms: now_ms };
        shard.settled.push_back((key, now_ms));
        let mut evicted = 0;
        while shard.settled.len() > self.per_shard_max {
            shard.forget_oldest();
            evicted += 1;
        }
        self.held.fetch_sub(evicted, Relaxed);
        evicted
    }

    /// The record of a claimed key failed, or its outcome was lost: the next request with it is sent again.
    pub(crate) fn release(&self, key: EventKey) {
        let mut shard = self.shard(key);
        if matches!(shard.entries.get(&key), Some(Entry { state: State::InFlight, .. })) {
            shard.entries.remove(&key);
            self.held.fetch_sub(1, Relaxed);
        }
    }

    /// Keys held now, in flight ones included.
    pub(crate) fn len(&self) -> usize {
        self.held.load(Relaxed)
    }

    fn shard(&self, key: EventKey) -> std::sync::MutexGuard<'_, Shard<T>> {
        // Event keys are BLAKE3 output: any byte of them spreads evenly.
        let index = usize::from(key.0[0]) % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shard<T> {
    /// Returns how many there were.
    fn forget_older_than(&mut self, limit_ms: i64) -> usize {
        let old = self.settled.iter().take_while(|(_, at)| *at < limit_ms).count();
        (0..old).for_each(|_| self.forget_oldest());
        old
    }

    fn forget_oldest(&mut self) {
        if let Some((key, _)) = self.settled.pop_front() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
