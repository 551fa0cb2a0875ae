//! The one outbound HTTP client: effects call their targets with it.
//!
//! Bounded in time and bytes, follows no redirect, and says of every answer whether another attempt may do better.
//! Absent: TLS; a target behind it is reached through a proxy that speaks it.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode};

use crate::effects::{Call, EFFECT_BYTES_MAX, Error};

/// A connection must stand within this time.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections kept per host.
const IDLE_MAX: usize = 8;
/// Idle connections are closed after this time: before a target closes them while we write.
const IDLE: Duration = Duration::from_secs(20);
/// The header that names the effect.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What to ask of a target.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: Method,
    /// `http://…`.
    pub url: String,
    /// Headers, beside `Idempotency-Key`.
    pub headers: HeaderMap,
    /// Body; may be empty.
    pub body: Bytes,
    /// The whole exchange takes no longer. Shorter than the lease of the effect.
    pub timeout: Duration,
}

impl Request {
    /// A POST of JSON that may take 20 s.
    #[must_use]
    pub fn post_json(url: &str, body: impl Into<Bytes>) -> Self {
        let json = (reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self {
            method: Method::POST,
            url: url.to_owned(),
            headers: [json].into_iter().collect(),
            body: body.into(),
            timeout: Duration::from_secs(20),
        }
    }
}

/// What a target answered: always a 2xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Body, at most [`EFFECT_BYTES_MAX`] bytes.
    pub body: Bytes,
}

/// The client. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
}

impl Client {
    /// A client of its own connections.
    ///
    /// # Errors
    /// What keeps it from being made, as text.
    pub fn new() -> Result<Self, String> {
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).redirect(Policy::none());
        let builder = builder.pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE);
        let inner = builder.build().map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
        Ok(Self { inner })
    }

    /// Makes one attempt. The id of the effect goes along as `Idempotency-Key`, the same in every attempt.
    ///
    /// # Errors
    /// [`Error::Terminal`] for an answer that will not change (3xx, 4xx, too many bytes) and a request that is none;
    /// [`Error::Later`] where the target says when (`Retry-After`); [`Error::Retry`] for everything else: no connection,
    /// no answer in time, 408, 425, 429 and 5xx.
    pub async fn send(&self, call: &Call, request: Request) -> Result<Answer, Error> {
        let Request { method, url, headers, body, timeout } = request;
        let sending = self.inner.request(method, &url).headers(headers).header(IDEMPOTENCY_KEY, &call.id);
        let response = sending.body(body).timeout(timeout).send().await.map_err(|error| failed(&error))?;
        let status = response.status();
        if status.is_success() {
            let body = body_of(response).await?;
            return Ok(Answer { status: status.as_u16(), body });
        }
        let why = format!("the target answered {status}");
        if !is_passing(status) {
            return Err(Error::Terminal(why));
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
        Err(asked.map_or_else(|| Error::Retry(why.clone()), |wait| Error::Later(why.clone(), wait)))
    }
}

/// Whether another attempt may get another answer.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// Seconds or a date (RFC 9110); none when it says neither.
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = SystemTime::from(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
    Some(at.duration_since(now).unwrap_or_default())
}

async fn body_of(mut response: Response) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > EFFECT_BYTES_MAX {
            return Err(Error::Terminal(format!("the answer is over {EFFECT_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The client's error, without the address: it may carry secrets.
fn failed(error: &reqwest::Error) -> Error {
    let why = |what: &str| what.to_owned();
    if error.is_builder() {
        return Error::Terminal(why("the request is none: look at its method, address and headers"));
    }
    Error::Retry(match () {
        () if error.is_timeout() => why("no answer in time"),
        () if error.is_connect() => why("no connection"),
        () => why("the connection broke"),
    })
}

#[cfg(test)]
mod tests;
