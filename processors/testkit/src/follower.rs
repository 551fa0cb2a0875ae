//! A reader of committed records that goes on through outages, one record at a time: for topics that do not fit into memory.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Kafka, Record, record};

/// How long the broker may take to describe the topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a topic from its beginning, each partition in order.
pub struct Follower {
    consumer: BaseConsumer,
}

impl Follower {
    /// A reader of all partitions that the topic has now. Blocks.
    ///
    /// # Panics
    /// When the broker does not describe the topic in time.
    pub fn new(kafka: &Kafka, topic: &str) -> Self {
        let mut config = kafka.settings().log_reader();
        config.set("enable.partition.eof", "false");
        let consumer: BaseConsumer = config.create().expect("settings of a plain reader");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap_or_else(|error| panic!("{topic}: {error}"));
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id) {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset that can be used");
        }
        consumer.assign(&assignment).unwrap_or_else(|error| panic!("{topic}: {error}"));
        Self { consumer }
    }

    /// The next record; `None` when there was none for `patience`. Blocks. An error of the connection is none of the reader:
    /// the client tries again by itself.
    pub fn next(&self, patience: Duration) -> Option<Record> {
        match self.consumer.poll(patience)? {
            Ok(message) => Some(record(&message)),
            Err(_) => None,
        }
    }
}
