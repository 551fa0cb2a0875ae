//! The last minute of every partition, in memory: the only queue between the feed and the lanes. One feed appends to a
//! partition; every lane reads at its own pace and nobody waits for anybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crate::guarded::Guarded;

pub use entry::{Entry, Origin, Writer};

mod entry;

/// A position that is not known yet.
pub const UNKNOWN: i64 = -1;

/// How much a ring holds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries older than this go, milliseconds of broker time behind the newest.
    pub age_ms: i64,
    /// Bytes of one partition.
    pub partition_bytes: usize,
    /// Bytes of all partitions of the process.
    pub total_bytes: usize,
    /// This many newest entries of a partition stay whatever their age.
    pub keep: usize,
}

/// Bytes held by all partitions of a process.
#[derive(Debug, Default)]
pub struct Total(AtomicUsize);

impl Total {
    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The ring of one partition.
#[derive(Debug)]
pub struct Partition {
    limits: Limits,
    total: Arc<Total>,
    held: Guarded<Held>,
    /// Everything below was handed over by the feed. Read without the lock to see whether there is anything new.
    position: AtomicI64,
    /// Complete up to this broker time, ms; 0 = not known yet.
    as_of: AtomicI64,
    /// Counts the restarts: offsets of different epochs do not compare.
    epoch: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Every result at or above this offset that was handed over is held.
    start: i64,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Everything from the asked offset up to (not including) `next` was given.
    Upto {
        /// Where to go on.
        next: i64,
    },
    /// The asked offset lies below what is held.
    Below {
        /// The lowest offset that is complete.
        start: i64,
    },
}

impl Partition {
    /// An empty ring. Where it begins is told by the first record or position.
    #[must_use]
    pub fn new(limits: Limits, total: Arc<Total>) -> Self {
        Self {
            limits,
            total,
            held: Guarded::new(Held { start: UNKNOWN, ..Held::default() }),
            position: AtomicI64::new(UNKNOWN),
            as_of: AtomicI64::new(0),
            epoch: AtomicU64::new(0),
        }
    }

    /// Adds the next result. Offsets rise; one that was handed over before is passed over.
    pub fn append(&self, entry: Entry) {
        if entry.offset < self.position() {
            return;
        }
        let (offset, timestamp_ms, weight) = (entry.offset, entry.timestamp_ms, entry.weight());
        self.total.0.fetch_add(weight, Ordering::Relaxed);
        let mut held = self.held.lock();
        if held.start == UNKNOWN {
            held.start = offset;
        }
        held.bytes += weight;
        held.entries.push_back(Arc::new(entry));
        self.evict(&mut held, timestamp_ms);
        self.position.store(offset + 1, Ordering::Release);
    }

    /// Everything below `position` was handed over, and is complete up to the broker time `as_of_ms`.
    pub fn advance(&self, position: i64, as_of_ms: i64) {
        let mut held = self.held.lock();
        if held.start == UNKNOWN {
            held.start = position;
        }
        self.evict(&mut held, as_of_ms);
        self.position.fetch_max(position, Ordering::Release);
        self.as_of.fetch_max(as_of_ms, Ordering::Release);
    }

    /// Forgets all and begins again at `start`, after the broker lost what was asked for.
    pub fn restart(&self, start: i64) {
        let mut held = self.held.lock();
        self.total.0.fetch_sub(held.bytes, Ordering::Relaxed);
        *held = Held { start, ..Held::default() };
        self.position.store(start, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// How often it was restarted.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Offset behind the last one handed over; [`UNKNOWN`] before the first record or position.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    /// Complete up to this broker time, ms; 0 = not known yet.
    #[must_use]
    pub fn as_of_ms(&self) -> i64 {
        self.as_of.load(Ordering::Acquire)
    }

    /// Copies at most `most` entries from offset `from` on to `out`.
    pub fn read(&self, from: i64, most: usize, out: &mut Vec<Arc<Entry>>) -> Read {
        let held = self.held.lock();
        if from < held.start || held.start == UNKNOWN {
            return Read::Below { start: held.start };
        }
        let first = held.entries.partition_point(|entry| entry.offset < from);
        let before = out.len();
        out.extend(held.entries.range(first..).take(most).cloned());
        let next = if out.len() - before == most {
            out.last().map_or(from, |entry| entry.offset + 1)
        } else {
            // the position cannot move while the lock is held by us and below it nothing is missing
            self.position().max(from)
        };
        Read::Upto { next }
    }

    /// The lowest offset from which on everything is held; [`UNKNOWN`] before the first record or position.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.held.lock().start
    }

    /// The offset from which on all results with a timestamp of `time_ms` or later are held; `None` if some are gone.
    #[must_use]
    pub fn offset_at(&self, time_ms: i64) -> Option<i64> {
        let held = self.held.lock();
        let before = held.entries.iter().rposition(|entry| entry.timestamp_ms < time_ms);
        // at offset 0 nothing can be missing; else one older entry proves it
        let index = match before {
            Some(index) => index + 1,
            None if held.start == 0 => 0,
            None => return None,
        };
        Some(held.entries.get(index).map_or_else(|| self.position(), |entry| entry.offset))
    }

    /// Bytes and age in ms (of the oldest entry against the newest).
    #[must_use]
    pub fn extent(&self) -> (usize, i64) {
        let held = self.held.lock();
        let age = held.entries.front().zip(held.entries.back()).map_or(0, |(old, new)| new.timestamp_ms - old.timestamp_ms);
        (held.bytes, age)
    }

    fn evict(&self, held: &mut Held, now_ms: i64) {
        while let Some(oldest) = held.entries.front() {
            let aged = held.entries.len() > self.limits.keep && oldest.timestamp_ms < now_ms - self.limits.age_ms;
            let over = held.bytes > self.limits.partition_bytes || self.total.bytes() > self.limits.total_bytes;
            if !(aged || over && held.entries.len() > 1) {
                return;
            }
            let weight = oldest.weight();
            held.start = oldest.offset + 1;
            held.bytes -= weight;
            self.total.0.fetch_sub(weight, Ordering::Relaxed);
            held.entries.pop_front();
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.held.lock().bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
