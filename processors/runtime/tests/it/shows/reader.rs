//! Results of a show as they come, in constant memory.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use schemas::datum::Datum;
use schemas::flights::FlightRecorded;
use testkit::Kafka;

/// A result of a show.
pub(super) struct Told {
    /// Frame that told it, ms.
    pub(super) at_ms: i64,
    /// Dense per subject.
    pub(super) seq: i64,
    /// What it says.
    pub(super) record: FlightRecorded,
}

pub(super) struct Reader {
    consumer: BaseConsumer,
}

impl Reader {
    /// Reads committed results from the first one on.
    pub(super) fn new(kafka: &Kafka, topic: &str, partitions: i32) -> Self {
        let mut config = kafka.settings().log_reader();
        config.set("enable.partition.eof", "false").set("queued.max.messages.kbytes", "16384");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        Self { consumer }
    }

    /// Takes what comes within this time.
    pub(super) fn take(&self, within: Duration, mut take: impl FnMut(Told)) {
        let begun = Instant::now();
        while let Some(left) = within.checked_sub(begun.elapsed()) {
            let Some(message) = self.consumer.poll(left) else { continue };
            let message = message.unwrap();
            let (_, datum) = schemas::frame::split(message.payload().unwrap()).unwrap();
            let headers = message.headers().unwrap();
            let seq = headers.iter().find(|header| header.key == "seq").unwrap().value.unwrap();
            take(Told {
                at_ms: message.timestamp().to_millis().unwrap(),
                seq: std::str::from_utf8(seq).unwrap().parse().unwrap(),
                record: FlightRecorded::decode(datum).unwrap(),
            });
        }
    }
}
