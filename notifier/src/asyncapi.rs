//! `GET /asyncapi.json`: the live API in AsyncAPI 3.0.0, made from the protocol and the catalog.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use schemas::catalog::Catalog;

use crate::app::App;
use crate::protocol::SUBPROTOCOL;

/// Examples of what a client says; the same text stands in the documentation.
const REQUESTS: &[(&str, &str)] = &[
    ("hello", r#"{"op":"hello","sdk":"forebay-js/1.0","heartbeat_s":25}"#),
    ("sub", r#"{"op":"sub","id":1,"ch":["flights/*"],"since":"now","policy":"catchup","on_gap":"live"}"#),
    ("unsub", r#"{"op":"unsub","id":1}"#),
    ("repair", r#"{"op":"repair","id":1,"ch":"flights/ATL","last":41}"#),
    ("auth", r#"{"op":"auth","auth":"<bearer>"}"#),
];

/// Examples of what the server says.
const PUSHES: &[(&str, &str)] = &[
    (
        "welcome",
        r#"{"op":"welcome","conn":"7","account":"main","time":"2026-01-31T12:00:00.000Z","expires":null,"heartbeat_s":25,"silence_s":60,"limits":{"subscriptions":256,"message_bytes":65536}}"#,
    ),
    ("ready", r#"{"op":"ready","id":1,"g":17,"status":"live","source":"none","token":null,"behind_ms":0}"#),
    (
        "result",
        r#"{"op":"result","g":17,"ch":"flights/ATL","seq":42,"prev":41,"eid":"6f1c","src":"forebay/flights","type":"flight.recorded","time":"2026-01-31T12:00:00.000Z","cause":"9f","data":{}}"#,
    ),
    ("pos", r#"{"op":"pos","g":17,"token":null,"asof":"2026-01-31T12:00:07.250Z"}"#),
    ("lag", r#"{"op":"lag","g":17,"state":"catching_up","behind_ms":5200}"#),
    ("gap", r#"{"op":"gap","g":17,"reason":"budget","next":"live"}"#),
    ("repaired", r#"{"op":"repaired","g":17,"ch":"flights/ATL","through":57}"#),
    ("end", r#"{"op":"end","id":1,"g":17,"code":"done","retry":false}"#),
    ("err", r#"{"op":"err","id":1,"code":"channel_syntax","text":"a segment is empty","retry":false,"after_ms":0}"#),
    ("hb", r#"{"op":"hb","time":"2026-01-31T12:00:00.000Z"}"#),
    ("bye", r#"{"op":"bye","code":"drain","reconnect":true,"min_ms":0,"max_ms":2000}"#),
];

/// The document.
pub(crate) async fn show(State(app): State<Arc<App>>) -> Response {
    ([("content-type", "application/json"), ("cache-control", "no-cache")], document(&app.catalog).to_string()).into_response()
}

fn document(catalog: &Catalog) -> Value {
    let mut messages = serde_json::Map::new();
    for (op, example) in REQUESTS.iter().chain(PUSHES) {
        messages.insert((*op).to_owned(), message(op, example));
    }
    let references = |ops: &[(&str, &str)]| -> Vec<Value> {
        ops.iter().map(|(op, _)| json!({"$ref": format!("#/channels/websocket/messages/{op}")})).collect()
    };
    let of_channel = |ops: &[(&str, &str)]| -> serde_json::Map<String, Value> {
        ops.iter().map(|(op, _)| ((*op).to_owned(), json!({"$ref": format!("#/components/messages/{op}")}))).collect()
    };
    let mut on_websocket = of_channel(REQUESTS);
    on_websocket.extend(of_channel(PUSHES));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Forebay live results",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("Results of every stream, in order per channel. WebSocket subprotocol {SUBPROTOCOL}; Server-Sent Events carry the same objects. A channel is <stream>/<subject>; patterns use * for one segment and ** for the rest."),
        },
        "defaultContentType": "application/json",
        "channels": {
            "websocket": {"address": "/v1/ws", "messages": on_websocket},
            "sse": {"address": "/v1/sse", "messages": of_channel(PUSHES)},
        },
        "operations": {
            "say": {"action": "receive", "channel": {"$ref": "#/channels/websocket"}, "messages": references(REQUESTS)},
            "hear": {"action": "send", "channel": {"$ref": "#/channels/websocket"}, "messages": references(PUSHES)},
        },
        "components": {"messages": messages},
        "x-streams": streams(catalog),
    })
}

fn message(op: &str, example: &str) -> Value {
    let payload: Value = serde_json::from_str(example).unwrap_or_default();
    json!({
        "name": op,
        "payload": {"type": "object", "required": ["op"], "properties": {"op": {"const": op}}},
        "examples": [{"payload": payload}],
    })
}

/// The payloads of `result`, by stream: Avro schemas as they are registered.
fn streams(catalog: &Catalog) -> Value {
    let streams = catalog.streams().iter().map(|stream| {
        let results: Vec<Value> = stream
            .results
            .iter()
            .map(|result| {
                let avro: Value = serde_json::from_str(&result.schema.json).unwrap_or_default();
                json!({"type": result.ce_type, "avro": avro})
            })
            .collect();
        (stream.name.clone(), json!({"channel": format!("{}/{{subject}}", stream.name), "results": results}))
    });
    Value::Object(streams.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::client;

    #[test]
    fn the_examples_are_what_the_server_takes() {
        for (op, example) in REQUESTS {
            assert!(client::parse(example).is_ok(), "{op}");
        }
        for (op, example) in PUSHES {
            let value: Value = serde_json::from_str(example).unwrap();
            assert_eq!(value["op"], *op);
        }
    }
}
