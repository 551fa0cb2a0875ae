//! How far a worker is behind its inputs, from what the client tells every few seconds anyway.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::Statistics;

use crate::metrics::{self, Place};

/// Stable ends by topic and partition: offset, and since when it has not moved although the end is above it.
type StableEnds = HashMap<(String, i32), (i64, Instant)>;

/// Lag and stable ends of the input partitions of one worker.
pub(super) struct Lag {
    place: Place,
    ends: Mutex<StableEnds>,
}

impl Lag {
    pub(super) fn new(place: Place) -> Self {
        Self { place, ends: Mutex::default() }
    }

    /// Takes a look at the client's statistics and sets the gauges.
    pub(super) fn look(&self, statistics: &Statistics) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, held) = measure(&mut ends, statistics, Instant::now());
        metrics::lag(&self.place, records, held);
    }
}

/// Records up to the stable ends that were not polled, and for how long an end has been held back at most.
fn measure(ends: &mut StableEnds, statistics: &Statistics, now: Instant) -> (i64, Duration) {
    let before = std::mem::take(ends);
    let (mut records, mut oldest) = (0, now);
    for (topic, partitions) in &statistics.topics {
        for (number, partition) in &partitions.partitions {
            if !partition.desired || partition.app_offset < 0 || partition.ls_offset < 0 {
                continue;
            }
            records += (partition.ls_offset - partition.app_offset).max(0);
            if partition.hi_offset > partition.ls_offset {
                let key = (topic.clone(), *number);
                let same = before.get(&key).filter(|(end, _)| *end == partition.ls_offset);
                let since = same.map_or(now, |(_, since)| *since);
                oldest = oldest.min(since);
                ends.insert(key, (partition.ls_offset, since));
            }
        }
    }
    (records, now.duration_since(oldest))
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::{Partition, Topic};

    use super::*;

    fn told(app: i64, stable: i64, high: i64) -> Statistics {
        let partition = Partition { desired: true, app_offset: app, ls_offset: stable, hi_offset: high, ..Partition::default() };
        let topic = Topic { partitions: HashMap::from([(3, partition)]), ..Topic::default() };
        Statistics { topics: HashMap::from([("events".to_owned(), topic)]), ..Statistics::default() }
    }

    #[test]
    fn lag_counts_to_the_stable_end_and_a_held_end_grows_older() {
        let (mut ends, begun) = (StableEnds::new(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut look = |statistics: Statistics, seconds| measure(&mut ends, &statistics, after(seconds));
        assert_eq!(look(told(5, 9, 9), 0), (4, Duration::ZERO));
        assert_eq!(look(told(9, 9, 12), 5), (0, Duration::ZERO));
        assert_eq!(look(told(9, 9, 14), 15), (0, Duration::from_secs(10)));
        assert_eq!(look(told(9, 14, 15), 20), (5, Duration::ZERO), "the end moved");
    }
}
