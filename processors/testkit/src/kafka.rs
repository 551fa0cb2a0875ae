//! A plain Kafka client for tests: what a stranger's program would do, with nothing of the code under test in it.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use chassis::kafka::Settings;
use chassis::kafka::topics::{self, Spec};

use crate::name::is_stale;
use crate::patience::eventually_async;

/// How long one operation may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it lies.
    pub partition: i32,
    /// Its position there.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, by the topic's setting of append or creation; -1 without.
    pub timestamp_ms: i64,
    /// Its key; empty without one.
    pub key: Vec<u8>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Where a partition lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Which node leads it; -1 when none does.
    pub leader: i32,
    /// How many nodes have it.
    pub replicas: usize,
    /// How many of these are in sync.
    pub in_sync: usize,
}

/// A plain client.
#[derive(Clone)]
pub struct Kafka {
    settings: Settings,
    producer: FutureProducer,
}

impl Kafka {
    /// A client of this broker (`host:port`).
    ///
    /// # Panics
    /// When librdkafka refuses its settings, which do not depend on the address.
    pub fn new(bootstrap: &str) -> Self {
        let settings = Settings::new(bootstrap, "testkit");
        let mut config = settings.client_config();
        // Not idempotent: the producer id alone would take half a second.
        config.set("acks", "all").set("linger.ms", "1").set("partitioner", "murmur2_random");
        let producer = config.create().expect("settings of a plain producer");
        Self { settings, producer }
    }

    /// The settings of its connection, for clients of another kind.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Makes a topic, or finds it with this number of partitions.
    ///
    /// # Panics
    /// When it cannot be made, or is there with another number.
    pub async fn create(&self, topic: &str, partitions: i32) {
        let spec = Spec { name: topic.to_owned(), partitions, config: Vec::new() };
        topics::ensure(&self.settings, &[spec], 1).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Writes one record and returns its partition and offset. Without a partition the key decides, as for a Java client (murmur2).
    ///
    /// # Panics
    /// When it is not acknowledged in time.
    pub async fn produce(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: &[u8],
        value: &[u8],
        headers: &[(&str, &[u8])],
    ) -> (i32, i64) {
        let insert = |all: OwnedHeaders, (key, value): &(&str, &[u8])| all.insert(Header { key, value: Some(*value) });
        let mut record =
            FutureRecord::to(topic).key(key).payload(value).headers(headers.iter().fold(OwnedHeaders::new(), insert));
        record.partition = partition;
        match self.producer.send(record, PATIENCE).await {
            Ok(delivery) => (delivery.partition, delivery.offset),
            Err((error, _)) => panic!("{topic}: {error}"),
        }
    }

    /// All committed records of a topic up to its present end, partition by partition in order.
    ///
    /// # Panics
    /// When the end is not reached in time.
    pub async fn read(&self, topic: &str) -> Vec<Record> {
        let (settings, topic) = (self.settings.clone(), topic.to_owned());
        let reading =
            tokio::task::spawn_blocking(move || read(&settings, &topic).unwrap_or_else(|error| panic!("{topic}: {error}")));
        reading.await.expect("the reading thread panicked")
    }

    /// Where the partitions of a topic lie; nothing while the broker does not say.
    ///
    /// # Panics
    /// When the asking thread does.
    pub async fn placed(&self, topic: &str) -> Vec<Placed> {
        let (settings, topic) = (self.settings.clone(), topic.to_owned());
        let asking = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = settings.log_reader().create().expect("settings of a plain reader");
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).ok()?;
            let placed = |partition: &MetadataPartition| Placed {
                leader: partition.leader(),
                replicas: partition.replicas().len(),
                in_sync: partition.isr().len(),
            };
            Some(metadata.topics().iter().flat_map(MetadataTopic::partitions).map(placed).collect())
        });
        asking.await.expect("the asking thread panicked").unwrap_or_default()
    }

    /// Deletes the records of a partition below `offset`; -1 is its end.
    ///
    /// # Panics
    /// When the broker refuses.
    pub async fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut offsets = TopicPartitionList::new();
        let offset = if offset < 0 { Offset::End } else { Offset::Offset(offset) };
        offsets.add_partition_offset(topic, partition, offset).expect("an offset that can be used");
        let deleted = self.admin().delete_records(&offsets, &AdminOptions::new()).await;
        deleted.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }

    /// Deletes a topic and waits until it is gone.
    ///
    /// # Panics
    /// When the broker does not answer, or the topic stays.
    pub async fn delete_topic(&self, topic: &str) {
        self.admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap_or_else(|error| panic!("{topic}: {error}"));
        eventually_async(PATIENCE, || async {
            let found = topics::describe(&self.settings, PATIENCE).await.ok()?;
            found.iter().all(|(name, _)| name != topic).then_some(())
        })
        .await;
    }

    /// Deletes a consumer group as soon as it has no members.
    ///
    /// # Panics
    /// When it keeps its members.
    pub async fn delete_group(&self, group: &str) {
        let admin = self.admin();
        eventually_async(PATIENCE, || async {
            let deleted = admin.delete_groups(&[group], &AdminOptions::new()).await.ok()?;
            deleted.iter().all(Result::is_ok).then_some(())
        })
        .await;
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.settings.client_config().create().expect("settings of a plain client")
    }

    /// Deletes topics that runs of more than a day ago left behind, by the time in their names.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub async fn sweep(&self) {
        let found = topics::describe(&self.settings, PATIENCE).await.unwrap_or_else(|error| panic!("{error}"));
        let stale: Vec<&str> = found.iter().map(|(name, _)| name).filter(|name| is_stale(name)).collect();
        if stale.is_empty() {
            return;
        }
        // Another run may be sweeping too: a topic that is gone is as good as deleted.
        let _gone = self.admin().delete_topics(&stale, &AdminOptions::new()).await;
    }
}

fn read(settings: &Settings, topic: &str) -> Result<Vec<Record>, KafkaError> {
    let consumer: BaseConsumer = settings.log_reader().create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let partitions: Vec<i32> = metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let (mut records, mut ended) = (Vec::new(), vec![false; partitions.len()]);
    let begun = Instant::now();
    while !ended.iter().all(|ended| *ended) {
        assert!(
            begun.elapsed() < PATIENCE,
            "{topic}: its end was not reached within {PATIENCE:?}, after {} records",
            records.len()
        );
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => records.push(record(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let position = partitions.iter().position(|known| *known == partition);
                ended[position.expect("an end of an assigned partition")] = true;
            }
            // the client finds its way to another broker, or to this one when it is back
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => return Err(error),
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

pub(crate) fn record(message: &impl Message) -> Record {
    let header = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default(),
    }
}

impl Record {
    /// The text of a header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }

    /// The key as text; a key that is none is shown as such.
    pub fn subject(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }
}
