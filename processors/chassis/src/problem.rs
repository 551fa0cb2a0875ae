//! Error answers as RFC 9457 problem+json: one table of all names. Names are never reused or renamed. Rooms make a [`Problem`] by name;
//! only this file turns it into bytes.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::request;

pub use table::Name;

mod table;

/// An error answer in the making.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Which problem.
    pub name: Name,
    /// The status, if it differs from the table's.
    pub status: StatusCode,
    /// What is wrong with this request. Below 500 it is part of the answer; from 500 on it goes to the log and the answer has a constant text.
    pub detail: String,
    /// When to come back: the exact figure for the body; `Retry-After` has it in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    /// Extension members, e.g. `errors`, `limit`, `counts`, `events`.
    pub members: Map<String, Value>,
}

impl Problem {
    /// The problem of that name, with its status.
    pub fn new(name: Name, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(name.entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { name, status, detail: detail.into(), retry_after: None, members: Map::new() }
    }

    /// With the time after which a repeat makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With one more member. The standard members cannot be replaced.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// The body.
    pub fn body(&self) -> Value {
        let entry = self.name.entry();
        let mut body = self.members.clone();
        let detail = if self.status.is_server_error() { entry.title } else { self.detail.as_str() };
        let standard = json!({
            "type": format!("urn:forebay:problem:{}", entry.name),
            "title": entry.title,
            "status": self.status.as_u16(),
            "detail": detail,
            "retryable": entry.retryable,
        });
        if let Value::Object(standard) = standard {
            body.extend(standard);
        }
        if let Some(id) = request::current_id() {
            body.insert("instance".to_owned(), format!("urn:forebay:request:{id}").into());
        }
        if let Some(after) = self.retry_after {
            body.insert("retry_after_ms".to_owned(), u64::try_from(after.as_millis()).unwrap_or(u64::MAX).into());
        }
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(
                problem = self.name.as_str(),
                detail = self.detail,
                request_id = request::current_id(),
                "a request failed"
            );
        } else if self.status.is_server_error() {
            tracing::info!(
                problem = self.name.as_str(),
                detail = self.detail,
                request_id = request::current_id(),
                "a request was refused"
            );
        }
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            let seconds = u64::try_from(after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a problem type means and what to do, as plain text; None for names that do not exist.
pub fn page(name: &str) -> Option<&'static str> {
    Name::parse(name).map(|name| name.entry().explanation)
}

/// `GET /problems/{name}`. One process mounts it once.
pub fn router() -> Router {
    Router::new().route("/problems/{name}", get(explain))
}

/// The answer to a path that no room has; for the router's fallback.
pub async fn not_found() -> Response {
    Problem::new(Name::NotFound, "nothing lives at this path; /openapi.json lists all routes").into_response()
}

async fn explain(Path(name): Path<String>) -> Response {
    let Some(known) = Name::parse(&name) else {
        return Problem::new(Name::NotFound, "no problem type has this name").into_response();
    };
    let entry = known.entry();
    let retry = if entry.retryable { "yes" } else { "no" };
    let text = format!("{name}: {}\nstatus: {}\nretryable: {retry}\n\n{}\n", entry.title, entry.status, entry.explanation);
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_server_error_is_constant() {
        let body = Problem::new(Name::Internal, "secret of the house").body();
        assert!(!body.to_string().contains("secret"));
        assert_eq!(body["type"], "urn:forebay:problem:internal");
        assert_eq!(body["retryable"], true);
    }

    #[test]
    fn members_cannot_replace_the_standard_ones() {
        let body = Problem::new(Name::TooLarge, "the body is too large").with("limit", "limits.body").with("status", 200).body();
        assert_eq!((body["status"].as_u64(), body["limit"].as_str()), (Some(413), Some("limits.body")));
        assert_eq!(body["detail"], "the body is too large");
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_exactly() {
        let response = Problem::new(Name::Overloaded, "").retry_after(Duration::from_millis(1_200)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(Problem::new(Name::Overloaded, "").retry_after(Duration::from_millis(1_200)).body()["retry_after_ms"], 1200);
    }

    #[test]
    fn every_name_has_a_page_and_names_are_unique() {
        for name in Name::ALL {
            assert_eq!(Name::parse(name.as_str()), Some(*name));
            assert!(page(name.as_str()).is_some_and(|text| text.len() > 40), "{}", name.as_str());
        }
        assert_eq!(page("nothing"), None);
    }
}
