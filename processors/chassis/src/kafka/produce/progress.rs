//! What is in flight per partition and when it last moved: what a breaker needs to know.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// Records sent and acknowledged, per followed partition and over all.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    all: Counts,
    topics: ArcSwap<HashMap<String, Vec<Counts>>>,
}

#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicI64,
    /// Milliseconds since `begun` of the last acknowledgement, or of the send that ended an idle time.
    moved_ms: AtomicI64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { begun: Instant::now(), all: Counts::default(), topics: ArcSwap::default() }
    }
}

impl Progress {
    /// Starts counting for these topics and partition counts; counts of others go into the total only.
    pub(super) fn follow(&self, topics: &[(String, i32)]) {
        let counts = |partitions: i32| (0..partitions).map(|_| Counts::default()).collect();
        self.topics
            .store(topics.iter().map(|(name, partitions)| (name.clone(), counts(*partitions))).collect::<HashMap<_, _>>().into());
    }

    /// Records of the partition without a report.
    pub fn in_flight(&self, topic: &str, partition: i32) -> i64 {
        self.with(topic, partition, |counts| counts.in_flight.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// For how long records of the partition are waiting without one of them being acknowledged; zero if nothing waits.
    pub fn silence(&self, topic: &str, partition: i32) -> Duration {
        self.with(topic, partition, |counts| self.silence_of(counts)).unwrap_or_default()
    }

    /// The same over all partitions.
    pub fn silence_overall(&self) -> Duration {
        self.silence_of(&self.all)
    }

    fn silence_of(&self, counts: &Counts) -> Duration {
        if counts.in_flight.load(Ordering::Relaxed) <= 0 {
            return Duration::ZERO;
        }
        let milliseconds = self.now_ms() - counts.moved_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or_default())
    }

    pub(super) fn sent(&self, topic: &str, partition: i32) {
        self.each(topic, partition, |counts, now| {
            if counts.in_flight.fetch_add(1, Ordering::Relaxed) <= 0 {
                counts.moved_ms.store(now, Ordering::Relaxed);
            }
        });
    }

    pub(super) fn acked(&self, topic: &str, partition: i32) {
        self.each(topic, partition, |counts, now| {
            counts.in_flight.fetch_sub(1, Ordering::Relaxed);
            counts.moved_ms.store(now, Ordering::Relaxed);
        });
    }

    pub(super) fn failed(&self, topic: &str, partition: i32) {
        self.each(topic, partition, |counts, _| {
            counts.in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }

    fn each(&self, topic: &str, partition: i32, change: impl Fn(&Counts, i64)) {
        let now = self.now_ms();
        change(&self.all, now);
        self.with(topic, partition, |counts| change(counts, now));
    }

    fn with<T>(&self, topic: &str, partition: i32, read: impl FnOnce(&Counts) -> T) -> Option<T> {
        let topics = self.topics.load();
        topics.get(topic)?.get(usize::try_from(partition).ok()?).map(read)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_silent_only_while_something_waits() {
        let progress = Progress::default();
        progress.follow(&[("t".to_owned(), 2)]);
        assert_eq!(progress.silence("t", 1), Duration::ZERO);
        progress.sent("t", 1);
        progress.sent("t", 1);
        assert_eq!((progress.in_flight("t", 1), progress.in_flight("t", 0)), (2, 0));
        progress.acked("t", 1);
        progress.failed("t", 1);
        assert_eq!((progress.in_flight("t", 1), progress.silence("t", 1)), (0, Duration::ZERO));
        assert_eq!(progress.silence_overall(), Duration::ZERO);
    }
}
