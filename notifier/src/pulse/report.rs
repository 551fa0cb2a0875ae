//! `GET /v1/pulse`: the numbers of the console.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::now_ms;
use crate::feed::{self, Stream};
use crate::guarded::Guarded;
use crate::protocol::server;
use crate::pulse::{Transport, Window, process};

/// Seconds over which rates are told.
const RATE_SECONDS: i64 = 3;

/// The numbers now. What is not known is null.
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if let Err(problem) = app.access.authenticate(&headers, peer) {
        return problem.into_response();
    }
    let now = now_ms();
    let counters = process::counters();
    let streams: Vec<Value> = app.streams.all().iter().map(|stream| of_stream(stream, &counters, now)).collect();
    let components: Vec<Value> = app
        .lifecycle
        .components()
        .iter()
        .map(|component| json!({"name": component.name, "ready": component.ready, "detail": component.detail}))
        .collect();
    let body = json!({
        "time": server::time(now),
        "uptime_s": (now - app.pulse.started_ms()) / 1_000,
        "ready": app.lifecycle.is_ready(),
        "components": components,
        "store": app.reader.kind(),
        "connections": {"websocket": app.pulse.open(Transport::WebSocket), "sse": app.pulse.open(Transport::Sse)},
        "deliveries_per_second": app.pulse.delivered.lock().rate(now, RATE_SECONDS),
        "ring_bytes": app.pulse.ring_total().bytes(),
        "streams": streams,
    });
    ([("content-type", "application/json"), ("cache-control", "no-store")], body.to_string()).into_response()
}

fn of_stream(stream: &Stream, counters: &process::Counters, now: i64) -> Value {
    let meter = &stream.meter;
    let (results_per_second, history) = {
        let read = meter.read.lock();
        (read.rate(now, RATE_SECONDS), read.history(now))
    };
    let mut told = json!({
        "stream": &*stream.name,
        "partitions": stream.partitions.len(),
        "results_per_second": results_per_second,
        "results_total": meter.total(),
        "history": history,
        "position_age_ms": feed::age_ms(stream),
        "input_to_commit_ms": quantiles(&meter.input_to_commit, now),
        "commit_to_socket_ms": quantiles(&meter.commit_to_write, now),
    });
    for (name, value) in counters.of(&stream.name) {
        told[name] = value.into();
    }
    told
}

fn quantiles(window: &Guarded<Window>, now: i64) -> Value {
    let window = window.lock();
    json!({"p50": window.quantile_ms(now, 0.5), "p99": window.quantile_ms(now, 0.99)})
}
