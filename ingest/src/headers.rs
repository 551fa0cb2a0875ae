//! Request headers that steer a write, parsed once.

use std::time::Duration;

use axum::http::{HeaderMap, header};

/// Longest accepted `Idempotency-Key`, bytes.
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// Shortest deadline a caller may ask for.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// Longest `Prefer: wait=N` that is honoured.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// What a body is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// One JSON value, or an array of them.
    Json,
    /// One JSON value per line.
    Lines,
    /// CloudEvents, structured: one event object.
    CloudEvent,
    /// CloudEvents, batched: an array of event objects.
    CloudEvents,
}

/// `Prefer`, as far as it is known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// Leave `accepted` entries out of a batch's answer.
    pub(crate) minimal: bool,
    /// Answer without waiting for an outcome.
    pub(crate) respond_async: bool,
    /// Wait this long for the lifecycle to settle, cut to [`WAIT_MAX`].
    pub(crate) wait: Option<Duration>,
}

/// Why a header cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// The media type is none of ours, or its charset is not UTF-8.
    #[error("the media type {0} is not supported")]
    MediaType(String),
    /// A content coding that is not supported.
    #[error("the content coding {0} is not supported")]
    Encoding(String),
    /// The header is malformed.
    #[error("the header {name} is malformed: {what}")]
    Malformed {
        /// Which header.
        name: &'static str,
        /// What it should look like.
        what: &'static str,
    },
}

/// What the answer to a body of `content-type` would be read as. Absent counts as JSON; nothing is sniffed.
///
/// # Errors
/// [`Error::MediaType`] for anything else, and for charsets other than UTF-8.
pub(crate) fn media(headers: &HeaderMap) -> Result<Media, Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Media::Json) };
    let text = value.to_str().map_err(|_| Error::MediaType("(not ASCII)".into()))?;
    let refuse = || Error::MediaType(text.chars().take(100).collect());
    let mut parts = text.split(';').map(str::trim);
    let media = match parts.next().unwrap_or("").to_ascii_lowercase().as_str() {
        "application/json" => Media::Json,
        "application/x-ndjson" | "application/jsonl" => Media::Lines,
        "application/cloudevents+json" => Media::CloudEvent,
        "application/cloudevents-batch+json" => Media::CloudEvents,
        _ => return Err(refuse()),
    };
    for parameter in parts.filter(|part| !part.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(refuse)?;
        let utf8 = value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8");
        if name.trim().eq_ignore_ascii_case("charset") && !utf8 {
            return Err(refuse());
        }
    }
    Ok(media)
}

/// Refuses every content coding but `identity`.
///
/// # Errors
/// [`Error::Encoding`] naming the coding.
pub(crate) fn coding(headers: &HeaderMap) -> Result<(), Error> {
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value.to_str().unwrap_or("(not ASCII)").trim();
        if !text.is_empty() && !text.eq_ignore_ascii_case("identity") {
            return Err(Error::Encoding(text.chars().take(100).collect()));
        }
    }
    Ok(())
}

/// Whether the caller takes JSON or problem+json as an answer.
#[must_use]
pub(crate) fn accepts_json(headers: &HeaderMap) -> bool {
    let mut seen = false;
    for value in headers.get_all(header::ACCEPT) {
        let Ok(text) = value.to_str() else { continue };
        for range in text.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            seen = true;
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or("").to_ascii_lowercase();
            let refused = parts.any(|part| part.replace(' ', "").strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
            let ours = matches!(media.as_str(), "*/*" | "application/*" | "application/json" | "application/problem+json");
            if ours && !refused {
                return true;
            }
        }
    }
    !seen
}

/// `Idempotency-Key`: a structured-field string, or a bare token; 1–255 visible ASCII characters.
///
/// # Errors
/// [`Error::Malformed`] for anything else, also for two of them.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    const NAME: &str = "Idempotency-Key";
    let malformed = |what| Error::Malformed { name: NAME, what };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed("there are two of them"));
    }
    let text = value.to_str().map_err(|_| malformed("1 to 255 visible ASCII characters, quoted or bare"))?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquote(rest).ok_or_else(|| malformed("the quotes do not match"))?,
        None => text.to_owned(),
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    let bare_quote = !text.starts_with('"') && key.contains('"');
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_MAX || !visible || bare_quote {
        return Err(malformed("1 to 255 visible ASCII characters, quoted or bare"));
    }
    Ok(Some(key))
}

/// The rest of a structured-field string behind its opening quote; parameters behind the closing one are ignored.
fn unquote(rest: &str) -> Option<String> {
    let mut out = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\') => out.push(escaped),
                _ => return None,
            },
            other => out.push(other),
        }
    }
    let tail = chars.as_str().trim();
    (tail.is_empty() || tail.starts_with(';')).then_some(out)
}

/// All `Prefer` headers; unknown preferences are ignored, as RFC 7240 wants.
#[must_use]
pub(crate) fn prefer(headers: &HeaderMap) -> Prefer {
    let mut prefer = Prefer::default();
    let texts = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    for token in texts.flat_map(|text| text.split([',', ';'])).map(str::trim) {
        let (name, value) =
            token.split_once('=').map_or((token, ""), |(name, value)| (name.trim(), value.trim().trim_matches('"')));
        match name.to_ascii_lowercase().as_str() {
            "respond-async" => prefer.respond_async = true,
            "return" if value.eq_ignore_ascii_case("minimal") => prefer.minimal = true,
            "wait" => {
                let seconds = value.parse().ok().map(Duration::from_secs);
                prefer.wait = prefer.wait.or(seconds.map(|wait| wait.min(WAIT_MAX)));
            }
            _ => {}
        }
    }
    prefer
}

/// `Request-Timeout-Ms`: the caller's own deadline, at least 50 ms, cut to `max`.
///
/// # Errors
/// [`Error::Malformed`] when it is no whole number or below 50.
pub(crate) fn request_timeout(headers: &HeaderMap, max: Duration) -> Result<Duration, Error> {
    let malformed = Error::Malformed { name: "Request-Timeout-Ms", what: "a whole number of milliseconds, at least 50" };
    let Some(value) = headers.get("request-timeout-ms") else { return Ok(max) };
    let Some(millis) = value.to_str().ok().and_then(|text| text.trim().parse().ok()) else { return Err(malformed) };
    let asked = Duration::from_millis(millis);
    if asked < REQUEST_TIMEOUT_MIN { Err(malformed) } else { Ok(asked.min(max)) }
}

/// `If-Match: "v2"`: the version a caller expects. Other entity tags are `Err`.
///
/// # Errors
/// [`Error::Malformed`] for any other form.
pub(crate) fn expected_version(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim();
    let digits = text.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(version) => Ok(Some(version)),
        None => Err(Error::Malformed { name: "If-Match", what: "a version in the form \"v2\"" }),
    }
}

#[cfg(test)]
mod tests;
