//! The broker does not answer: what is told, and what is in the log afterwards.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{Answer, send};
use crate::log;
use crate::proxy::{Proxy, Wire};
use crate::server::{Server, needs, serve};

const EVENTS: &str = "/v1/streams/orders/events";

/// An edge whose way to the broker can be cut.
async fn edge() -> (Server, Proxy) {
    let (mut needs, server) = needs(|_| {}).await;
    let proxy = Proxy::start(&needs.kafka.bootstrap, &server.lifecycle).await;
    needs.kafka.bootstrap = proxy.address.to_string();
    (serve(needs, server, true).await, proxy)
}

fn note(id: &str) -> Value {
    json!({"type": "order.note", "id": id, "subject": "s", "data": {"text": id}})
}

async fn post(server: &Server, headers: &[(&str, &str)], body: &Value) -> Answer {
    send(server, Method::POST, EVENTS, headers, body.to_string()).await
}

/// Repeats a request until it is answered with this verdict.
async fn until(server: &Server, body: &Value, verdict: &str) -> Answer {
    testkit::eventually_async(Duration::from_secs(30), || async {
        let answer = post(server, &[], body).await;
        (answer.body["verdict"] == verdict).then_some(answer)
    })
    .await
}

async fn ids(server: &Server, count: usize) -> Vec<String> {
    let records = log::all(server, "orders", 3, |records| records.len() >= count).await;
    records.iter().map(|record| log::headers(record)["ce_id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_report_an_event_is_unknown_and_its_repeat_finds_it() {
    let (server, proxy) = edge().await;
    post(&server, &[], &note("before")).await.is_verdict(200, "accepted");
    proxy.set(Wire::Mute);
    let silent = post(&server, &[("request-timeout-ms", "300"), ("idempotency-key", "k")], &note("lost")).await;
    silent.is_problem(503, "outcome-unknown").is_verdict(503, "unknown");
    assert_eq!((&silent.body["reason"], &silent.body["retryable"]), (&json!("ack_timeout"), &json!(true)));
    assert!(silent.body["receipt"].is_string() && !silent.header("retry-after").is_empty());
    // its report has not come: the same event is still being sent
    let again = post(&server, &[("request-timeout-ms", "300")], &note("lost")).await;
    again.is_problem(409, "request-in-progress").is_verdict(409, "retry");
    proxy.set(Wire::Whole);
    let found = until(&server, &note("lost"), "duplicate").await;
    assert_eq!(found.status, 200);
    assert_eq!(ids(&server, 2).await, ["before", "lost"], "the late report reached the window");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_client_is_gone_is_finished() {
    let (server, proxy) = edge().await;
    post(&server, &[], &note("before")).await.is_verdict(200, "accepted");
    proxy.set(Wire::Mute);
    let body = note("alone").to_string();
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", server.address, body.len());
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    // it is in flight as soon as somebody else may not send it; the one that comes first waits in vain
    testkit::eventually_async(Duration::from_secs(30), || async {
        let answer = post(&server, &[("request-timeout-ms", "300")], &note("alone")).await;
        (answer.status == 409).then(|| answer.is_problem(409, "request-in-progress").status)
    })
    .await;
    drop(client);
    proxy.set(Wire::Whole);
    until(&server, &note("alone"), "duplicate").await;
    assert_eq!(ids(&server, 2).await, ["before", "alone"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_out_of_reach_loses_nothing_and_writes_nothing_twice() {
    let (server, proxy) = edge().await;
    post(&server, &[], &note("before")).await.is_verdict(200, "accepted");
    proxy.set(Wire::Cut);
    let first = post(&server, &[], &note("first")).await;
    first.is_problem(503, "log-unavailable").is_verdict(503, "retry");
    assert_eq!((&first.body["reason"], &first.body["retryable"]), (&json!("log_unavailable"), &json!(true)));
    assert!(!first.header("retry-after").is_empty());
    let batch = post(&server, &[], &json!([note("first"), note("second")])).await;
    batch.is_problem(503, "log-unavailable");
    assert_eq!(batch.body["counts"]["retry"], 2);
    proxy.set(Wire::Whole);
    until(&server, &note("first"), "accepted").await;
    until(&server, &note("second"), "accepted").await;
    assert_eq!(ids(&server, 3).await, ["before", "first", "second"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_partition_refuses_early() {
    let (server, proxy) = edge().await;
    post(&server, &[], &note("before")).await.is_verdict(200, "accepted");
    proxy.set(Wire::Cut);
    let waiting = async { post(&server, &[], &note("waiting")).await };
    let early = async {
        // refused at once, long before the producer gives a record up
        testkit::eventually_async(Duration::from_secs(8), || async {
            let answer = post(
                &server,
                &[("request-timeout-ms", "100")],
                &json!({"type": "order.note", "subject": "s", "data": {"text": "x"}}),
            )
            .await;
            (answer.body["reason"] == "log_unavailable").then_some(answer)
        })
        .await
    };
    let (waiting, early) = tokio::join!(waiting, early);
    early.is_problem(503, "log-unavailable");
    waiting.is_problem(503, "log-unavailable");
}
