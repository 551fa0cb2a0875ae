//! The dedupe window of a shard: event keys by minute of broker time.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use schemas::key::EventKey;

/// Milliseconds of a window slice.
pub const MINUTE_MS: i64 = 60_000;

/// Keys that took effect within the last `span_ms` of broker append time. Whole minutes are kept, so a duplicate is
/// found for at least the span and at most a minute longer.
#[derive(Debug)]
pub struct Window {
    span_ms: i64,
    keys_max: usize,
    /// With the minute they were accepted in: 21 bytes a place, so that millions of them stay cheap.
    keys: HashMap<EventKey, u32, BuildHasherDefault<KeyHasher>>,
    minutes: BTreeSet<i64>,
    /// The newest minute that was forgotten early, for the bound of keys.
    forgotten: Option<i64>,
}

impl Window {
    /// An empty window over `span_ms`, with at most `keys_max` keys (the oldest minute goes first).
    #[must_use]
    pub fn new(span_ms: i64, keys_max: usize) -> Self {
        Self { span_ms, keys_max, keys: HashMap::default(), minutes: BTreeSet::new(), forgotten: None }
    }

    /// First minute that still counts at append time `now_ms`.
    #[must_use]
    pub fn first_minute(&self, now_ms: i64) -> i64 {
        (now_ms - self.span_ms).div_euclid(MINUTE_MS)
    }

    /// True when `key` was accepted inside the window that ends at `now_ms`.
    #[must_use]
    pub fn holds(&self, key: &EventKey, now_ms: i64) -> bool {
        self.keys.get(key).is_some_and(|minute| i64::from(*minute) >= self.first_minute(now_ms))
    }

    /// Adds keys accepted in `minute`.
    pub fn insert(&mut self, minute: i64, keys: impl IntoIterator<Item = EventKey>) {
        self.minutes.insert(minute);
        let minute = held(minute);
        self.keys.extend(keys.into_iter().map(|key| (key, minute)));
    }

    /// Minutes that [`Window::expire`] would forget for their age.
    pub fn ended(&self, now_ms: i64) -> impl Iterator<Item = i64> {
        let first = self.first_minute(now_ms) - 1;
        self.minutes.range(..first).copied()
    }

    /// Forgets minutes that ended more than a minute before the window at `now_ms`, and what is over the bound.
    pub fn expire(&mut self, now_ms: i64) {
        let first = self.first_minute(now_ms) - 1;
        while let Some(oldest) = self.minutes.first().copied()
            && (oldest < first || (self.keys.len() > self.keys_max && self.minutes.len() > 1))
        {
            self.minutes.pop_first();
            if oldest >= first {
                self.forgotten = Some(oldest);
            }
            // all older minutes are gone
            let oldest = held(oldest);
            self.keys.retain(|_, minute| *minute > oldest);
        }
    }

    /// Duplicates are found this far back from append time `now_ms`, ms: the span, or less where the bound of keys cut it.
    #[must_use]
    pub fn reach_ms(&self, now_ms: i64) -> i64 {
        self.forgotten.map_or(self.span_ms, |minute| self.span_ms.min(now_ms - (minute + 1) * MINUTE_MS))
    }

    /// Keys held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// A minute since the Unix epoch in four bytes, which is enough for eight thousand years.
fn held(minute: i64) -> u32 {
    u32::try_from(minute.max(0)).unwrap_or(u32::MAX)
}

/// Event keys are hashes already: their first eight bytes serve as they are.
#[derive(Debug, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> EventKey {
        EventKey::of("source", &n.to_string(), None)
    }

    #[test]
    fn a_key_is_held_for_the_span_and_forgotten_after_it() {
        let mut window = Window::new(15 * MINUTE_MS, 100);
        window.insert(10, [key(1)]);
        assert!(window.holds(&key(1), 10 * MINUTE_MS));
        assert!(window.holds(&key(1), 25 * MINUTE_MS));
        assert!(!window.holds(&key(1), 26 * MINUTE_MS));
        assert_eq!(window.ended(26 * MINUTE_MS).count(), 0, "one minute of grace");
        assert_eq!(window.ended(27 * MINUTE_MS).collect::<Vec<_>>(), [10]);
        window.expire(27 * MINUTE_MS);
        assert!(window.is_empty());
    }

    #[test]
    fn the_oldest_minute_goes_first_when_the_bound_is_passed() {
        let mut window = Window::new(15 * MINUTE_MS, 2);
        window.insert(11, [key(2), key(3)]);
        window.insert(10, [key(1)]);
        window.expire(11 * MINUTE_MS);
        assert_eq!(window.len(), 2);
        assert!(!window.holds(&key(1), 11 * MINUTE_MS));
        assert_eq!(window.reach_ms(12 * MINUTE_MS), MINUTE_MS);
        assert_eq!(window.reach_ms(60 * MINUTE_MS), 15 * MINUTE_MS);
    }
}
