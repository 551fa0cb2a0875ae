//! The few calls of the registry's REST API that are used.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Error;

/// Longest a request may take.
const REQUEST_TIME: Duration = Duration::from_secs(2);
/// Longest piece of an answer that an error repeats, characters.
const ANSWER_MAX: usize = 500;
/// "Subject not found" of the API.
const NO_SUBJECT: i64 = 40401;

pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

/// Whether a schema is registered under a subject.
pub(super) enum Found {
    Id(i32),
    No { subject_exists: bool },
}

impl Client {
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let http = reqwest::Client::builder().timeout(REQUEST_TIME).no_proxy().build();
        let http = http.map_err(|error| Error::Unavailable { url: url.to_owned(), cause: error.to_string() })?;
        Ok(Self { http, url: url.to_owned() })
    }

    pub(super) async fn look_up(&self, subject: &str, schema: &str) -> Result<Found, Error> {
        let path = format!("/subjects/{subject}");
        let (status, answer) = self.send(Method::POST, &path, Some(schema_body(schema))).await?;
        match status {
            StatusCode::OK => Ok(Found::Id(self.id_in(&path, &answer)?)),
            StatusCode::NOT_FOUND => Ok(Found::No { subject_exists: answer["error_code"].as_i64() != Some(NO_SUBJECT) }),
            _ => Err(refused(&path, status, &answer)),
        }
    }

    pub(super) async fn check(&self, subject: &str, schema: &str) -> Result<(), Error> {
        let path = format!("/compatibility/subjects/{subject}/versions?verbose=true");
        let (status, answer) = self.send(Method::POST, &path, Some(schema_body(schema))).await?;
        match (status, answer["is_compatible"].as_bool()) {
            (StatusCode::OK, Some(true)) => Ok(()),
            (StatusCode::OK, Some(false)) => {
                let messages = answer["messages"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let message = messages.collect::<Vec<_>>().join("; ");
                let message = if message.is_empty() { "the registry gives no reason".to_owned() } else { message };
                Err(Error::Incompatible { subject: subject.to_owned(), message: cut(&message) })
            }
            _ => Err(refused(&path, status, &answer)),
        }
    }

    pub(super) async fn register(&self, subject: &str, schema: &str) -> Result<i32, Error> {
        let path = format!("/subjects/{subject}/versions");
        let (status, answer) = self.send(Method::POST, &path, Some(schema_body(schema))).await?;
        match status {
            StatusCode::OK => self.id_in(&path, &answer),
            StatusCode::CONFLICT => {
                let message = answer["message"].as_str().map_or_else(|| answer.to_string(), str::to_owned);
                Err(Error::Incompatible { subject: subject.to_owned(), message: cut(&message) })
            }
            _ => Err(refused(&path, status, &answer)),
        }
    }

    pub(super) async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let path = format!("/config/{subject}");
        let (status, answer) = self.send(Method::PUT, &path, Some(json!({ "compatibility": level }))).await?;
        if status.is_success() { Ok(()) } else { Err(refused(&path, status, &answer)) }
    }

    /// The text of a schema; `None` when there is none with that id.
    pub(super) async fn schema(&self, id: i32) -> Result<Option<String>, Error> {
        let path = format!("/schemas/ids/{id}");
        let (status, answer) = self.send(Method::GET, &path, None).await?;
        match (status, answer["schema"].as_str()) {
            (StatusCode::OK, Some(text)) => Ok(Some(text.to_owned())),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            _ => Err(refused(&path, status, &answer)),
        }
    }

    /// Version numbers under a subject, rising; none when there is no such subject.
    pub(super) async fn versions(&self, subject: &str) -> Result<Vec<i64>, Error> {
        let path = format!("/subjects/{subject}/versions");
        let (status, answer) = self.send(Method::GET, &path, None).await?;
        match (status, answer.as_array()) {
            (StatusCode::OK, Some(versions)) => Ok(versions.iter().filter_map(Value::as_i64).collect()),
            (StatusCode::NOT_FOUND, _) => Ok(Vec::new()),
            _ => Err(refused(&path, status, &answer)),
        }
    }

    /// Schema id of a version; `None` when it is gone.
    pub(super) async fn id_of_version(&self, subject: &str, version: i64) -> Result<Option<i32>, Error> {
        let path = format!("/subjects/{subject}/versions/{version}");
        let (status, answer) = self.send(Method::GET, &path, None).await?;
        match status {
            StatusCode::OK => self.id_in(&path, &answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(&path, status, &answer)),
        }
    }

    fn id_in(&self, path: &str, answer: &Value) -> Result<i32, Error> {
        let id = answer["id"].as_i64().and_then(|id| i32::try_from(id).ok());
        id.ok_or_else(|| refused(path, StatusCode::OK, answer))
    }

    /// Sends and reads; answers that mean "later" are [`Error::Unavailable`].
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value), Error> {
        let unavailable = |cause: String| {
            count("unavailable");
            Error::Unavailable { url: self.url.clone(), cause }
        };
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| unavailable(innermost(&error)))?;
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(unavailable(format!("status {status}")));
        }
        let bytes = answer.bytes().await.map_err(|error| unavailable(innermost(&error)))?;
        count(match status {
            StatusCode::NOT_FOUND => "not_found",
            status if status.is_success() => "ok",
            _ => "refused",
        });
        let answer = serde_json::from_slice(&bytes);
        Ok((status, answer.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))))
    }
}

fn schema_body(schema: &str) -> Value {
    json!({ "schemaType": "AVRO", "schema": schema })
}

fn refused(path: &str, status: StatusCode, answer: &Value) -> Error {
    Error::Refused { request: path.to_owned(), answer: format!("{status} {}", cut(&answer.to_string())) }
}

fn cut(text: &str) -> String {
    text.chars().take(ANSWER_MAX).collect()
}

/// What lies below the client's general words: "connection refused" tells more than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn count(outcome: &'static str) {
    metrics::counter!(crate::metrics::REQUESTS, "outcome" => outcome).increment(1);
}
