//! Stage *receive*: what must be known before a body is read, and the body itself, within limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use futures::StreamExt;
use serde::Deserialize;

use chassis::problem::{Name, Problem};

use crate::admission::{Full, Held, Pool, STEP};
use crate::config::Limits;
use crate::headers::{self, Media, Prefer};

/// A body may be slower than `limits.body_rate` for this long.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// What headers and query say about a write.
pub(crate) struct Wishes {
    pub(crate) media: Media,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) prefer: Prefer,
    /// From the last body byte to the answer.
    pub(crate) timeout: Duration,
    /// `?type=`
    pub(crate) kind: Option<String>,
    /// `?strict=true`
    pub(crate) strict: bool,
}

#[derive(Deserialize)]
struct Query {
    r#type: Option<String>,
    #[serde(default)]
    strict: bool,
}

/// Reads headers and query. Nothing of the body is needed for it.
///
/// # Errors
/// 400, 406 or 415.
pub(crate) fn wishes(headers: &HeaderMap, uri: &Uri, request_time: Duration) -> Result<Wishes, Problem> {
    if !headers::accepts_json(headers) {
        return Err(Problem::new(Name::NotAcceptable, "answers are application/json or application/problem+json"));
    }
    let query = axum::extract::Query::<Query>::try_from_uri(uri);
    let query = query.map_err(|error| Problem::new(Name::MalformedRequest, format!("the query cannot be read: {error}")))?.0;
    headers::coding(headers).map_err(|error| refused(&error))?;
    Ok(Wishes {
        media: headers::media(headers).map_err(|error| refused(&error))?,
        idempotency_key: headers::idempotency_key(headers).map_err(|error| refused(&error))?,
        prefer: headers::prefer(headers),
        timeout: headers::request_timeout(headers, request_time).map_err(|error| refused(&error))?,
        kind: query.r#type,
        strict: query.strict,
    })
}

/// A header that cannot be honoured, as an answer.
pub(crate) fn refused(error: &headers::Error) -> Problem {
    let name = match error {
        headers::Error::MediaType(_) => Name::UnsupportedMediaType,
        headers::Error::Encoding(_) => Name::UnsupportedEncoding,
        headers::Error::Malformed { .. } => Name::MalformedRequest,
    };
    Problem::new(name, error.to_string())
}

/// No room for a request.
pub(crate) fn full(error: Full) -> Problem {
    Problem::new(Name::Overloaded, error.to_string()).retry_after(Duration::from_millis(error.after_ms))
}

/// Something is larger than `limit`.
pub(crate) fn too_large(limit: &'static str, most: usize) -> Problem {
    Problem::new(Name::TooLarge, format!("{limit} allows {most}")).with("limit", limit)
}

/// Whether what is left of the body keeps the connection from being used again.
pub(crate) fn leaves_body_unread(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE)
}

/// Reads a whole body of at most `most` bytes; its memory is reserved before it is needed (E7).
///
/// # Errors
/// 413, 408, 503 `overloaded`, or 400 when the connection breaks.
pub(crate) async fn body(
    body: Body,
    headers: &HeaderMap,
    limits: &Limits,
    most: usize,
    pool: &Arc<Pool>,
) -> Result<(Vec<u8>, Held), Problem> {
    let most = most.min(limits.body_wire);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large("limits.body", most));
    }
    let mut held = pool.reserve(announced.unwrap_or(STEP)).map_err(full)?;
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0));
    let mut stream = body.into_data_stream();
    let begun = Instant::now();
    loop {
        let patience = limits.body_idle.min(limits.body_time.saturating_sub(begun.elapsed()));
        let Ok(next) = tokio::time::timeout(patience, stream.next()).await else { return Err(slow()) };
        let Some(chunk) = next else { return Ok((bytes, held)) };
        let chunk = chunk.map_err(|error| Problem::new(Name::MalformedRequest, format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > most {
            return Err(too_large("limits.body", most));
        }
        let needed = bytes.len() + chunk.len();
        if needed > held.bytes() {
            held.hold(needed.next_multiple_of(STEP)).map_err(full)?;
        }
        bytes.extend_from_slice(&chunk);
        if begun.elapsed() > RATE_GRACE && too_slow(bytes.len(), begun.elapsed(), limits.body_rate) {
            return Err(slow());
        }
    }
}

fn too_slow(bytes: usize, elapsed: Duration, rate: usize) -> bool {
    let seconds = usize::try_from(elapsed.as_secs()).unwrap_or(usize::MAX);
    bytes < rate.saturating_mul(seconds)
}

fn slow() -> Problem {
    Problem::new(Name::RequestTimeout, "the body came too slowly").retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_whole_seconds() {
        assert!(!too_slow(6_000, Duration::from_millis(6_900), 1_000));
        assert!(too_slow(5_999, Duration::from_secs(6), 1_000));
    }
}
