//! Each event has one effect.

use testkit::checkers;

use crate::deployment::Deployment;

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_one_result_over_restarts_of_the_worker() {
    let deployment = Deployment::new("once").await;
    let airports = ["ATL", "DTW", "LAS", "SFO"];
    for round in 0..3 {
        let worker = deployment.start("slot").await;
        for n in 0..60 {
            let airport = airports[n % airports.len()];
            deployment.depart(airport, 5, &format!("{round}-{n}")).await;
        }
        // stopped with work left: the next round takes it up
        Deployment::stop(worker).await;
    }
    let worker = deployment.start("another-slot").await;
    let results = deployment.await_records(&deployment.topics.results("flights"), 180).await;
    checkers::results(&results).exactly_once(180, 1);
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_event_has_one_result() {
    let deployment = Deployment::new("repeat").await;
    let worker = deployment.start("slot").await;
    for _ in 0..3 {
        deployment.depart("ATL", 5, "the same").await;
    }
    deployment.depart("ATL", 5, "another").await;
    let results = deployment.await_records(&deployment.topics.results("flights"), 2).await;
    checkers::results(&results).exactly_once(2, 1);
    Deployment::stop(worker).await;
}
