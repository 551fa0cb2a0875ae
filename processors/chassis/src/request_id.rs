//! The id of a request: taken from `X-Request-Id` if it is a plain token of 1–128 characters, else made; put into the span, into problem
//! bodies and into the answer.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::telemetry;

/// The header, in requests and answers.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a client.
const LENGTH_MAX: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request this task is handling.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Middleware for `axum::middleware::from_fn`: opens the request's span, which continues the caller's trace, and sets the id.
pub async fn layer(request: Request, next: Next) -> Response {
    let id = request.headers().get(&HEADER).and_then(token).map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let span = tracing::info_span!(
        "request",
        "otel.kind" = "server",
        method = %request.method(),
        path = request.uri().path(),
        request_id = id.as_str(),
        status = tracing::field::Empty,
    );
    if let Some(parent) = request.headers().get("traceparent").and_then(|value| value.to_str().ok()) {
        telemetry::follow(&span, parent);
    }
    let header = HeaderValue::from_str(&id);
    let mut response = CURRENT.scope(id, next.run(request)).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    if let Ok(header) = header {
        response.headers_mut().insert(HEADER, header);
    }
    response
}

fn token(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    ((1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_tokens_are_taken() {
        assert_eq!(token(&HeaderValue::from_static("abc-1")), Some("abc-1"));
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_eq!(token(&HeaderValue::from_str(bad).unwrap()), None, "{bad}");
        }
    }
}
