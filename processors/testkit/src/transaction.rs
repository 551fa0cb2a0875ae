//! A transactional producer for tests: what a processor's commit or abort looks like to readers.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::kafka::Kafka;

/// How long one step may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// One producer; one transaction at a time.
#[derive(Clone)]
pub struct Transactions {
    producer: Arc<ThreadedProducer<DefaultProducerContext>>,
}

impl Transactions {
    /// A producer that fences every earlier one of the same id.
    ///
    /// # Panics
    /// When the broker does not answer in time.
    pub async fn new(kafka: &Kafka, transactional_id: &str) -> Self {
        Self::with_timeout(kafka, transactional_id, Duration::from_secs(10)).await
    }

    /// The same, with transactions that the broker leaves open for `timeout`.
    ///
    /// # Panics
    /// As [`Transactions::new`] does.
    pub async fn with_timeout(kafka: &Kafka, transactional_id: &str, timeout: Duration) -> Self {
        let mut config = kafka.settings().transactional(transactional_id);
        config.set("transaction.timeout.ms", timeout.as_millis().to_string());
        let producer: ThreadedProducer<_> = config.create().expect("settings of a transactional producer");
        let made = Self { producer: Arc::new(producer) };
        made.step(|producer| producer.init_transactions(PATIENCE)).await;
        made
    }

    /// Begins a transaction.
    ///
    /// # Panics
    /// When one is open.
    pub fn begin(&self) {
        self.producer.begin_transaction().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Adds a record; `timestamp_ms` is since the Unix epoch.
    ///
    /// # Panics
    /// When the local queue is full.
    pub fn send(&self, topic: &str, partition: i32, timestamp_ms: i64, key: &[u8], value: &[u8], headers: &[(&str, &[u8])]) {
        let insert = |all: OwnedHeaders, (key, value): &(&str, &[u8])| all.insert(Header { key, value: Some(*value) });
        let record = BaseRecord::to(topic)
            .partition(partition)
            .timestamp(timestamp_ms)
            .key(key)
            .payload(value)
            .headers(headers.iter().fold(OwnedHeaders::new(), insert));
        self.producer.send(record).unwrap_or_else(|(error, _)| panic!("{topic}: {error}"));
    }

    /// Waits until the broker has the records, and leaves the transaction open.
    ///
    /// # Panics
    /// When the broker does not confirm in time.
    pub async fn flush(&self) {
        self.step(|producer| producer.flush(PATIENCE)).await;
    }

    /// Commits.
    ///
    /// # Panics
    /// When the broker does not confirm in time.
    pub async fn commit(&self) {
        self.step(|producer| producer.commit_transaction(PATIENCE)).await;
    }

    /// Aborts, after the records have reached the broker.
    ///
    /// # Panics
    /// When the broker does not confirm in time.
    pub async fn abort(&self) {
        self.step(|producer| producer.flush(PATIENCE).and_then(|()| producer.abort_transaction(PATIENCE))).await;
    }

    async fn step(
        &self,
        step: impl FnOnce(&ThreadedProducer<DefaultProducerContext>) -> rdkafka::error::KafkaResult<()> + Send + 'static,
    ) {
        let producer = Arc::clone(&self.producer);
        let done = tokio::task::spawn_blocking(move || step(&producer)).await.expect("the producing thread panicked");
        done.unwrap_or_else(|error| panic!("{error}"));
    }
}
