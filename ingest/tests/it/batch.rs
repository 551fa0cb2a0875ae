//! Many events in one request.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::http::{errors, post, post_json};
use crate::log;
use crate::server::shared;

const EVENTS: &str = "/v1/streams/orders/events";

fn note(id: &str, subject: &str) -> Value {
    json!({"type": "order.note", "id": id, "subject": subject, "data": {"text": id}})
}

#[tokio::test]
async fn verdicts_of_different_kinds_are_207_in_request_order() {
    let subject = testkit::unique("mixed");
    post_json(EVENTS, &note(&format!("{subject}-old"), &subject)).await.is_verdict(200, "accepted");
    let batch = json!([
        note(&format!("{subject}-1"), &subject),
        note(&format!("{subject}-old"), &subject),
        {"type": "order.note", "subject": subject, "data": {}},
        5,
    ]);
    let answer = post_json(EVENTS, &batch).await;
    assert_eq!(answer.status, 207);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body["counts"], json!({"accepted": 1, "duplicate": 1, "invalid": 2, "retry": 0, "unknown": 0}));
    let verdicts: Vec<_> =
        answer.body["events"].as_array().unwrap().iter().map(|event| event["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["accepted", "duplicate", "invalid", "invalid"]);
    assert!(answer.body["events"][1]["first_seen"].is_string());
    assert_eq!(errors(&answer.body["events"][2]), [("/data/text".into(), "missing".into())]);
}

#[tokio::test]
async fn a_batch_of_one_is_a_batch() {
    let subject = testkit::unique("one");
    let answer = post_json(EVENTS, &json!([note(&subject, &subject)])).await;
    assert_eq!((answer.status, &answer.body["counts"]["accepted"]), (200, &json!(1)));
    assert_eq!(answer.header("location"), "");
    let bad = post_json(EVENTS, &json!([{"type": "order.nothing", "data": {}}])).await;
    bad.is_problem(422, "invalid-batch");
    assert_eq!(bad.body["counts"]["invalid"], 1);
    let forbidden = json!([{"type": "order.note", "subject": "s", "source": "forebay/x", "data": {"text": "x"}}]);
    post_json(EVENTS, &forbidden).await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn accepted_events_can_be_left_out_of_the_answer() {
    let subject = testkit::unique("minimal");
    let batch = json!([note(&subject, &subject), {"type": "order.note", "subject": subject, "data": {}}]);
    let answer = post(EVENTS, &[("prefer", "return=minimal")], batch.to_string()).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (207, "return=minimal"));
    let events = answer.body["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["index"]), (1, &json!(1)));
    assert_eq!(answer.body["counts"]["accepted"], 1);
}

#[tokio::test]
async fn a_strict_batch_is_sent_whole_or_not_at_all() {
    let subject = testkit::unique("strict");
    let path = format!("{EVENTS}?strict=true");
    let batch = json!([note(&subject, &subject), {"type": "order.note", "subject": subject, "data": {}}]);
    let answer = post_json(&path, &batch).await;
    answer.is_problem(422, "invalid-batch");
    assert_eq!(answer.body["counts"], json!({"accepted": 0, "duplicate": 0, "invalid": 1, "retry": 1, "unknown": 0}));
    assert_eq!(
        (&answer.body["events"][0]["verdict"], &answer.body["events"][0]["reason"]),
        (&json!("retry"), &json!("withheld"))
    );
    let fine = post_json(&path, &json!([note(&subject, &subject)])).await;
    assert_eq!((fine.status, &fine.body["counts"]["accepted"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_repeat_inside_a_request_is_told_with_the_first_ones_index() {
    let subject = testkit::unique("repeat");
    let mut other = note(&subject, &subject);
    other["data"]["text"] = "something else".into();
    let batch = json!([note(&subject, &subject), note(&subject, &subject), other]);
    let answer = post_json(EVENTS, &batch).await;
    assert_eq!(answer.status, 207);
    let events = &answer.body["events"];
    assert_eq!((&events[1]["verdict"], &events[1]["duplicate_of"]), (&json!("duplicate"), &json!(0)));
    assert_eq!((&events[1]["offset"], &events[1]["receipt"]), (&events[0]["offset"], &events[0]["receipt"]));
    assert_eq!((&events[2]["verdict"], &events[2]["reason"]), (&json!("invalid"), &json!("id_reused")));
}

#[tokio::test]
async fn ten_thousand_lines_stand_in_the_log_in_order_of_each_subject() {
    const COUNT: usize = 10_000;
    let run = testkit::unique("many");
    let mut body = String::new();
    for n in 0..COUNT {
        let _ = writeln!(body, "{}", note(&format!("{run}/{n}"), &format!("{run}/{}", n % 7)));
    }
    let answer = post(EVENTS, &[("content-type", "application/x-ndjson")], body).await;
    assert_eq!((answer.status, &answer.body["counts"]["accepted"]), (200, &json!(COUNT)));

    let wanted = |record: &chassis::kafka::tail::TailRecord| record.key.starts_with(run.as_bytes());
    let records =
        log::all(shared(), "orders", 3, |records| records.iter().filter(|record| wanted(record)).count() == COUNT).await;
    let mut at = HashMap::new();
    let mut last: HashMap<String, (i64, usize)> = HashMap::new();
    for record in records.iter().filter(|record| wanted(record)) {
        let id = log::headers(record)["ce_id"].clone();
        let n: usize = id.rsplit('/').next().unwrap().parse().unwrap();
        let subject = String::from_utf8(record.key.to_vec()).unwrap();
        if let Some((offset, before)) = last.insert(subject, (record.offset, n)) {
            assert!(offset < record.offset && before < n, "events of one subject keep their order (E5)");
        }
        at.insert(n, (record.partition, record.offset));
    }
    for (n, verdict) in answer.body["events"].as_array().unwrap().iter().enumerate() {
        assert_eq!(verdict["index"], n);
        assert_eq!((verdict["partition"].as_i64(), verdict["offset"].as_i64()), (Some(at[&n].0.into()), Some(at[&n].1)));
    }
}

#[tokio::test]
async fn one_event_too_many_is_refused_before_anything_is_sent() {
    let run = testkit::unique("over");
    let mut body = String::new();
    for n in 0..=10_000 {
        let _ = writeln!(body, "{}", note(&format!("{run}/{n}"), &run));
    }
    let answer = post(EVENTS, &[("content-type", "application/x-ndjson")], body).await;
    answer.is_problem(413, "too-large");
    assert_eq!(answer.body["limit"], "limits.batch");
    post_json(EVENTS, &note(&format!("{run}/0"), &run)).await.is_verdict(200, "accepted");
}

#[tokio::test]
async fn catalog_routes_with_batches_take_arrays_and_lines() {
    let beacons = json!([{"place": "AAA", "strength": 1}, {"place": "bbb", "strength": 1}]);
    let answer = post_json("/v1/beacons", &beacons).await;
    assert_eq!((answer.status, &answer.body["counts"]["accepted"]), (207, &json!(1)));
    assert_eq!(errors(&answer.body["events"][1]), [("/place".into(), "bad_format".into())]);
    let lines = "{\"place\":\"AAA\",\"strength\":1}\n\n{\"place\":\"AAA\",\"strength\":2}\n";
    let answer = post("/v1/beacons", &[("content-type", "application/jsonl")], lines).await;
    assert_eq!((answer.status, &answer.body["counts"]["accepted"]), (200, &json!(2)));
    // a type without batches reads an array as data
    let answer = post_json("/v1/orders", &json!([{"lines": []}])).await;
    assert_eq!(answer.errors(), [(String::new(), "wrong_type".to_owned())]);
}

#[tokio::test]
async fn at_most_a_thousand_errors_are_told_per_request() {
    let bad = json!({"type": "order.place", "data": {"lines": vec![json!({}); 15]}});
    let answer = post_json(EVENTS, &Value::Array(vec![bad; 60])).await;
    answer.is_problem(422, "invalid-batch");
    let events = answer.body["events"].as_array().unwrap();
    assert_eq!(events.iter().map(|event| errors(event).len()).sum::<usize>(), 1_000);
    assert_eq!((errors(&events[0]).len(), &events[0]["errors_omitted"]), (20, &json!(10)));
    assert_eq!((errors(&events[59]).len(), &events[59]["errors_omitted"]), (0, &json!(30)));
}
