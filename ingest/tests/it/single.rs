//! One event: what is answered, and what then stands in the log.

use serde_json::json;

use schemas::frame;
use schemas::partition::partition_of;
use schemas::receipt::ReceiptKeys;

use crate::http::{post, post_json, send};
use crate::log;
use crate::server::shared;

#[tokio::test]
async fn an_accepted_event_stands_where_its_verdict_says_header_for_header() {
    let subject = testkit::unique("note");
    let answer = post_json(
        "/v1/streams/orders/events",
        &json!({"specversion": "1.0", "type": "order.note", "id": subject, "source": "/tests/single", "subject": subject,
                "time": "2026-03-01T10:00:00+01:00", "tracing": "a b", "data": {"text": "hello"}}),
    )
    .await;
    answer.is_verdict(200, "accepted");
    assert_eq!(answer.header("content-type"), "application/json");
    let body = &answer.body;
    assert_eq!((&body["index"], &body["id"], &body["subject"]), (&json!(0), &json!(subject), &json!(subject)));
    assert_eq!((&body["stream"], &body["durability"]), (&json!("orders"), &json!("log")));
    assert_eq!(body["partition"], partition_of(&subject, 3));
    assert_eq!(answer.header("location"), format!("/v1/events/{}", body["receipt"].as_str().unwrap()));

    let record = log::record(shared(), "orders", body).await;
    assert_eq!(record.key, subject.as_bytes());
    let value = record.value.clone().unwrap();
    let (_, datum) = frame::split(&value).unwrap();
    assert_eq!(datum, b"\x0ahello\x00");
    let expected = [
        ("ce_id", subject.as_str()),
        ("ce_specversion", "1.0"),
        ("ce_type", "order.note"),
        ("ce_source", "/tests/single"),
        ("ce_time", "2026-03-01T10:00:00+01:00"),
        ("ce_principal", "main/local"),
        ("ce_admin", "true"),
        ("ce_tracing", "a b"),
    ];
    let found: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_receipt_names_the_event() {
    let subject = testkit::unique("note");
    let note = json!({"type": "order.note", "subject": subject, "id": "1", "data": {"text": "x"}});
    let answer = post_json("/v1/streams/orders/events", &note).await;
    let receipt = ReceiptKeys::in_dir(shared().data.path()).unwrap().open(answer.body["receipt"].as_str().unwrap()).unwrap();
    assert_eq!((receipt.stream.as_str(), receipt.subject), ("orders", subject));
    assert_eq!(json!(receipt.partition), answer.body["partition"]);
    assert_eq!(json!(receipt.offset), answer.body["offset"]);
    assert_eq!(receipt.event_key, schemas::EventKey::of("/accounts/main", "1", None));
}

#[tokio::test]
async fn defaults_are_filled_in() {
    let answer = post("/v1/streams/beacons/events", &[], json!({"data": {"place": "ATL", "strength": 3}}).to_string()).await;
    answer.is_verdict(200, "accepted");
    assert_eq!(answer.body["subject"], "ATL");
    assert!(uuid::Uuid::parse_str(answer.body["id"].as_str().unwrap()).is_ok());
    let record = log::record(shared(), "beacons", &answer.body).await;
    let headers = log::headers(&record);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["ce_admin", "ce_id", "ce_principal"], "compact headers");
}

#[tokio::test]
async fn a_generated_subject_is_the_same_for_a_repeat() {
    let id = testkit::unique("place");
    let order = json!({"type": "order.place", "id": id, "data": {"lines": []}});
    let first = post_json("/v1/streams/orders/events", &order).await;
    first.is_verdict(200, "accepted");
    let subject = first.body["subject"].as_str().unwrap();
    let key = schemas::EventKey::of("/accounts/main", &id, None);
    assert_eq!(subject, format!("main/order/{}", uuid::Uuid::new_v8(key.0)));
    let second = post_json("/v1/streams/orders/events", &order).await;
    second.is_verdict(200, "duplicate");
    assert_eq!(second.body["subject"], subject);

    let given = format!("main/order/{id}");
    let order = json!({"type": "order.place", "subject": given, "data": {"lines": []}});
    assert_eq!(post_json("/v1/streams/orders/events", &order).await.is_verdict(200, "accepted").body["subject"], given);
    let elsewhere = json!({"type": "order.place", "subject": "other/order/1", "data": {"lines": []}});
    let refused = post_json("/v1/streams/orders/events", &elsewhere).await;
    refused.is_problem(422, "invalid-event").is_verdict(422, "invalid");
    assert_eq!(refused.body["reason"], "subject");
}

#[tokio::test]
async fn a_catalog_route_takes_the_data_alone() {
    let answer = post_json("/v1/beacons", &json!({"place": "DTW", "strength": 1})).await;
    assert_eq!(answer.is_verdict(200, "accepted").body["subject"], "DTW");

    let wrong = post_json("/v1/beacons", &json!({"place": "dtw", "strength": -1, "extra": 1})).await;
    wrong.is_problem(422, "invalid-event");
    assert_eq!(wrong.errors(), [("/extra".into(), "unknown_field".into())]);
    let broken = post_json("/v1/beacons", &json!({"place": "dtw", "strength": -1})).await;
    let expected = [("/place".into(), "bad_format".into()), ("/strength".into(), "out_of_range".into())];
    assert_eq!(broken.errors(), expected, "the catalog's rules");
    assert_eq!(broken.body["schema"]["name"], "forebay.beacons.BeaconSeen");

    assert_eq!(broken.body["subject"], "dtw", "a refused event is named by what could be found");

    // an empty body counts as {}
    let empty = post("/v1/beacons", &[("content-type", "application/json")], "").await;
    assert_eq!(empty.errors(), [("/place".into(), "missing".into()), ("/strength".into(), "missing".into())]);
}

