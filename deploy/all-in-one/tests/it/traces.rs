//! One trace from the POST to the socket write, as a collector gets it.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::json;
use tokio::sync::mpsc;

use chassis::lifecycle::Lifecycle;
use chassis::listener::{self, Options};

use crate::machines::{AllInOne, Machine};
use crate::native::websocket_hears;

/// Spans leave the process every few seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A span as OTLP has it.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
}

/// Fields of a protobuf message: number and content; numbers other than lengths are passed over.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (content, rest) = bytes.split_at(length);
        found.push((key >> 3, content));
        bytes = rest;
    }
    found
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

/// The contents of all fields of that number.
fn below(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter(move |(field, _)| *field == number).map(|(_, content)| content)
}

/// The spans of an export request: resource spans (1) hold scope spans (2) hold spans (2).
fn spans(request: &[u8]) -> Vec<Span> {
    below(request, 1).flat_map(|resource| below(resource, 2)).flat_map(|scope| below(scope, 2)).map(span).collect()
}

fn span(message: &[u8]) -> Span {
    let get = |number| below(message, number).next().unwrap_or_default();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Span { trace: hex(get(1)), id: hex(get(2)), parent: hex(get(4)), name: String::from_utf8(get(5).to_vec()).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_one_trace_to_the_socket_write() {
    let lifecycle = Lifecycle::new();
    let (got, mut requests) = mpsc::unbounded_channel();
    let sink = Router::new().route("/v1/traces", post(move |body: Bytes| async move { got.send(body).unwrap() }));
    let bound = listener::bind(&Options::new("sink", "127.0.0.1:0".parse().unwrap(), "")).await.unwrap();
    let endpoint = format!("telemetry.otlp_endpoint=http://{}", bound.local_addr());
    bound.serve(sink, &lifecycle);
    // nothing is sampled by itself: what is seen is the caller's choice
    let flags = [("--set", endpoint.as_str()), ("--set", "telemetry.sample_ratio=0"), ("--set", "telemetry.level=error")];
    let mut machine = AllInOne::with("traces", &flags).await;
    machine.start().await;

    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let posting = async {
        is_ready.await.unwrap();
        let flight = json!({"departed_at": "2001-01-01T00:47:00Z", "delay_minutes": 6, "distance_miles": 10, "origin": "DTW", "destination": "LAS"});
        let url = format!("{}/v1/flights", machine.api());
        let request = reqwest::Client::new().post(url).header("traceparent", format!("00-{TRACE}-{CALLER}-01")).json(&flight);
        assert!(request.send().await.unwrap().status().is_success());
    };
    let both = futures::future::join(websocket_hears(&machine, ready), posting);
    let (result, ()) = tokio::time::timeout(PATIENCE, both).await.expect("the result is heard");
    assert!(result["trace"].as_str().unwrap().contains(TRACE), "{result}");

    let mut seen: Vec<Span> = Vec::new();
    let find = |seen: &[Span], name: &str| seen.iter().find(|span| span.trace == TRACE && span.name == name).cloned();
    let all = ["request", "produce", "process", "transaction", "fan-out", "write"];
    while all.iter().any(|name| find(&seen, name).is_none()) {
        let more = tokio::time::timeout(PATIENCE, requests.recv()).await;
        let more = more.unwrap_or_else(|_| panic!("not all of {all:?}, only {seen:?}")).unwrap();
        seen.extend(spans(&more));
    }
    let [request, produce, process, transaction, fan_out, write] = all.map(|name| find(&seen, name).unwrap());
    assert_eq!((request.parent.as_str(), &produce.parent, &process.parent), (CALLER, &request.id, &produce.id));
    assert_eq!((&transaction.parent, &fan_out.parent, &write.parent), (&process.id, &process.id, &process.id));
    assert!(seen.iter().all(|span| span.trace == TRACE), "only what the caller sampled: {seen:?}");
    machine.stop().await;
    lifecycle.request_stop("the test is over");
}
