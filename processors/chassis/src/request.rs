//! What every request of every listener gets: an id, a span that continues the caller's trace, its place in the metrics, and an answer in
//! the one form of errors even where a handler panics or axum itself refuses.
//!
//! The id is taken from `X-Request-Id` if it is a plain token of 1–128 characters, else made; it stands in the span, in problem bodies and
//! in the answer.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use metrics::{counter, gauge, histogram};
use tracing::Instrument;

use crate::metrics::{HTTP_IN_FLIGHT, HTTP_REQUEST_TIME, HTTP_REQUESTS, Level};
use crate::problem::{Name, Problem};
use crate::telemetry;

/// The header, in requests and answers.
pub const ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a client.
const LENGTH_MAX: usize = 128;
/// Longest text of an answer that is turned into a problem, bytes.
const TEXT_MAX: usize = 4 * 1024;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request this task is handling.
pub fn current_id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Middleware of [`crate::listener`]; the state is the listener's name.
pub(crate) async fn layer(State(listener): State<&'static str>, request: Request, next: Next) -> Response {
    let id = request.headers().get(&ID_HEADER).and_then(token).map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = method(request.method());
    let span = tracing::info_span!(
        "request",
        "otel.kind" = "server",
        listener,
        method,
        route,
        path = request.uri().path(),
        request_id = id.as_str(),
        status = tracing::field::Empty,
    );
    if let Some(parent) = request.headers().get("traceparent").and_then(|value| value.to_str().ok()) {
        telemetry::follow(&span, parent);
    }
    let header = HeaderValue::from_str(&id);
    let begun = Instant::now();
    let in_flight = Level::new(gauge!(HTTP_IN_FLIGHT, "listener" => listener));
    let mut response = CURRENT.scope(id, answer(request, next)).instrument(span.clone()).await;
    drop(in_flight);
    let status = response.status().as_u16();
    span.record("status", status);
    let labels = [("listener", listener.to_owned()), ("method", method.to_owned()), ("route", route)];
    histogram!(HTTP_REQUEST_TIME, &labels).record(begun.elapsed().as_secs_f64());
    let [listener, method, route] = labels;
    counter!(HTTP_REQUESTS, &[listener, method, route, ("status", status.to_string())]).increment(1);
    if let Ok(header) = header {
        response.headers_mut().insert(ID_HEADER, header);
    }
    response
}

/// A panic is a constant 500; what axum refuses by itself gets the form of all other errors.
async fn answer(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => uniform(response).await,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Problem::new(Name::Internal, format!("a handler panicked: {text}")).into_response()
        }
    }
}

async fn uniform(response: Response) -> Response {
    let status = response.status();
    let media = response.headers().get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || media.contains("json") {
        return response;
    }
    let name = match status {
        StatusCode::NOT_FOUND => Name::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Name::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Name::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Name::UnsupportedMediaType,
        status if status.is_server_error() => Name::Internal,
        _ => Name::MalformedRequest,
    };
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, TEXT_MAX).await.unwrap_or_default();
    let mut problem = Problem::new(name, String::from_utf8_lossy(&text));
    problem.status = status;
    let mut response = problem.into_response();
    // `Allow`, `Upgrade` and the like belong to the status
    for (name, value) in
        parts.headers.iter().filter(|(name, _)| **name != header::CONTENT_TYPE && **name != header::CONTENT_LENGTH)
    {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// The method as a label: a caller may send any word.
fn method(method: &Method) -> &'static str {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    let names = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.iter().position(|known| known == method).map_or("other", |index| names[index])
}

fn token(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    ((1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::Query;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, method: &str) -> (StatusCode, serde_json::Value) {
        async fn fails() -> Response {
            panic!("the secret of the house");
        }
        #[derive(serde::Deserialize)]
        struct Asked {
            limit: u32,
        }
        let router = Router::new()
            .route("/panic", get(fails))
            .route("/list", get(|Query(asked): Query<Asked>| async move { asked.limit.to_string() }));
        let router: Router = router.layer(from_fn_with_state("test", layer));
        let request = Request::builder().uri(path).method(method).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        if status.is_success() {
            return (status, serde_json::Value::Null);
        }
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers().contains_key(header::ALLOW), status == StatusCode::METHOD_NOT_ALLOWED);
        (status, serde_json::from_slice(&to_bytes(response.into_body(), 10_000).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_constant_500() {
        let (status, body) = ask("/panic", "GET").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((&body["type"], &body["retryable"]), (&"urn:forebay:problem:internal".into(), &true.into()));
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn what_axum_refuses_is_a_problem_too() {
        assert_eq!(ask("/list?limit=1", "GET").await.0, StatusCode::OK);
        let cases = [
            ("/list?limit=x", "GET", 400, "malformed-request"),
            ("/nowhere", "GET", 404, "not-found"),
            ("/list", "POST", 405, "method-not-allowed"),
        ];
        for (path, method, status, name) in cases {
            let (found, body) = ask(path, method).await;
            assert_eq!((found.as_u16(), &body["status"]), (status, &status.into()), "{path}");
            assert_eq!(body["type"], format!("urn:forebay:problem:{name}"), "{path}");
        }
    }

    #[test]
    fn methods_nobody_knows_share_a_label() {
        assert_eq!((method(&Method::PUT), method(&Method::from_bytes(b"BREW").unwrap())), ("PUT", "other"));
    }

    #[test]
    fn only_short_tokens_are_taken() {
        assert_eq!(token(&HeaderValue::from_static("abc-1")), Some("abc-1"));
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_eq!(token(&HeaderValue::from_str(bad).unwrap()), None, "{bad}");
        }
    }
}
