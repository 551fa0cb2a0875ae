//! Requests and answers.

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::server::{Server, shared};

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// A header's text, empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks status and problem type.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, name: &str) -> &Self {
        assert_eq!(
            (self.status, self.body["type"].as_str()),
            (status, Some(&*format!("urn:forebay:problem:{name}"))),
            "{self:?}"
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["title"].is_string() && self.body["retryable"].is_boolean(), "{self:?}");
        assert!(self.body["instance"].as_str().unwrap().starts_with("urn:forebay:request:"), "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store");
        self
    }

    /// Checks a single event's verdict.
    #[track_caller]
    pub(crate) fn is_verdict(&self, status: u16, verdict: &str) -> &Self {
        assert_eq!((self.status, self.body["verdict"].as_str()), (status, Some(verdict)), "{self:?}");
        self
    }

    /// Pointer and code of every error.
    pub(crate) fn errors(&self) -> Vec<(String, String)> {
        errors(&self.body)
    }
}

/// Pointer and code of every error of a verdict.
pub(crate) fn errors(verdict: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = verdict["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect()
}

/// Sends any request to a server.
pub(crate) async fn send(
    server: &Server,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Answer {
    // a client's connections belong to the runtime of the test
    let client = Client::builder().no_proxy().build().unwrap();
    let mut request = client.request(method, format!("{}{path}", server.base)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    Answer { status: status.as_u16(), headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

/// POSTs a body to the shared server.
pub(crate) async fn post(path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    send(shared(), Method::POST, path, headers, body).await
}

/// POSTs JSON to the shared server.
pub(crate) async fn post_json(path: &str, body: &Value) -> Answer {
    post(path, &[("content-type", "application/json")], body.to_string()).await
}

/// GETs from the shared server.
pub(crate) async fn get(path: &str) -> Answer {
    send(shared(), Method::GET, path, &[], "").await
}
