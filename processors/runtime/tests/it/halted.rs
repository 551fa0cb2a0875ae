//! Topics lose what a shard still needs: the shard stops with a diagnosis, the others run on.

use testkit::checkers;

use crate::deployment::Deployment;

/// A deployment whose worker has processed two events each of two airports, and was stopped.
async fn begun(name: &str) -> Deployment {
    let deployment = Deployment::new(name).await;
    assert_ne!(deployment.partition("ATL"), deployment.partition("DTW"));
    let worker = deployment.start("slot").await;
    for n in 0..2 {
        deployment.depart("ATL", 5, &format!("a{n}")).await;
        deployment.depart("DTW", 5, &format!("d{n}")).await;
    }
    deployment.await_records(&deployment.topics.results("flights"), 4).await;
    Deployment::stop(worker).await;
    deployment
}

#[tokio::test(flavor = "multi_thread")]
async fn events_deleted_before_they_were_processed_halt_their_shard_only() {
    let deployment = begun("gone").await;
    let (events, results) = (deployment.topics.events("flights"), deployment.topics.results("flights"));
    for n in 2..5 {
        deployment.depart("ATL", 5, &format!("a{n}")).await;
    }
    deployment.kafka.delete_records(&events, deployment.partition("ATL"), 4).await;
    let worker = deployment.start("slot").await;
    let said = Deployment::says(&worker, "1 are halted").await;
    assert!(said.contains("the events between were deleted unprocessed"), "{said}");
    deployment.depart("DTW", 5, "d2").await;
    deployment.await_records(&results, 5).await;
    Deployment::stop(worker).await;

    let worker = deployment.start_as("slot", |options| options.accept_input_gap = true).await;
    // two of three were deleted
    let records = deployment.await_records(&results, 6).await;
    checkers::results(&records).exactly_once(6, 1);
    Deployment::says(&worker, "16 shards run, 0 are halted").await;
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_a_parked_input_halts_its_shard_after_one_fresh_start() {
    let deployment = Deployment::new("torn").await;
    let worker = deployment.start("slot").await;
    // waits for another flight, and is tried again after a while
    deployment.depart("ATL", 668, "waits").await;
    deployment.await_row("ATL", "~park/0").await;
    Deployment::stop(worker).await;
    deployment.lose_row("ATL", "~park/0").await;
    let worker = deployment.start("slot").await;
    let said = Deployment::says(&worker, "1 are halted").await;
    assert!(said.contains("the parked input 0 of ATL is missing") && said.contains("torn view"), "{said}");
    deployment.depart("DTW", 5, "goes on").await;
    deployment.await_records(&deployment.topics.results("flights"), 1).await;
    Deployment::stop(worker).await;
    assert!(!deployment.audit(false).await.is_clean(), "the audit finds it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_emptied_by_retention_goes_on_by_itself_when_the_store_has_all_of_it() {
    let deployment = begun("emptied").await;
    deployment.kafka.delete_records(&deployment.topics.log("flights"), deployment.partition("ATL"), -1).await;
    let worker = deployment.start("slot").await;
    deployment.depart("ATL", 5, "a2").await;
    let records = deployment.await_records(&deployment.topics.results("flights"), 5).await;
    checkers::results(&records).exactly_once(5, 1);
    Deployment::says(&worker, "16 shards run, 0 are halted").await;
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_missing_from_log_and_store_halt_the_shard_until_an_operator_accepts_it() {
    let mut deployment = begun("gap").await;
    deployment.kafka.delete_records(&deployment.topics.log("flights"), deployment.partition("ATL"), -1).await;
    deployment.lose_store();
    let worker = deployment.start("slot").await;
    let said = Deployment::says(&worker, "1 are halted").await;
    assert!(said.contains("frames between are lost") && said.contains("--accept-log-gap"), "{said}");
    Deployment::stop(worker).await;

    let worker = deployment.start_as("slot", |options| options.accept_log_gap = true).await;
    Deployment::says(&worker, "16 shards run, 0 are halted").await;
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_made_anew_halts_the_shards_that_had_one() {
    let deployment = begun("anew").await;
    deployment.kafka.delete_topic(&deployment.topics.log("flights")).await;
    deployment.make_topics().await;
    let worker = deployment.start("slot").await;
    let said = Deployment::says(&worker, "14 shards run, 2 are halted").await;
    assert!(said.contains("the log was truncated or recreated"), "{said}");
    Deployment::stop(worker).await;
}
