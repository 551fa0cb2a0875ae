//! What is too large, too slow or too much.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{post, send};
use crate::server::{Server, shared, start};

const EVENTS: &str = "/v1/streams/orders/events";

/// An edge with small limits.
async fn small() -> Server {
    start(|options| {
        options.limits.event = 1_024;
        options.limits.items = 10;
        options.limits.depth = 3;
        options.limits.body = 32 * 1_024;
        options.limits.body_wire = 32 * 1_024;
        options.limits.body_idle = Duration::from_millis(300);
        options.admission.bytes = 64 * 1_024;
    })
    .await
}

async fn half_a_request(server: &Server, length: usize) -> TcpStream {
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n\r\n{{", server.address);
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_or_body_over_its_limit_is_413() {
    let server = small().await;
    let text = "x".repeat(2_000);
    let event = json!({"type": "order.note", "subject": "s", "data": {"text": text}});
    let answer = send(&server, Method::POST, EVENTS, &[], event.to_string()).await;
    answer.is_problem(413, "too-large").is_verdict(413, "invalid");
    assert_eq!((&answer.body["reason"], &answer.body["limit"]), (&json!("too_large"), &json!("limits.event")));
    let batch = send(
        &server,
        Method::POST,
        EVENTS,
        &[],
        json!([event, {"type": "order.note", "subject": "s", "data": {"text": "x"}}]).to_string(),
    )
    .await;
    assert_eq!((batch.status, &batch.body["events"][0]["reason"]), (207, &json!("too_large")));

    let answer = send(&server, Method::POST, EVENTS, &[], " ".repeat(33 * 1_024)).await;
    answer.is_problem(413, "too-large");
    assert_eq!((&answer.body["limit"], answer.header("connection")), (&json!("limits.body"), "close"));
    let chunk = format!("400\r\n{}\r\n", " ".repeat(1_024));
    let chunked = format!("POST {EVENTS} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", server.address);
    let answer = raw(&server, &format!("{chunked}{}", chunk.repeat(40))).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("limits.body"), "{answer}");
}

/// Sends bytes as they are and reads until the connection is closed.
async fn raw(server: &Server, request: &str) -> String {
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // a reset behind the answer is a way of closing too
    let _ = client.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_that_could_be_smuggled_are_closed_with_400() {
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: {}\r\n", shared().address);
    for rest in ["content-length: 3\r\ncontent-length: 4\r\n\r\n{} ", "content-length: 2\r\n x: folded\r\n\r\n{}"] {
        let answer = raw(shared(), &format!("{head}{rest}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{rest:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_and_depth_of_an_event_are_bounded() {
    let server = small().await;
    let place = |lines: serde_json::Value| json!({"type": "order.place", "data": {"lines": lines}}).to_string();
    let line = json!({"sku": "a", "qty": 1});
    let many = send(&server, Method::POST, EVENTS, &[], place(json!(vec![line.clone(); 11]))).await;
    many.is_problem(422, "invalid-event");
    assert_eq!(many.errors()[0].1, "too_many");
    let fine = send(&server, Method::POST, EVENTS, &[], place(json!(vec![line; 10]))).await;
    assert_eq!(fine.is_verdict(200, "accepted").body["lifecycle"], serde_json::Value::Null);
    let deep = send(&server, Method::POST, EVENTS, &[], place(json!([{"sku": [[["x"]]], "qty": 1}]))).await;
    assert!(deep.errors().iter().any(|(_, code)| code == "too_deep" || code == "wrong_type"), "{deep:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_coming_is_408() {
    let server = small().await;
    let mut client = half_a_request(&server, 100).await;
    let mut answer = String::new();
    // the connection is closed behind the answer
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request-timeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_the_memory_is_refused_with_a_time() {
    let server = start(|options| {
        options.limits.event = 1_024;
        options.limits.body = 32 * 1_024;
        options.limits.body_wire = 32 * 1_024;
        options.admission.bytes = 64 * 1_024;
        // the halves are not given up before a busy machine has come to the third request
        options.limits.body_idle = Duration::from_secs(120);
        options.limits.body_time = Duration::from_secs(120);
        options.limits.body_rate = 0;
    })
    .await;
    let held = [half_a_request(&server, 32 * 1_024).await, half_a_request(&server, 32 * 1_000).await];
    let event = json!({"type": "order.note", "subject": "s", "data": {"text": "x".repeat(800)}}).to_string();
    let refused = testkit::eventually_async(Duration::from_secs(60), || async {
        let answer = send(&server, Method::POST, EVENTS, &[], event.clone()).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    refused.is_problem(503, "overloaded");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(refused.body["retry_after_ms"].is_u64());
    drop(held);
    testkit::eventually_async(Duration::from_secs(60), || async {
        let answer = send(&server, Method::POST, EVENTS, &[], event.clone()).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn header_floods_are_431() {
    let large = "x".repeat(40 * 1_024);
    let answer = post(EVENTS, &[("x-large", &large)], "{}").await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn answers_carry_their_request_id_and_times() {
    let event = json!({"type": "order.note", "subject": "s", "data": {"text": "x"}}).to_string();
    let answer = post(EVENTS, &[("x-request-id", "abc-1")], event.clone()).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (200, "abc-1"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let timing = answer.header("server-timing");
    for stage in ["read;dur=", "encode;dur=", "dedupe;dur=", "ack;dur="] {
        assert!(timing.contains(stage), "{timing}");
    }
    assert!(!post(EVENTS, &[], event).await.header("x-request-id").is_empty());
    let refused = post(EVENTS, &[("x-request-id", "abc-2")], "[").await;
    assert_eq!(refused.body["instance"], "urn:forebay:request:abc-2");
}
