//! Reads over HTTP: rows as views, and where an event is. Every row is read by the final-view rule, every lifecycle by the one rule
//! there is; this room only puts them into JSON.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use state::Shard;
use state::reader::Within;

use chassis::problem::{Name, Problem};
use schemas::partition::partition_of;

use crate::app::App;
use crate::clock::now_ms;

pub(crate) mod events;
pub(crate) mod lists;
pub(crate) mod routes;
pub(crate) mod rows;
pub(crate) mod views;

/// A read that begins now and may take `budget`.
fn within(budget: Duration) -> Within {
    Within::new(now_ms() * 1_000, budget)
}

/// The shard that owns `subject`; `None` if the catalog does not have the stream.
fn shard_of(app: &App, stream: &str, subject: &str) -> Option<Shard> {
    let declared = app.catalog.stream(stream)?;
    Some(Shard { stream: declared.name.as_str().into(), number: partition_of(subject, declared.partitions) })
}

/// The answer when the store does not give a final view in time.
fn unavailable(error: &impl fmt::Display) -> Problem {
    Problem::new(Name::ViewUnavailable, error.to_string()).retry_after(Duration::from_secs(1))
}

/// The same for what is not there and for what may not be seen.
fn not_found() -> Problem {
    Problem::new(Name::ViewNotFound, "there is nothing to see under this name")
}

/// A problem that names one parameter.
fn bad_parameter(pointer: &str, message: &str) -> Problem {
    let error = serde_json::json!({"pointer": pointer, "message": message});
    Problem::new(Name::MalformedRequest, message).with("errors", vec![error])
}

/// A JSON answer with its `ETag`; 304 if the client has it.
fn conditional(headers: &HeaderMap, etag: &str, body: String) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = known.is_some_and(|known| known == "*" || known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag));
    let tag = HeaderValue::from_str(etag).unwrap_or(HeaderValue::from_static("\"\""));
    let shared = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))];
    if same {
        return (StatusCode::NOT_MODIFIED, shared).into_response();
    }
    (shared, [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], body).into_response()
}

/// A JSON answer that nobody may keep.
fn fresh(body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body).into_response()
}
