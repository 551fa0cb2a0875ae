//! An operator moves a shard on by hand.

use crate::deployment::{Deployment, PATIENCE};

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_is_moved_on_only_while_nobody_runs_and_the_audit_names_what_was_passed_over() {
    let deployment = Deployment::new("seek").await;
    let (results, shard) = (deployment.topics.results("flights"), deployment.partition("ATL"));
    let worker = deployment.start("slot").await;
    for n in 0..2 {
        deployment.depart("ATL", 5, &format!("before {n}")).await;
    }
    deployment.await_records(&results, 2).await;
    let refused = deployment.seek(shard, "flights.events", 3).await.unwrap_err();
    assert!(refused.contains("has members") && refused.contains("slot"), "{refused}");
    Deployment::stop(worker).await;
    deployment.depart("ATL", 5, "passed over").await;
    deployment.depart("ATL", 5, "after").await;

    // the session of whoever was a member last ends by its time-out
    let alone = async |topic: &str, offset| {
        let sought = || async {
            let sought = deployment.seek(shard, topic, offset).await;
            let waits = sought.as_ref().is_err_and(|refused| refused.contains("has members"));
            (!waits).then_some(sought)
        };
        testkit::eventually_async(PATIENCE, sought).await
    };
    assert!(alone("flights.events", 1).await.unwrap_err().contains("positions only rise"));
    assert!(alone("orders.events", 3).await.unwrap_err().contains("there are: flights.events"));
    assert!(alone("flights.events", 5).await.unwrap_err().contains("ends at 4"));
    alone("flights.events", 3).await.unwrap();

    let worker = deployment.start("slot").await;
    deployment.await_records(&results, 3).await;
    Deployment::stop(worker).await;
    let report = deployment.audit(false).await;
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.offset, finding.what.contains("is lost"))).collect();
    assert_eq!(found, [(Some(2), true)], "{:#?}", report.findings);
}
