//! How far a worker is behind its inputs, from what the client tells every few seconds anyway.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

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
        let before = std::mem::take(&mut *ends);
        let (mut records, mut oldest) = (0, None::<Instant>);
        for (topic, partitions) in &statistics.topics {
            for (number, partition) in &partitions.partitions {
                if !partition.desired || partition.app_offset < 0 || partition.ls_offset < 0 {
                    continue;
                }
                records += (partition.ls_offset - partition.app_offset).max(0);
                if partition.hi_offset > partition.ls_offset {
                    let key = (topic.clone(), *number);
                    let stuck = before.get(&key).filter(|(end, _)| *end == partition.ls_offset);
                    let since = stuck.map_or_else(Instant::now, |(_, since)| *since);
                    oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
                    ends.insert(key, (partition.ls_offset, since));
                }
            }
        }
        metrics::lag(&self.place, records, oldest.map(|since| since.elapsed()).unwrap_or_default());
    }
}
