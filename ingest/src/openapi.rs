//! The API as a document: OpenAPI 3.1 of the fixed routes and of those the catalog adds, made once at start.

use std::fmt::Write;
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use crate::stream::{Kind, Stream};

mod avro;

/// What `/openapi.json` and `/docs` answer.
pub(crate) struct Document {
    /// JSON.
    pub(crate) text: Bytes,
    /// Its entity tag.
    pub(crate) tag: String,
    /// A page that lists the routes.
    pub(crate) page: String,
}

/// The JSON Schema of a type's data.
pub(crate) fn data_schema(kind: &Kind) -> Value {
    avro::json_schema(&kind.schema.schema)
}

/// Describes everything the edge answers.
pub(crate) fn document(streams: &[Arc<Stream>]) -> Document {
    let mut paths = fixed(streams);
    let mut schemas = components();
    for kind in streams.iter().flat_map(|stream| &stream.kinds) {
        schemas.insert(kind.ce_type.clone(), data_schema(kind));
        let Some(route) = &kind.route else { continue };
        let path = paths.entry(&route.path).or_insert_with(|| json!({}));
        path[route.method.to_ascii_lowercase()] = operation(kind, route.parameters());
    }
    let page = page(&paths);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Forebay, write side",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Events go in here; each gets exactly one verdict.",
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {"schemas": schemas},
    });
    let text = document.to_string();
    let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..16]);
    Document { text: text.into(), tag, page }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn problem(description: &str) -> Value {
    json!({"description": description, "content": {"application/problem+json": {"schema": reference("Problem")}}})
}

fn answers(body: &Value) -> Map<String, Value> {
    let fine = |description: &str| json!({"description": description, "content": {"application/json": {"schema": body}}});
    let mut answers = Map::new();
    answers.insert("200".into(), fine("every event stands in the log"));
    for (status, description) in [
        ("400", "the body or a header cannot be read"),
        ("401", "no valid credentials"),
        ("403", "not allowed"),
        ("406", "the caller takes no JSON"),
        ("408", "the body came too slowly"),
        ("409", "the same event or request is being sent right now, or the state refuses it"),
        ("413", "the body, the batch or the event is too large"),
        ("415", "this media type or coding is not taken"),
        ("422", "invalid"),
        ("429", "the quota is used up"),
        ("500", "a bug"),
        ("503", "not written, or unknown: see the verdict"),
    ] {
        answers.insert(status.into(), problem(description));
    }
    answers
}

fn operation<'k>(kind: &'k Kind, parameters: impl Iterator<Item = &'k str>) -> Value {
    let data = reference(&kind.ce_type);
    let one = match kind.example.as_deref().and_then(|example| serde_json::from_str::<Value>(example).ok()) {
        Some(example) => json!({"schema": data, "example": example}),
        None => json!({"schema": data}),
    };
    let mut content = Map::new();
    if kind.batch {
        let several = json!({"oneOf": [data, {"type": "array", "items": data}]});
        content.insert("application/json".into(), json!({"schema": several, "example": one["example"]}));
        content.insert("application/x-ndjson".into(), json!({"schema": {"type": "string"}}));
    } else {
        content.insert("application/json".into(), one);
    }
    let verdict = if kind.batch { json!({"oneOf": [reference("Verdict"), reference("Batch")]}) } else { reference("Verdict") };
    let mut answers = answers(&verdict);
    let json_answer =
        |description: &str| json!({"description": description, "content": {"application/json": {"schema": verdict}}});
    if kind.batch {
        answers.insert("207".into(), json_answer("verdicts of different kinds"));
    }
    if kind.outcome {
        answers.insert("202".into(), json_answer("accepted; its outcome was not settled in time, or not waited for"));
    }
    if kind.outcome && kind.location.is_some() {
        answers.insert("201".into(), json_answer("created; Location names the view"));
    }
    let in_path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    json!({
        "summary": kind.title,
        "operationId": kind.ce_type,
        "parameters": parameters.map(in_path).chain(common_parameters()).collect::<Vec<_>>(),
        "requestBody": {"required": true, "content": content},
        "responses": answers,
    })
}

fn common_parameters() -> impl Iterator<Item = Value> {
    let header = |(name, description): (&str, &str)| json!({"name": name, "in": "header", "required": false, "description": description, "schema": {"type": "string"}});
    let headers = [
        ("Idempotency-Key", "makes a retry safe: the same key and body are taken once"),
        ("Prefer", "return=minimal, wait=N, respond-async"),
        ("Request-Timeout-Ms", "the caller's own deadline, at least 50"),
        ("X-Request-Id", "comes back in the answer and in logs"),
    ];
    headers.into_iter().map(header)
}

