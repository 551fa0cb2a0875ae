//! The memory for bytes in flight (E7): what does not fit is refused early, with a computed `Retry-After`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::gauge;

use crate::metrics::{DRAIN_RATE, INFLIGHT_BYTES, LIMIT_BYTES, number};

/// Counted on top of every record until its report has come, for what the client library holds with it.
pub(crate) const RECORD_OVERHEAD: usize = 256;
/// Bodies of unknown length are reserved in steps of this many bytes.
pub(crate) const STEP: usize = 64 * 1024;
/// Seconds over which acknowledged bytes are averaged.
const DRAIN_WINDOW_S: i64 = 5;
/// Longest told `Retry-After`, ms.
const RETRY_AFTER_MAX_MS: u64 = 30_000;
/// Told while nothing was acknowledged lately, ms.
const RETRY_AFTER_IDLE_MS: u64 = 5_000;

/// The pool is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for requests in flight is used up; try again in {after_ms} ms")]
pub(crate) struct Full {
    /// When the missing bytes should have drained, ms, without jitter.
    pub(crate) after_ms: u64,
}

/// All bytes that requests in work may hold.
pub(crate) struct Pool {
    max: usize,
    held: AtomicUsize,
    drained: Mutex<Drained>,
    rate: AtomicU64,
}

impl Pool {
    /// A pool of `max` bytes.
    #[must_use]
    pub(crate) fn new(max: usize) -> Arc<Self> {
        gauge!(LIMIT_BYTES).set(number(max));
        Arc::new(Self { max, held: AtomicUsize::new(0), drained: Mutex::default(), rate: AtomicU64::new(0) })
    }

    /// Takes `bytes` until the guard is dropped.
    ///
    /// # Errors
    /// [`Full`] when they do not fit; nothing is taken then.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Held, Full> {
        let mut held = Held { pool: Arc::clone(self), bytes: 0 };
        held.hold(bytes)?;
        Ok(held)
    }

    /// Bytes held now.
    #[must_use]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Tells that `bytes` of records were acknowledged at `now_ms` (any clock that rises).
    pub(crate) fn acknowledged(&self, bytes: usize, now_ms: i64) {
        let mut drained = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = drained.add(bytes as u64, now_ms);
        self.rate.store(rate, Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        gauge!(DRAIN_RATE).set(rate as f64);
    }

    fn full(&self, over: usize) -> Full {
        let after_ms = match self.rate.load(Relaxed) {
            0 => RETRY_AFTER_IDLE_MS,
            rate => (over as u64).saturating_mul(1_000).div_ceil(rate).min(RETRY_AFTER_MAX_MS),
        };
        Full { after_ms }
    }

    fn show(&self) {
        gauge!(INFLIGHT_BYTES).set(number(self.held()));
    }
}

/// Bytes taken from the pool; given back on drop.
pub(crate) struct Held {
    pool: Arc<Pool>,
    bytes: usize,
}

impl Held {
    /// Makes the reservation `bytes` in all, smaller or larger than it was.
    ///
    /// # Errors
    /// [`Full`] when the growth does not fit; the reservation then stays as it was.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes <= self.bytes {
            self.pool.held.fetch_sub(self.bytes - bytes, Relaxed);
        } else {
            let more = bytes - self.bytes;
            let before = self.pool.held.fetch_add(more, Relaxed);
            let over = (before + more).saturating_sub(self.pool.max);
            if over > 0 {
                self.pool.held.fetch_sub(more, Relaxed);
                return Err(self.pool.full(over));
            }
        }
        self.bytes = bytes;
        self.pool.show();
        Ok(())
    }

    /// Bytes reserved.
    #[must_use]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.held.fetch_sub(self.bytes, Relaxed);
        self.pool.show();
    }
}

/// Acknowledged bytes per second, in a ring of one-second buckets.
#[derive(Default)]
struct Drained {
    buckets: [(i64, u64); DRAIN_WINDOW_S as usize],
}

impl Drained {
    /// Adds and returns the average in bytes per second.
    fn add(&mut self, bytes: u64, now_ms: i64) -> u64 {
        let second = now_ms.div_euclid(1_000);
        let slot = usize::try_from(second.rem_euclid(DRAIN_WINDOW_S)).unwrap_or(0);
        let bucket = &mut self.buckets[slot];
        if bucket.0 != second {
            *bucket = (second, 0);
        }
        bucket.1 += bytes;
        let recent = self.buckets.iter().filter(|(at, _)| second - at < DRAIN_WINDOW_S);
        recent.map(|(_, bytes)| bytes).sum::<u64>().div_ceil(DRAIN_WINDOW_S.unsigned_abs())
    }
}

/// `Retry-After` in whole seconds, at least 1: `after_ms` and up to a quarter more, so that callers come back apart.
pub(crate) fn retry_after_seconds(after_ms: u64, random: u64) -> u64 {
    let seconds = after_ms.div_ceil(1_000).max(1);
    seconds + random % (seconds / 4 + 1)
}

/// A random number, for jitter only.
#[must_use]
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_is_taken() {
        let pool = Pool::new(100);
        let mut held = pool.reserve(60).unwrap();
        assert!(pool.reserve(41).is_err());
        assert!(held.hold(101).is_err());
        assert_eq!(pool.held(), 60);
        held.hold(100).unwrap();
        held.hold(10).unwrap();
        assert_eq!(pool.held(), 10);
        drop(held);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn the_wait_is_bytes_over_the_limit_by_drain_rate() {
        let pool = Pool::new(1_000);
        let _held = pool.reserve(1_000).unwrap();
        assert_eq!(pool.reserve(1).err(), Some(Full { after_ms: RETRY_AFTER_IDLE_MS }));
        pool.acknowledged(5_000, 10_000);
        // 5,000 bytes within five seconds: 1,000 a second.
        assert_eq!(pool.reserve(500).err(), Some(Full { after_ms: 500 }));
        pool.acknowledged(0, 15_000);
        assert_eq!(pool.reserve(500).err(), Some(Full { after_ms: RETRY_AFTER_IDLE_MS }));
    }

    #[test]
    fn retry_after_is_at_least_a_second_and_at_most_a_quarter_more() {
        assert_eq!(retry_after_seconds(0, 999), 1);
        assert_eq!(retry_after_seconds(1_000, 999), 1);
        let spread: std::collections::BTreeSet<_> = (0..1_000).map(|random| retry_after_seconds(8_000, random)).collect();
        assert_eq!(spread.into_iter().collect::<Vec<_>>(), [8, 9, 10]);
    }
}
