use std::time::{Duration, Instant};

use chassis::kafka::Settings;
use chassis::kafka::produce::{Acks, Cause, Error, Options, Outcome, Producer, Record};
use chassis::lifecycle::Lifecycle;
use rdkafka::ClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::kit::{DEADLINE, end, settings, topic};

fn record<'a>(topic: &'a str, partition: i32, value: &'a [u8]) -> Record<'a> {
    Record { topic, partition, key: b"key", value, headers: &[("ce_id", b"1"), ("ce_type", b"test")] }
}

async fn one(producer: &Producer, topic: &str) -> Outcome {
    let acks = Acks::new(1);
    producer.send(record(topic, 0, b"value"), &acks, 0);
    acks.wait().await;
    acks.outcome(0)
}

#[tokio::test]
async fn acknowledgements_carry_partition_and_offset() {
    let (lifecycle, name, canary) = (Lifecycle::new(), topic("acks", 3).await, topic("canary", 2).await);
    let producer = Producer::start(&settings(), &Options::default(), &lifecycle).unwrap();
    assert!(producer.warm_up(&[(name.clone(), 3)], &canary, DEADLINE).await.unwrap().is_empty());
    let acks = Acks::new(300);
    for index in 0..300 {
        producer.send(record(&name, index % 3, b"value"), &acks, index as usize);
    }
    acks.wait().await;
    for index in 0..300 {
        let Outcome::Acked { partition, offset, timestamp_ms } = acks.outcome(index) else {
            panic!("{:?}", acks.outcome(index));
        };
        assert_eq!((partition, offset), ((index % 3) as i32, (index / 3) as i64));
        assert!(timestamp_ms > 0);
    }
    assert_eq!(producer.progress().in_flight(&name, 1), 0);
    end(lifecycle).await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_at_once() {
    let (lifecycle, name) = (Lifecycle::new(), topic("refused", 1).await);
    let options = Options { record_bytes: 10_000, ..Options::default() };
    let producer = Producer::start(&settings(), &options, &lifecycle).unwrap();
    assert!(matches!(one(&producer, &name).await, Outcome::Acked { .. }));
    let acks = Acks::new(2);
    producer.send(record(&name, 0, &[7; 20_000]), &acks, 0);
    producer.send(record(&name, 9, b"value"), &acks, 1);
    acks.wait().await;
    assert_eq!((acks.outcome(0), acks.outcome(1)), (Outcome::TooLarge, Outcome::NotPersisted(Cause::UnknownPartition)));
    end(lifecycle).await;
}

#[tokio::test]
async fn without_a_broker_every_record_is_reported_as_not_written_in_time() {
    let lifecycle = Lifecycle::new();
    let options = Options { message_timeout: Duration::from_secs(1), ..Options::default() };
    let producer = Producer::start(&Settings::new("127.0.0.1:1", "test"), &options, &lifecycle).unwrap();
    let begun = Instant::now();
    assert_eq!(one(&producer, "nowhere").await, Outcome::NotPersisted(Cause::TimedOut));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let error = producer.warm_up(&[], "canary", Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1"), "{error}");
    end(lifecycle).await;
}

#[tokio::test]
async fn a_record_whose_answer_is_lost_may_have_been_written() {
    let (lifecycle, cluster) = (Lifecycle::new(), mock());
    let options = Options { message_timeout: Duration::from_secs(2), ..Options::default() };
    let producer = Producer::start(&Settings::new(cluster.bootstrap_servers(), "test"), &options, &lifecycle).unwrap();
    assert!(matches!(one(&producer, "t").await, Outcome::Acked { .. }));
    cluster.broker_round_trip_time(1, Duration::from_secs(30)).unwrap();
    assert_eq!(one(&producer, "t").await, Outcome::PossiblyPersisted(Cause::TimedOut));
    end(lifecycle).await;
}

#[tokio::test]
async fn a_producer_beyond_repair_is_replaced() {
    let (lifecycle, cluster) = (Lifecycle::new(), mock());
    let producer = Producer::start(&Settings::new(cluster.bootstrap_servers(), "test"), &Options::default(), &lifecycle).unwrap();
    assert!(matches!(one(&producer, "t").await, Outcome::Acked { .. }));
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    let failed = one(&producer, "t").await;
    assert!(matches!(failed, Outcome::NotPersisted(_) | Outcome::PossiblyPersisted(_)), "{failed:?}");
    let begun = Instant::now();
    while !matches!(one(&producer, "t").await, Outcome::Acked { .. }) {
        assert!(begun.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    end(lifecycle).await;
}

#[tokio::test]
async fn what_is_unsent_at_the_stop_is_reported() {
    let lifecycle = Lifecycle::new();
    let producer = Producer::start(&Settings::new("127.0.0.1:1", "test"), &Options::default(), &lifecycle).unwrap();
    let acks = Acks::new(1);
    producer.send(record("nowhere", 0, b"value"), &acks, 0);
    end(lifecycle).await;
    acks.wait().await;
    assert_eq!(acks.outcome(0), Outcome::NotPersisted(Cause::Purged));
}

#[tokio::test]
async fn a_missing_topic_fails_the_warm_up() {
    let (lifecycle, canary) = (Lifecycle::new(), topic("canary", 1).await);
    let producer = Producer::start(&settings(), &Options::default(), &lifecycle).unwrap();
    let error = producer.warm_up(&[("chassis-nothing".to_owned(), 1)], &canary, DEADLINE).await.unwrap_err();
    assert!(matches!(&error, Error::Topics(_)) && error.to_string().contains("forebay topics create"), "{error}");
    end(lifecycle).await;
}

/// One broker inside this process that can be told to misbehave.
fn mock() -> MockCluster<'static, impl ClientContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    cluster
}
