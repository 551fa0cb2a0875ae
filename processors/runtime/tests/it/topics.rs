//! Topics that are not as the catalog has them: no worker starts on them, whoever embeds the engine.

use std::sync::Arc;

use chassis::kafka::topics::{Spec, ensure};
use runtime::logic;
use runtime::topics::of_stream;
use state::Memory;

use crate::links::{ORDERS, Orders, STOCK};
use crate::streams::{SHARDS, Streams};

/// What a start says where one of the topics is made otherwise.
async fn refused(name: &str, change: impl Fn(&Streams, &mut Spec)) -> String {
    let prefix = format!("{}.", testkit::unique(name));
    let streams = Streams::attach(&prefix, &[("orders", ORDERS), ("stock", STOCK)], Arc::new(Memory::new())).await;
    let mut specs: Vec<_> = streams.catalog.streams().iter().flat_map(|stream| of_stream(stream, &streams.topics)).collect();
    specs.iter_mut().for_each(|spec| change(&streams, spec));
    ensure(streams.kafka.settings(), &specs, 1).await.unwrap();
    let refused = streams.try_start(logic::of(Orders)).await.unwrap_err().to_string();
    refused.replace(&prefix, "")
}

/// The sentence for a topic with one partition too many.
fn sentence(topic: &str) -> String {
    format!(
        "topic {topic} has {} partitions and the catalog says {SHARDS}: the number is fixed for life, so correct the catalog or use \
         another topic prefix",
        SHARDS + 1
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_does_not_start_on_results_with_another_partition_count() {
    let more = |streams: &Streams, spec: &mut Spec| spec.partitions += i32::from(spec.name == streams.topics.results("stock"));
    assert_eq!(refused("follow-count", more).await, sentence("stock.results"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_does_not_start_on_events_with_another_partition_count() {
    let more = |streams: &Streams, spec: &mut Spec| spec.partitions += i32::from(spec.name == streams.topics.events("stock"));
    assert_eq!(refused("send-count", more).await, sentence("stock.events"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_starts_on_a_topic_without_the_brokers_time() {
    let untimed = |streams: &Streams, spec: &mut Spec| {
        if spec.name == streams.topics.log("orders") {
            spec.config.clear();
        }
    };
    let said = refused("untimed", untimed).await;
    assert!(said.starts_with("topic orders.log has message.timestamp.type=CreateTime and must have"), "{said}");
}
