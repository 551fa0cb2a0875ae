//! The group's offsets are wrong; the log's positions win.

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use testkit::checkers;

use crate::deployment::{Deployment, PATIENCE};

const MISMATCHES: &str = "forebay_runtime_offset_trailer_mismatch_total{stream=\"flights\"}";

/// Runs a worker, lets `spoil` change the group's offsets while none runs, and runs one again.
async fn survives(name: &str, spoil: impl AsyncFn(&Deployment)) {
    let metrics = chassis::telemetry::prometheus();
    let deployment = Deployment::new(name).await;
    let results = deployment.topics.results("flights");
    let worker = deployment.start("slot").await;
    for n in 0..10 {
        deployment.depart("ATL", 5, &format!("before {n}")).await;
    }
    deployment.await_records(&results, 10).await;
    Deployment::stop(worker).await;
    spoil(&deployment).await;
    let before = counted(&metrics.render());
    let worker = deployment.start("slot").await;
    for n in 0..10 {
        deployment.depart("ATL", 5, &format!("after {n}")).await;
    }
    let results = deployment.await_records(&results, 20).await;
    checkers::results(&results).exactly_once(20, 1);
    assert!(counted(&metrics.render()) > before, "somebody is told");
    Deployment::stop(worker).await;
}

fn counted(metrics: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(MISMATCHES));
    line.and_then(|line| line.split(' ').next_back()?.parse().ok()).unwrap_or(0)
}

/// Commits `offset` for a subject's partition; possible once the static member that is gone has lost its session.
async fn commit(deployment: &Deployment, offset: i64) {
    let mut config = deployment.kafka.settings().client_config();
    let consumer: BaseConsumer = config.set("group.id", deployment.group()).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    let topic = deployment.topics.events("flights");
    offsets.add_partition_offset(&topic, deployment.partition("ATL"), Offset::Offset(offset)).unwrap();
    testkit::eventually(PATIENCE, || consumer.commit(&offsets, CommitMode::Sync).ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_the_group_set_to_zero_change_nothing() {
    survives("zeroed", async |deployment: &Deployment| commit(deployment, 0).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_the_group_moved_on_lose_nothing() {
    survives("moved", async |deployment: &Deployment| commit(deployment, 15).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_offsets_of_the_group_change_nothing() {
    survives("deleted", async |deployment: &Deployment| deployment.kafka.delete_group(&deployment.group()).await).await;
}