#[tokio::test]
async fn a_path_parameter_fills_its_field_and_must_equal_it() {
    let (id, payment) = (testkit::unique("o"), testkit::unique("p"));
    let path = format!("/v1/orders/{id}/payment");
    let put = |headers: Vec<(&'static str, &'static str)>, body: serde_json::Value| {
        let path = path.clone();
        async move { send(shared(), reqwest::Method::PUT, &path, &headers, body.to_string()).await }
    };
    let answer = put(vec![("if-match", "\"v2\"")], json!({"payment_id": payment, "cents": 5})).await;
    answer.is_verdict(200, "accepted");
    assert_eq!((&answer.body["subject"], &answer.body["id"]), (&json!(format!("main/order/{id}")), &json!(payment)));
    let record = log::record(shared(), "orders", &answer.body).await;
    let value = record.value.clone().unwrap();
    assert!(value.windows(id.len()).any(|window| window == id.as_bytes()), "the id is in the datum");
    assert_eq!(value[value.len() - 2..], [2, 4], "the expected version too");

    let differs = put(vec![], json!({"id": "other", "payment_id": testkit::unique("p"), "cents": 5})).await;
    differs.is_problem(422, "invalid-event");
    assert_eq!(differs.errors()[0].0, "/id");
    put(vec![("if-match", "v2")], json!({"payment_id": "p", "cents": 5})).await.is_problem(400, "malformed-request");
}

#[tokio::test]
async fn attributes_of_a_catalog_route_come_in_headers() {
    let id = testkit::unique("beacon");
    let beacon = json!({"place": "ORD", "strength": 1}).to_string();
    let headers = [
        ("ce-id", id.as_str()),
        ("ce-source", "/tests/headers"),
        ("ce-time", "2026-03-01T10:00:00Z"),
        ("ce-type", "beacon.seen"),
    ];
    let answer = post("/v1/beacons", &headers, beacon.clone()).await;
    assert_eq!(answer.is_verdict(200, "accepted").body["id"], id);
    let found = log::headers(&log::record(shared(), "beacons", &answer.body).await);
    assert_eq!(found["ce_source"], "/tests/headers");
    assert_eq!(found["ce_time"], "2026-03-01T10:00:00Z");
    post("/v1/beacons", &[("ce-type", "order.place")], beacon.clone()).await.is_problem(400, "malformed-request");
    let hops = post("/v1/beacons", &[("ce-hops", "1")], beacon).await;
    hops.is_problem(422, "invalid-event");
    assert_eq!(hops.body["reason"], "envelope");
}

#[tokio::test]
async fn a_subject_may_come_from_a_header() {
    let order = testkit::unique("pack");
    let answer = post("/v1/packs", &[("x-order", &order), ("idempotency-key", &order)], r#"{"boxes":1,"unknown":true}"#).await;
    assert_eq!(answer.is_verdict(200, "accepted").body["subject"], order);
    let without = post("/v1/packs", &[("idempotency-key", &testkit::unique("k"))], r#"{"boxes":1}"#).await;
    without.is_problem(422, "invalid-event");
    assert_eq!(without.body["reason"], "subject");
}

#[tokio::test]
async fn every_error_of_an_event_is_told_with_its_pointer() {
    let answer = post_json(
        "/v1/streams/orders/events",
        &json!({"type": "order.place", "hops": 1, "time": "yesterday",
                "data": {"lines": [{"sku": 1, "qty": 3_000_000_000u64}, {"qty": 1, "extra": null}], "note": 5}}),
    )
    .await;
    answer.is_problem(422, "invalid-event").is_verdict(422, "invalid");
    assert_eq!(answer.body["reason"], "envelope");
    let mut found = answer.errors();
    found.sort();
    let expected = [
        ("/data/lines/0/qty", "out_of_range"),
        ("/data/lines/0/sku", "wrong_type"),
        ("/data/lines/1/extra", "unknown_field"),
        ("/data/lines/1/sku", "missing"),
        ("/data/note", "no_branch"),
        ("/hops", "unknown_field"),
        ("/time", "bad_format"),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
}

#[tokio::test]
async fn a_dry_run_tells_everything_and_sends_nothing() {
    let subject = testkit::unique("dry");
    let events = json!([
        {"type": "order.note", "id": subject, "subject": subject, "data": {"text": "x"}},
        {"type": "order.note", "subject": "a//b", "data": {}},
    ]);
    let answer = post_json("/v1/streams/orders/events:validate", &events).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["counts"], json!({"valid": 1, "invalid": 1}));
    let [fine, bad] = [&answer.body["events"][0], &answer.body["events"][1]];
    assert_eq!(*fine, json!({"index": 0, "valid": true, "type": "order.note", "id": subject, "subject": subject}));
    assert_eq!((&bad["valid"], &bad["reason"]), (&json!(false), &json!("schema")));
    // nothing was sent: the same event is new
    post_json("/v1/streams/orders/events", &events[0]).await.is_verdict(200, "accepted");
}
