//! The consumer's side of the group: what a rebalance callback saw, kept until the loop looks.
//!
//! Callbacks run inside `poll` on the loop's own thread, when no transaction is open. Generation, member id and the
//! metadata object are captured inside the callback (F1, F2); the shards are read back right after `poll` returned,
//! before anything is assigned, so nothing is delivered meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chassis::ffi;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};

use super::lag::Lag;
use crate::metrics::{self, Place};

/// What the group decided.
pub(crate) enum Rebalance {
    /// These partitions are ours; proven metadata comes along.
    Assigned { shards: Vec<i32>, generation: i32, metadata: Arc<ConsumerGroupMetadata> },
    /// An assignment without generation or member id: it must never be used (F1).
    Unproven,
    /// Everything is asked back and still ours until the loop gives it back.
    Leaving,
    /// Everything was taken back.
    Revoked,
}

/// Context of the worker's consumer.
pub(crate) struct GroupContext {
    happened: Mutex<VecDeque<Rebalance>>,
    lag: Lag,
    place: Place,
    inputs: Vec<String>,
    busy: AtomicBool,
}

impl GroupContext {
    pub(crate) fn new(place: Place, inputs: Vec<String>) -> Self {
        Self { happened: Mutex::default(), lag: Lag::new(place.clone()), place, inputs, busy: AtomicBool::new(false) }
    }

    /// The oldest decision nobody looked at yet.
    pub(crate) fn take(&self) -> Option<Rebalance> {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// While attempts at effects are under way, or frames on their way to the store, the loop gives shards back itself, after
    /// a moment.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Shards of which every input topic is in the assignment.
    fn whole(&self, partitions: &TopicPartitionList) -> Vec<i32> {
        let (whole, part) = whole(&self.inputs, partitions);
        metrics::incomplete(&self.place, part.len());
        if !part.is_empty() {
            tracing::error!(shards = ?part, inputs = ?self.inputs, "shards came without all their input topics and do not run: do all workers run one version?");
        }
        whole
    }

    fn put(&self, rebalance: Rebalance) {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

impl ClientContext for GroupContext {
    fn stats(&self, statistics: Statistics) {
        self.lag.look(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "consumer");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if self.busy.load(Ordering::Relaxed) && !consumer.assignment_lost() {
                self.put(Rebalance::Leaving);
                return;
            }
            // no transaction can be open here, so giving the partitions back at once is safe
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "unassign");
            }
            self.put(Rebalance::Revoked);
            return;
        }
        let metadata = consumer.group_metadata();
        let proven = ffi::group_identity(consumer).filter(|(generation, member)| *generation >= 0 && !member.is_empty());
        self.put(match (metadata, proven) {
            (Some(metadata), Some((generation, _))) => {
                Rebalance::Assigned { shards: self.whole(partitions), generation, metadata: Arc::new(metadata) }
            }
            _ => Rebalance::Unproven,
        });
    }
}

/// Shards of which every input topic is in the assignment, and the others. Those must not run: they would miss inputs.
/// That happens while workers of two versions follow different streams, and ends with it.
fn whole(inputs: &[String], partitions: &TopicPartitionList) -> (Vec<i32>, Vec<i32>) {
    let mut found = BTreeMap::<i32, usize>::new();
    for element in partitions.elements() {
        *found.entry(element.partition()).or_default() += usize::from(inputs.iter().any(|input| input == element.topic()));
    }
    let (whole, part): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, topics)| *topics == inputs.len());
    let numbers = |shards: Vec<(i32, usize)>| shards.into_iter().map(|(shard, _)| shard).collect();
    (numbers(whole), numbers(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_without_all_its_topics_is_not_whole() {
        let inputs = ["a.events".to_owned(), "b.results".to_owned()];
        let mut partitions = TopicPartitionList::new();
        for (topic, partition) in [("a.events", 0), ("b.results", 0), ("a.events", 1), ("b.results", 2)] {
            partitions.add_partition(topic, partition);
        }
        assert_eq!(whole(&inputs, &partitions), (vec![0], vec![1, 2]));
        assert_eq!(whole(&inputs[..1], &partitions).0, [0, 1], "others' topics do not count");
    }
}
