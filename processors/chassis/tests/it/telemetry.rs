use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use chassis::lifecycle::Lifecycle;
use chassis::listener::{self, Options};
use chassis::telemetry::{self, Config};
use tokio::sync::mpsc;

use crate::kit::{DEADLINE, end};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sampled_spans_reach_the_collector_before_the_process_ends() {
    let lifecycle = Lifecycle::new();
    let (got, mut traces) = mpsc::channel(8);
    let sink = Router::new().route("/v1/traces", post(move |body: Bytes| async move { got.send(body).await.unwrap() }));
    let bound = listener::bind(&Options::new("sink", "127.0.0.1:0".parse().unwrap(), "--sink")).await.unwrap();
    let config = Config {
        level: "warn".to_owned(),
        otlp_endpoint: Some(format!("http://{}", bound.local_addr())),
        sample_ratio: 1.0,
        ..Config::default()
    };
    bound.serve(sink, &lifecycle);
    let guard = telemetry::init(&config).unwrap();
    tracing::info_span!("one-of-ours").in_scope(|| assert!(telemetry::current_traceparent().is_some()));
    drop(guard);
    let body = tokio::time::timeout(DEADLINE, traces.recv()).await.unwrap().unwrap();
    assert!(body.windows(11).any(|window| window == b"one-of-ours"), "{} bytes without the span", body.len());
    end(lifecycle).await;
}
