//! A producer for many records: they wait in a queue, and acknowledgements are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::kafka::Kafka;

/// How long to wait when the queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Sends without waiting. A record that may not have arrived is sent again until it is acknowledged, so that one may lie
/// in the log twice after an outage: whoever reads must find its duplicates.
pub struct Pipeline {
    producer: ThreadedProducer<Counting>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

struct Counting(Arc<Counts>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.acknowledged } else { &self.0.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pipeline {
    /// A pipeline to the broker of this client.
    ///
    /// # Panics
    /// When librdkafka refuses its settings, which do not depend on the address.
    pub fn new(kafka: &Kafka) -> Self {
        let counts = Arc::<Counts>::default();
        let mut config = kafka.settings().client_config();
        config.set("acks", "all").set("linger.ms", "5").set("compression.type", "lz4").set("message.timeout.ms", "0");
        let producer = config.create_with_context(Counting(counts.clone())).expect("settings of a plain producer");
        Self { producer, counts }
    }

    /// Puts a record into the queue; blocks while that is full.
    ///
    /// # Panics
    /// When the client refuses the record.
    pub fn send(&self, topic: &str, partition: i32, key: &[u8], value: &[u8], headers: &[(&str, &[u8])]) {
        let insert = |all: OwnedHeaders, (key, value): &(&str, &[u8])| all.insert(Header { key, value: Some(*value) });
        let headers = headers.iter().fold(OwnedHeaders::new(), insert);
        let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value).headers(headers);
        while let Err((error, refused)) = self.producer.send(record) {
            let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            assert!(full, "{topic}: {error}");
            std::thread::sleep(FULL_PAUSE);
            record = refused;
        }
    }

    /// Records that the broker has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.counts.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until the queue is empty.
    ///
    /// # Panics
    /// When that takes longer than `deadline`, or a record was refused for good.
    pub fn flush(&self, deadline: Duration) {
        self.producer.flush(deadline).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(self.counts.refused.load(Ordering::Relaxed), 0, "records that the broker refused for good");
    }
}
