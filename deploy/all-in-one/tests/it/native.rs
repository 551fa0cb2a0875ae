//! A Kafka producer with none of our code: a registry client over HTTP, the reference Avro writer, plain librdkafka.

use std::time::Duration;

use apache_avro::Schema;
use apache_avro::types::{Record, Value as Avro};
use apache_avro::writer::datum::GenericDatumWriter;
use futures::StreamExt;
use serde_json::Value;
use testkit::Kafka;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};

use crate::machines::{AllInOne, Machine};

const PATIENCE: Duration = Duration::from_secs(20);

/// Id and text of the newest schema of a registry subject.
async fn newest(registry: &str, subject: &str) -> (i32, Schema) {
    let answer: Value =
        reqwest::get(format!("{registry}/subjects/{subject}/versions/latest")).await.unwrap().json().await.unwrap();
    let id = i32::try_from(answer["id"].as_i64().unwrap()).unwrap();
    (id, Schema::parse_str(answer["schema"].as_str().unwrap()).unwrap())
}

/// A departure from DTW in the wire format.
pub(crate) async fn departure(machine: &AllInOne) -> Vec<u8> {
    let engines = testkit::engines().await;
    let topic = format!("{}flights.events", machine.prefix());
    let (id, schema) = newest(&engines.registry, &format!("{topic}-forebay.flights.FlightDeparted")).await;
    let mut record = Record::new(&schema).unwrap();
    record.put("departed_at", Avro::TimestampMillis(978_307_200_000));
    record.put("delay_minutes", 66);
    record.put("distance_miles", 1_750);
    record.put("origin", "DTW");
    record.put("destination", "LAS");
    let mut value = vec![0];
    value.extend_from_slice(&id.to_be_bytes());
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    value.extend(writer.write_value_to_vec(Avro::from(record)).unwrap());
    value
}

async fn produce(machine: &AllInOne) {
    let value = departure(machine).await;
    let topic = format!("{}flights.events", machine.prefix());
    let headers: [(&str, &[u8]); 2] = [("ce_id", b"native-1"), ("ce_source", b"/my/service")];
    Kafka::new(&machine.kafka()).produce(&topic, None, b"DTW", &value, &headers).await;
}

pub(crate) async fn websocket_hears(machine: &AllInOne, ready: tokio::sync::oneshot::Sender<()>) -> Value {
    let mut request = format!("{}/v1/ws", machine.reads().replace("http", "ws")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("forebay.v1.json"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let mut ready = Some(ready);
    for text in [r#"{"op":"hello"}"#, r#"{"op":"sub","id":1,"ch":["flights/*"]}"#] {
        futures::SinkExt::send(&mut socket, Message::text(text)).await.unwrap();
    }
    while let Some(message) = socket.next().await {
        let Ok(Message::Text(text)) = message else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        match message["op"].as_str() {
            Some("ready") => ready.take().unwrap().send(()).unwrap(),
            Some("result") => return message,
            _ => {}
        }
    }
    panic!("the socket ended");
}

async fn sse_hears(machine: &AllInOne, ready: tokio::sync::oneshot::Sender<()>) -> Value {
    let url = format!("{}/v1/sse?ch=flights/DTW", machine.reads());
    let mut body = reqwest::get(url).await.unwrap();
    let (mut ready, mut text) = (Some(ready), String::new());
    while let Some(chunk) = body.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
        if text.contains("event: ready")
            && let Some(ready) = ready.take()
        {
            ready.send(()).unwrap();
        }
        if let Some((_, result)) = text.split_once("event: result\ndata: ")
            && let Some((result, _)) = result.split_once("\n\n")
        {
            return serde_json::from_str(result).unwrap();
        }
    }
    panic!("the stream ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_producer_is_heard_on_websocket_and_sse() {
    let mut machine = AllInOne::new("native").await;
    machine.start().await;
    let (socket_ready, socket_is) = tokio::sync::oneshot::channel();
    let (sse_ready, sse_is) = tokio::sync::oneshot::channel();
    let producing = async {
        socket_is.await.unwrap();
        sse_is.await.unwrap();
        produce(&machine).await;
    };
    let all = futures::future::join3(websocket_hears(&machine, socket_ready), sse_hears(&machine, sse_ready), producing);
    let (socket, sse, ()) = tokio::time::timeout(PATIENCE, all).await.expect("both hear the result");
    for result in [&socket, &sse] {
        assert_eq!(result["type"], "flight.recorded");
        assert_eq!((&result["ch"], &result["seq"]), (&Value::from("flights/DTW"), &Value::from(1)));
        assert_eq!(result["data"]["delay_minutes"], 66);
    }
    assert_eq!(socket["eid"], sse["eid"]);
    machine.stop().await;
}
