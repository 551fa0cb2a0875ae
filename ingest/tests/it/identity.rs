//! Repeats: by id, by `Idempotency-Key`, inside and across requests.

use serde_json::{Value, json};

use crate::http::{Answer, post, post_json};
use crate::log;
use crate::server::shared;

const EVENTS: &str = "/v1/streams/orders/events";

fn note(id: &str, text: &str) -> Value {
    json!({"type": "order.note", "id": id, "subject": id, "data": {"text": text}})
}

async fn keyed(key: &str, body: &Value) -> Answer {
    post(EVENTS, &[("idempotency-key", key)], body.to_string()).await
}

#[tokio::test]
async fn a_repeated_id_is_a_duplicate_with_the_first_position() {
    let id = testkit::unique("again");
    let first = post_json(EVENTS, &note(&id, "x")).await;
    let second = post_json(EVENTS, &note(&id, "x")).await;
    second.is_verdict(200, "duplicate");
    for member in ["stream", "partition", "offset", "durability", "id", "subject"] {
        assert_eq!(first.body[member], second.body[member], "{member}");
    }
    assert!(second.body["first_seen"].as_str().unwrap().ends_with('Z'));
    assert!(second.header("location").is_empty());
}

#[tokio::test]
async fn a_repeated_id_with_other_content_is_refused() {
    let id = testkit::unique("reused");
    post_json(EVENTS, &note(&id, "x")).await.is_verdict(200, "accepted");
    let other = post_json(EVENTS, &note(&id, "y")).await;
    other.is_problem(422, "invalid-event").is_verdict(422, "invalid");
    assert_eq!(other.body["reason"], "id_reused");
    // another source is another event
    let mut elsewhere = note(&id, "y");
    elsewhere["source"] = "/tests/elsewhere".into();
    post_json(EVENTS, &elsewhere).await.is_verdict(200, "accepted");
}

#[tokio::test]
async fn an_idempotency_key_makes_a_request_repeatable() {
    let key = testkit::unique("key");
    let subject = format!("{key}/s");
    let event = json!({"type": "order.note", "subject": subject, "data": {"text": "x"}});
    let first = keyed(&format!("\"{key}\""), &event).await;
    assert_eq!(first.is_verdict(200, "accepted").body["id"], key);
    assert_eq!(first.header("idempotent-replayed"), "");
    let second = keyed(&key, &event).await;
    assert_eq!(second.is_verdict(200, "duplicate").body["offset"], first.body["offset"]);
    assert_eq!(second.header("idempotent-replayed"), "true");
    let other = json!({"type": "order.note", "subject": subject, "data": {"text": "y"}});
    keyed(&key, &other).await.is_problem(422, "idempotency-key-reused");
    // the key belongs to its route
    let elsewhere = post("/v1/beacons", &[("idempotency-key", &key)], r#"{"place":"KEY","strength":1}"#).await;
    elsewhere.is_verdict(200, "accepted");
}

#[tokio::test]
async fn a_batch_with_a_key_numbers_its_events() {
    let key = testkit::unique("batchkey");
    let event = |text: &str| json!({"type": "order.note", "subject": key, "data": {"text": text}});
    let batch = json!([event("a"), event("b")]);
    let first = keyed(&key, &batch).await;
    assert_eq!((first.status, &first.body["events"][1]["id"]), (200, &json!(format!("{key}/1"))));
    let second = keyed(&key, &batch).await;
    assert_eq!((second.status, &second.body["counts"]["duplicate"]), (200, &json!(2)));
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.body["events"][0]["offset"], first.body["events"][0]["offset"]);
}

#[tokio::test]
async fn a_key_whose_request_wrote_nothing_is_free_again() {
    let key = testkit::unique("freed");
    keyed(&key, &json!({"type": "order.note", "subject": key, "data": {}})).await.is_problem(422, "invalid-event");
    let event = json!({"type": "order.note", "subject": key, "data": {"text": "x"}});
    keyed(&key, &event).await.is_verdict(200, "accepted");
}

#[tokio::test]
async fn a_type_may_demand_that_repeats_can_be_told() {
    let order = testkit::unique("packs");
    let without = post("/v1/packs", &[("x-order", &order)], r#"{"boxes":1}"#).await;
    without.is_problem(400, "idempotency-key-missing");
    let with_id = post("/v1/packs", &[("x-order", &order), ("ce-id", &order)], r#"{"boxes":1}"#).await;
    with_id.is_verdict(200, "accepted");
    let batch = post("/v1/packs", &[("x-order", &order), ("ce-id", &order)], r#"[{"boxes":1}]"#).await;
    batch.is_problem(400, "malformed-request");
}

#[tokio::test]
async fn of_many_repeats_at_once_one_is_written() {
    let id = testkit::unique("race");
    let answers = futures::future::join_all((0..20).map(|_| {
        let event = note(&id, "x");
        async move { post_json(EVENTS, &event).await }
    }))
    .await;
    let mut accepted = 0;
    for answer in &answers {
        match answer.body["verdict"].as_str().unwrap() {
            "accepted" => accepted += 1,
            "duplicate" => assert_eq!(answer.status, 200),
            "retry" => {
                answer.is_problem(409, "request-in-progress");
                assert_eq!((&answer.body["reason"], answer.header("retry-after")), (&json!("in_progress"), "1"));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(accepted, 1);
    let last = post_json(EVENTS, &note(&id, "x")).await;
    last.is_verdict(200, "duplicate");
    let record = log::record(shared(), "orders", &last.body).await;
    assert_eq!(log::headers(&record)["ce_id"], id);
}
