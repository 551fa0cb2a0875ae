//! The one outbound HTTP client: effects call their targets with it, plain or through TLS.
//!
//! Bounded in time and bytes, follows no redirect, and says of every answer whether another attempt may do better.
//! A target's certificate must come from an authority that the system trusts, or from one in `effects.ca_file`.
//! Absent: certificates of our own, HTTP/2, forward proxies.

mod trust;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as Broken};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::effects::{self, Call, EFFECT_BYTES_MAX};

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
    /// `http://…` or `https://…`, percent-encoded, without credentials: those belong in a header.
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
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
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

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of further authorities is not there, or is none.
    #[error("effects.ca_file {}: {reason}; name a PEM file with the certificates of your authorities", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
}

/// The client. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// A client of its own connections, which trusts the system's authorities and those of a PEM file.
    ///
    /// # Errors
    /// The file is none of certificates.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = HttpsConnectorBuilder::new().with_tls_config(trust::config(ca_file)?);
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let mut pool = Pool::builder(TokioExecutor::new());
        pool.pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new());
        Ok(Self { pool: pool.build(connector) })
    }

    async fn exchange(&self, id: &str, request: Request) -> Result<Answer, effects::Error> {
        let none = || effects::Error::Terminal("the request is none: look at its method, address and headers".to_owned());
        let Request { method, url, headers, body, timeout: _ } = request;
        let address = url.parse::<Uri>().ok().filter(is_address).ok_or_else(none)?;
        let mut asked = hyper::Request::builder().method(method).uri(address).header(IDEMPOTENCY_KEY, id);
        asked.headers_mut().ok_or_else(none)?.extend(headers);
        let asked = asked.body(Full::new(body)).map_err(|_| none())?;
        let response = self.pool.request(asked).await.map_err(|error| failed(&error))?;
        let status = response.status();
        if status.is_success() {
            let body = body_of(response).await?;
            return Ok(Answer { status: status.as_u16(), body });
        }
        let why = format!("the target answered {status}");
        if !is_passing(status) {
            return Err(effects::Error::Terminal(why));
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
        Err(asked.map_or_else(|| effects::Error::Retry(why.clone()), |wait| effects::Error::Later(why.clone(), wait)))
    }
}

impl Call {
    /// Makes one attempt at a target that speaks HTTP. The id of the effect goes along as `Idempotency-Key`, the same in every
    /// attempt.
    ///
    /// # Errors
    /// [`effects::Error::Terminal`] for an answer that will not change (3xx, 4xx, too many bytes) and a request that is none;
    /// [`effects::Error::Later`] where the target says when (`Retry-After`); [`effects::Error::Retry`] for everything else: no
    /// connection, a certificate that is not trusted, no answer in time, 408, 425, 429 and 5xx.
    pub async fn send(&self, request: Request) -> Result<Answer, effects::Error> {
        let answer = tokio::time::timeout(request.timeout, self.http.exchange(&self.id, request));
        answer.await.unwrap_or_else(|_| Err(effects::Error::Retry("no answer in time".to_owned())))
    }
}

/// Whether it can be called: `http` or `https`, a host, no credentials.
fn is_address(uri: &Uri) -> bool {
    let host = uri.authority().is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    host && matches!(uri.scheme_str(), Some("http" | "https"))
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

async fn body_of(response: Response<Incoming>) -> Result<Bytes, effects::Error> {
    match Limited::new(response.into_body(), EFFECT_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(effects::Error::Terminal(format!("the answer is over {EFFECT_BYTES_MAX} bytes")))
        }
        Err(_) => Err(effects::Error::Retry("the connection broke".to_owned())),
    }
}

/// The client's error, without the address: it may carry secrets.
fn failed(error: &Broken) -> effects::Error {
    let why = match trust::refusal(error) {
        Some(refusal) => refusal,
        None if error.is_connect() => "no connection".to_owned(),
        None => "the connection broke".to_owned(),
    };
    effects::Error::Retry(why)
}

#[cfg(test)]
mod tests;
