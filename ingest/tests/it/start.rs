//! Starting and stopping.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tower::ServiceExt;

use chassis::kafka::topics::{self, Spec};
use ingest::{Error, Service};
use schemas::catalog::Catalog;

use crate::http::send;
use crate::server::{needs, options, serve, start};

const EVENTS: &str = "/v1/streams/orders/events";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_warm_up_nothing_is_taken() {
    let (needs, server) = needs(|_| {}).await;
    let server = serve(needs, server, false).await;
    assert!(!server.lifecycle.is_ready());
    let answer = send(&server, Method::POST, EVENTS, &[], "{}").await;
    answer.is_problem(503, "not-ready");
    assert_eq!(answer.header("retry-after"), "1");
    // what needs no log is there
    assert_eq!(send(&server, Method::GET, "/v1/streams", &[], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_as_the_catalog_says_refuses_the_start() {
    let (mut first, server) = needs(|_| {}).await;
    let prefix = format!("{}x.", server.topics.prefix);
    first.options.topic_prefix = prefix.clone();
    let service = Service::build(first).unwrap();
    let missing = service.warm_up().await.unwrap_err().to_string();
    assert!(missing.contains("missing topic") && missing.contains(&prefix), "{missing}");

    let (mut second, server) = needs(|_| {}).await;
    let prefix = format!("{}y.", server.topics.prefix);
    let topics = schemas::Topics::new(&prefix);
    let wrong = crate::server::specs(&second.catalog, &topics).into_iter().map(|spec| Spec { partitions: 4, ..spec });
    topics::ensure(&server.kafka, &wrong.collect::<Vec<_>>(), 1).await.unwrap();
    second.options.topic_prefix = prefix;
    let wrong = Service::build(second).unwrap().warm_up().await.unwrap_err().to_string();
    assert!(wrong.contains("4 partitions") && wrong.contains("catalog says"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_without_an_id_refuses_the_start() {
    let (mut needs, _server) = needs(|_| {}).await;
    needs.catalog = Catalog::embedded().unwrap();
    let error = Service::build(needs).err().unwrap();
    assert!(matches!(error, Error::Stream(_)) && error.to_string().contains("registry.register"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_contradict_each_other_refuse_the_start() {
    let (mut needs, _server) = needs(|_| {}).await;
    needs.options = options();
    needs.options.limits.request_time = Duration::from_secs(11);
    let error = Service::build(needs).err().unwrap();
    assert!(error.to_string().contains("limits.request_time"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_still_comes_after_the_stop_is_refused() {
    let (needs, server) = needs(|_| {}).await;
    let service = Service::build(needs).unwrap();
    service.warm_up().await.unwrap();
    server.lifecycle.request_stop("the test says so");
    server.lifecycle.clone().run_until_signal(Duration::from_secs(20)).await;
    let mut request = axum::http::Request::post(EVENTS).body(axum::body::Body::from("{}")).unwrap();
    request.extensions_mut().insert(axum::extract::ConnectInfo(server.address));
    let response = service.whole_router().oneshot(request).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["connection"]), (503, &"close".parse().unwrap()));
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["type"], "urn:forebay:problem:shutting-down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_serves_on_and_closes_connections() {
    let server = start(|_| {}).await;
    server.lifecycle.set_drain_lead(Duration::from_secs(2));
    let event = |id: &str| json!({"type": "order.note", "id": id, "subject": "s", "data": {"text": "x"}}).to_string();
    let before = send(&server, Method::POST, EVENTS, &[], event("a")).await;
    assert_eq!((before.status, before.header("connection")), (200, ""));
    server.lifecycle.request_stop("the test says so");
    assert!(!server.lifecycle.is_ready());
    let during = send(&server, Method::POST, EVENTS, &[], event("b")).await;
    assert_eq!((during.status, during.header("connection")), (200, "close"));
    let ended = server.lifecycle.clone().run_until_signal(Duration::from_secs(20)).await;
    assert!(!ended.failed && ended.left.is_empty(), "{ended}");
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}