fn fixed(streams: &[Arc<Stream>]) -> Map<String, Value> {
    let stream = json!({
        "name": "stream", "in": "path", "required": true,
        "schema": {"type": "string", "enum": streams.iter().map(|stream| &stream.name).collect::<Vec<_>>()},
    });
    let query = |name: &str, schema: Value| json!({"name": name, "in": "query", "required": false, "schema": schema});
    let events = json!({"oneOf": [reference("Event"), {"type": "array", "items": reference("Event")}]});
    let body = json!({"required": true, "content": {
        "application/json": {"schema": events},
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/cloudevents+json": {"schema": reference("Event")},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": reference("Event")}},
    }});
    let verdicts = json!({"oneOf": [reference("Verdict"), reference("Batch")]});
    let mut written = answers(&verdicts);
    let mixed = json!({"description": "verdicts of different kinds", "content": {"application/json": {"schema": verdicts}}});
    written.insert("207".into(), mixed);
    written.insert("404".into(), problem("no such stream"));
    let object = json!({"type": "object"});
    let plain = |description: &str| json!({"200": {"description": description, "content": {"application/json": {"schema": object}}}, "403": problem("not allowed")});
    let mut validated = answers(&object);
    validated.insert("404".into(), problem("no such stream"));
    let parameters: Vec<_> =
        [stream.clone(), query("type", json!({"type": "string"})), query("strict", json!({"type": "boolean"}))]
            .into_iter()
            .chain(common_parameters())
            .collect();
    let paths = json!({
        "/v1/streams": {"get": {"summary": "streams and their types", "operationId": "streams", "responses": plain("all streams")}},
        "/v1/streams/{stream}": {"get": {
            "summary": "types and schemas of a stream", "operationId": "stream", "parameters": [stream],
            "responses": {"200": plain("the stream")["200"], "403": problem("not allowed"), "404": problem("no such stream")},
        }},
        "/v1/streams/{stream}/events": {"post": {
            "summary": "send events", "operationId": "send", "parameters": parameters, "requestBody": body, "responses": written,
        }},
        "/v1/streams/{stream}/events:validate": {"post": {
            "summary": "check events without sending them", "operationId": "validate", "parameters": parameters,
            "requestBody": body, "responses": validated,
        }},
    });
    match paths {
        Value::Object(paths) => paths,
        _ => Map::new(),
    }
}

fn components() -> Map<String, Value> {
    let text = json!({"type": "string"});
    let whole = json!({"type": "integer"});
    let event = json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "specversion": {"const": "1.0"}, "type": text, "id": text, "source": text, "subject": text,
            "time": {"type": "string", "format": "date-time"}, "datacontenttype": text, "data": {"type": "object"},
        },
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    });
    let error = json!({
        "type": "object",
        "required": ["pointer", "code", "message"],
        "properties": {"pointer": text, "code": text, "expected": text, "actual": text, "message": text, "byte": whole},
    });
    let verdict = json!({
        "type": "object",
        "required": ["index", "verdict"],
        "properties": {
            "index": whole, "verdict": {"enum": ["accepted", "duplicate", "invalid", "retry", "unknown"]}, "id": text,
            "subject": text, "stream": text, "partition": whole, "offset": {"type": ["integer", "null"]},
            "durability": {"enum": ["log", "local"]}, "receipt": text, "first_seen": text, "duplicate_of": whole, "reason": text,
            "schema": {"type": "object"}, "errors": {"type": "array", "items": reference("Error")}, "errors_omitted": whole,
            "retry_after_ms": whole, "lifecycle": {"type": "object"},
        },
    });
    let batch = json!({
        "type": "object",
        "required": ["counts", "events"],
        "properties": {
            "counts": {"type": "object", "additionalProperties": whole},
            "events": {"type": "array", "items": reference("Verdict")},
        },
    });
    let problem = json!({
        "type": "object",
        "required": ["type", "title", "status", "retryable"],
        "properties": {
            "type": text, "title": text, "status": whole, "detail": text, "instance": text, "retryable": {"type": "boolean"},
        },
    });
    let all = [("Event", event), ("Error", error), ("Verdict", verdict), ("Batch", batch), ("Problem", problem)];
    all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn page(paths: &Map<String, Value>) -> String {
    let mut rows = String::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let (method, summary) = (method.to_ascii_uppercase(), operation["summary"].as_str().unwrap_or_default());
            // writing to a string cannot fail
            let _ = writeln!(rows, "<tr><td><code>{method} {}</code></td><td>{}</td></tr>", escape(path), escape(summary));
        }
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Forebay, write side</title>\
         <h1>Forebay, write side</h1><p>The whole description: <a href=\"/openapi.json\">openapi.json</a></p>\
         <table>\n{rows}</table></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
