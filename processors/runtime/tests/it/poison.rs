//! Inputs that cannot be processed end as dead letters; their neighbours are not harmed.

use crate::deployment::Deployment;

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_record_of_a_native_producer_is_one_dead_letter_with_its_bytes() {
    let deployment = Deployment::new("poison").await;
    let worker = deployment.start("slot").await;
    let mut cut = Vec::new();
    schemas::frame::begin(deployment.ids.id_of("forebay.flights.FlightDeparted").unwrap(), &mut cut);
    cut.push(2);
    deployment.send("ATL", b"{\"not\":\"avro\"}", "unframed").await;
    deployment.send("ATL", &cut, "cut short").await;
    deployment.send("ATL", &[0, 0x7f, 0xff, 0xff, 0xff, 1], "unknown id").await;
    deployment.depart("ATL", 666, "panics").await;
    deployment.depart("ATL", 667, "terminal").await;
    deployment.depart("ATL", 5, "fine").await;

    let dead = deployment.await_records(&deployment.topics.dead("flights"), 5).await;
    let reasons: Vec<_> = dead.iter().map(|record| record.header("dead_reason").unwrap()).collect();
    assert_eq!(reasons, ["undecodable", "undecodable", "unknown_schema", "panic", "terminal"]);
    assert_eq!(dead[0].value.as_deref(), Some(&b"{\"not\":\"avro\"}"[..]));
    assert_eq!(dead[0].header("ce_id"), Some("unframed"));
    assert!(dead[0].header("dead_origin").unwrap().starts_with("flights.events/"));
    let results = deployment.await_records(&deployment.topics.results("flights"), 1).await;
    assert_eq!(results.len(), 1);
    Deployment::stop(worker).await;
}
