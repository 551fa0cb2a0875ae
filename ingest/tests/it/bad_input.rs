//! Everything a client can do wrong, and what it is told.

use serde_json::{Value, json};

use crate::http::{Answer, post, post_json};

const EVENTS: &str = "/v1/streams/orders/events";

fn note(member: &str, value: Value) -> Value {
    let mut note = json!({"type": "order.note", "subject": "s", "data": {"text": "x"}});
    note[member] = value;
    note
}

async fn invalid(event: &Value) -> Answer {
    let answer = post_json(EVENTS, event).await;
    answer.is_verdict(answer.status, "invalid");
    answer
}

#[tokio::test]
async fn bodies_without_events_are_malformed() {
    for (media, body) in
        [("application/json", ""), ("application/json", "[]"), ("application/x-ndjson", ""), ("application/x-ndjson", "\n \n")]
    {
        post(EVENTS, &[("content-type", media)], body).await.is_problem(400, "malformed-request");
    }
}

#[tokio::test]
async fn a_body_that_breaks_as_json_is_told_with_its_place() {
    let cases: [(&[u8], u64, u64, u64); 7] = [
        (b"{\"type\":", 8, 1, 9),
        (b"[{},\n{},", 8, 2, 4),
        (b"{}x", 2, 1, 3),
        (b"[{}]]", 4, 1, 5),
        (b"\xEF\xBB\xBF{}", 0, 1, 1),
        (b"{\"a\":\"\xC3\x28\"}", 6, 1, 7),
        (b"{\"a\":01}", 6, 1, 7),
    ];
    for (body, byte, line, column) in cases {
        let answer = post(EVENTS, &[("content-type", "application/json")], body.to_vec()).await;
        answer.is_problem(400, "malformed-request");
        let place = (&answer.body["byte"], &answer.body["line"], &answer.body["column"]);
        assert_eq!(place, (&json!(byte), &json!(line), &json!(column)), "{}", String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn a_broken_line_is_that_lines_fault_alone() {
    let subject = testkit::unique("line");
    let good = json!({"type": "order.note", "subject": subject, "data": {"text": "x"}});
    let body = format!("{good}\n{{\"type\":\n\n[1]\n{good}\n");
    let answer = post(EVENTS, &[("content-type", "application/x-ndjson")], body).await;
    assert_eq!(answer.status, 207);
    assert_eq!(answer.body["counts"], json!({"accepted": 2, "duplicate": 0, "invalid": 2, "retry": 0, "unknown": 0}));
    assert_eq!(answer.body["events"][1]["reason"], "syntax");
    assert_eq!(answer.body["events"][2]["reason"], "envelope");
    assert_eq!(answer.body["events"][3]["index"], 3);
}

#[tokio::test]
async fn nesting_and_numbers_are_bounded() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let body = format!(r#"{{"type":"order.note","subject":"s","data":{{"text":{deep}}}}}"#);
    let answer = post(EVENTS, &[], body).await;
    answer.is_problem(422, "invalid-event");
    let found = answer.errors();
    assert!(found.iter().any(|(_, code)| code == "too_deep" || code == "wrong_type"), "{found:?}");
    for (number, code) in [("3000000000", "out_of_range"), ("1.5", "wrong_type"), ("1e999", "out_of_range")] {
        let body = format!(r#"{{"type":"order.note","subject":"s","data":{{"text":"x","stars":{number}}}}}"#);
        let found = post(EVENTS, &[], body).await.errors();
        assert_eq!(found.len(), 1, "{number} {found:?}");
        assert_eq!(found[0].0, "/data/stars", "{number}");
        assert!(found[0].1 == code || found[0].1 == "precision", "{number} {found:?}");
    }
    let huge = format!(r#"{{"type":"order.note","subject":"s","data":{{"text":"x","stars":{}}}}}"#, "9".repeat(1_025));
    assert_eq!(post(EVENTS, &[], huge).await.errors()[0].1, "bad_format");
}

#[tokio::test]
async fn fields_are_checked_one_by_one() {
    let data = |text: &str| format!(r#"{{"type":"order.note","subject":"s","data":{text}}}"#);
    for (text, pointer, code) in [
        (r#"{"text":"a","text":"b"}"#, "/data/text", "duplicate_key"),
        (r#"{"text":"a","colour":1}"#, "/data/colour", "unknown_field"),
        (r#"{}"#, "/data/text", "missing"),
        (r#"{"text":7}"#, "/data/text", "wrong_type"),
        (r#"{"text":"\ud800"}"#, "/data/text", "bad_utf8"),
        (r#"7"#, "/data", "wrong_type"),
        (r#"null"#, "/data", "wrong_type"),
    ] {
        let answer = post(EVENTS, &[], data(text)).await;
        answer.is_problem(422, "invalid-event");
        assert_eq!(answer.errors(), [(pointer.to_owned(), code.to_owned())], "{text}");
        assert_eq!(answer.body["reason"], "schema", "{text}");
    }
    let without = post(EVENTS, &[], r#"{"type":"order.note","subject":"s"}"#).await;
    assert_eq!((without.errors()[0].0.as_str(), &without.body["reason"]), ("/data", &json!("envelope")));
}

#[tokio::test]
async fn types_that_do_not_exist_for_callers_are_unknown() {
    for name in ["order.nothing", "order.expire", "", "beacon.seen"] {
        let answer = invalid(&note("type", name.into())).await;
        answer.is_problem(422, "invalid-event");
        assert_eq!(answer.body["reason"], "unknown_type", "{name}");
    }
    // several types, none named
    let mut unnamed = note("subject", "s".into());
    unnamed.as_object_mut().unwrap().remove("type");
    assert_eq!(invalid(&unnamed).await.errors(), [("/type".into(), "missing".into())]);
    let named = post_json(&format!("{EVENTS}?type=order.note"), &unnamed).await;
    named.is_verdict(200, "accepted");
}

#[tokio::test]
async fn subjects_that_are_none_are_refused() {
    for subject in ["", "/a", "a/", "a//b", "~shard/1", "a/*/b", "a\nb"] {
        let answer = invalid(&note("subject", subject.into())).await;
        assert_eq!((answer.status, &answer.body["reason"]), (422, &json!("subject")), "{subject:?}");
    }
    for subject in ["x".repeat(449), vec!["a"; 16].join("/")] {
        assert_eq!(invalid(&note("subject", subject.into())).await.body["reason"], "subject");
    }
    let answer = invalid(&note("subject", Value::Null)).await;
    assert_eq!(answer.errors(), [("/subject".into(), "missing".into())]);
}

#[tokio::test]
async fn ids_are_bounded() {
    for id in [String::new(), "x".repeat(257), "x".repeat(300)] {
        let answer = invalid(&note("id", id.into())).await;
        assert_eq!((answer.status, &answer.body["reason"]), (422, &json!("id")));
    }
    assert_eq!(invalid(&note("id", 5.into())).await.body["reason"], "id");
}

#[tokio::test]
async fn the_engines_own_attributes_and_sources_are_refused() {
    for name in ["redriveof", "seq", "prev", "cause", "hops", "account", "principal", "admin"] {
        let answer = invalid(&note(name, "1".into())).await;
        assert_eq!(answer.body["reason"], "envelope", "{name}");
        assert_eq!(answer.errors()[0].0, format!("/{name}"));
    }
    let answer = invalid(&note("source", "forebay/orders".into())).await;
    answer.is_problem(403, "forbidden");
    assert_eq!(answer.body["reason"], "forbidden");
}

#[tokio::test]
async fn other_envelope_faults_are_told() {
    for (member, value) in [
        ("specversion", json!("0.3")),
        ("time", json!("2026-13-01T00:00:00Z")),
        ("datacontenttype", json!("text/xml")),
        ("data_base64", json!("AA==")),
        ("Unknown", json!(1)),
        ("ext", json!({"a": 1})),
        ("source", json!("")),
    ] {
        let answer = invalid(&note(member, value)).await;
        assert_eq!(answer.body["reason"], "envelope", "{member}");
        assert_eq!(answer.errors()[0].0, format!("/{member}"));
    }
}

#[tokio::test]
async fn media_types_and_codings_that_are_not_taken_are_named() {
    for media in ["multipart/form-data; boundary=x", "text/plain", "application/json; charset=utf-16", "application/avro"] {
        let answer = post(EVENTS, &[("content-type", media)], "{}").await;
        answer.is_problem(415, "unsupported-media-type");
        assert!(answer.header("accept-post").contains("application/x-ndjson"));
    }
    for coding in ["gzip", "gzip, zstd", "compress"] {
        let answer = post(EVENTS, &[("content-encoding", coding)], "{}").await;
        answer.is_problem(415, "unsupported-encoding");
        assert_eq!(answer.header("accept-encoding"), "identity");
    }
    post(EVENTS, &[("ce-specversion", "1.0")], "{}").await.is_problem(415, "unsupported-media-type");
    post("/v1/orders", &[("content-type", "application/cloudevents+json")], "{}").await.is_problem(415, "unsupported-media-type");
    for (media, body) in [("application/cloudevents+json", "[]"), ("application/cloudevents-batch+json", "{}")] {
        post(EVENTS, &[("content-type", media)], body).await.is_problem(400, "malformed-request");
    }
    post("/v1/orders", &[("content-type", "application/x-ndjson")], "{}").await.is_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn headers_and_queries_that_cannot_be_read_are_malformed() {
    for (name, value) in [("idempotency-key", "\"open"), ("request-timeout-ms", "5"), ("request-timeout-ms", "soon")] {
        post(EVENTS, &[(name, value)], "{}").await.is_problem(400, "malformed-request");
    }
    post(&format!("{EVENTS}?strict=maybe"), &[], "{}").await.is_problem(400, "malformed-request");
    post(EVENTS, &[("accept", "text/html")], "{}").await.is_problem(406, "not-acceptable");
    post("/v1/streams/nothing/events", &[], "{}").await.is_problem(404, "not-found");
}
