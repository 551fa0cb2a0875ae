//! What waits for its time, and rows of earlier versions, on the real engines.

use crate::deployment::Deployment;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_carried_out_once_by_whoever_owns_the_shard_then() {
    let deployment = Deployment::new("agenda").await;
    let first = deployment.start("one").await;
    deployment.depart("ATL", 669, "sets a timer").await;
    deployment.depart("ATL", 668, "waits for another flight").await;
    deployment.depart("ATL", 5, "waits behind it").await;
    deployment.depart("JFK", 5, "waits for nobody").await;
    // all four are taken up: the timer and the held subject lie in the agenda
    let results = deployment.await_records(&deployment.topics.results("flights"), 1).await;
    assert_eq!(results[0].key, b"JFK");
    Deployment::stop(first).await;

    let second = deployment.start("two").await;
    let results = deployment.await_records(&deployment.topics.results("flights"), 4).await;
    let causes: Vec<_> =
        results.iter().filter(|record| record.key == b"ATL").map(|record| record.header("cause").unwrap()).collect();
    let key = |id: &str| schemas::key::EventKey::of("/test", id, None).to_string();
    assert_eq!(causes, ["t/ATL/count", &key("waits for another flight"), &key("waits behind it")]);
    testkit::eventually_async(crate::deployment::PATIENCE, || async {
        (deployment.stored_flights("ATL").await == Some(3)).then_some(())
    })
    .await;
    Deployment::stop(second).await;
    let report = deployment.audit(false).await;
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_earlier_schema_is_read_with_the_present_one() {
    let deployment = Deployment::new("older-rows").await;
    let avsc = r#"{"type":"record","name":"Airport","namespace":"forebay.flights","fields":[
        {"name":"last_departed_at","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"distance_miles_sum","type":"long"},
        {"name":"delayed_15","type":"long"},{"name":"delay_minutes_max","type":"int"},
        {"name":"delay_minutes_sum","type":"long"},{"name":"flights","type":"long"}]}"#;
    // the fields stood the other way round, and there was one that is gone: origin "ATL", five zeros, 41 flights
    deployment.store_older("ATL", avsc, b"\x06ATL\0\0\0\0\0\x52").await;
    let worker = deployment.start("slot").await;
    deployment.depart("ATL", 5, "the next one").await;
    deployment.await_records(&deployment.topics.results("flights"), 1).await;
    testkit::eventually_async(crate::deployment::PATIENCE, || async {
        (deployment.stored_flights("ATL").await == Some(42)).then_some(())
    })
    .await;
    assert_eq!(deployment.kafka.read(&deployment.topics.dead("flights")).await.len(), 0);
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_is_attempted_until_it_has_an_outcome_and_the_outcome_is_an_input() {
    let deployment = Deployment::new("effects").await;
    let worker = deployment.start("slot").await;
    deployment.depart("ATL", 671, "asks").await;
    let results = deployment.await_records(&deployment.topics.results("flights"), 1).await;
    assert!(results[0].header("cause").unwrap().starts_with("e/"));
    testkit::eventually_async(crate::deployment::PATIENCE, || async {
        (deployment.stored_flights("ATL").await == Some(1)).then_some(())
    })
    .await;
    Deployment::stop(worker).await;
    let report = deployment.audit(false).await;
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
