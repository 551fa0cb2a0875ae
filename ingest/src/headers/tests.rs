use axum::http::{HeaderName, HeaderValue};

use super::*;

fn with(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn a_missing_content_type_is_json() {
    assert_eq!(media(&HeaderMap::new()), Ok(Media::Json));
    assert_eq!(media(&with(&[("content-type", "Application/JSON; charset=\"UTF-8\"")])), Ok(Media::Json));
    assert_eq!(media(&with(&[("content-type", "application/x-ndjson")])), Ok(Media::Lines));
    assert_eq!(media(&with(&[("content-type", "application/jsonl")])), Ok(Media::Lines));
    let structured = "application/cloudevents+json; charset=utf-8";
    assert_eq!(media(&with(&[("content-type", structured)])), Ok(Media::CloudEvent));
    assert_eq!(media(&with(&[("content-type", "application/cloudevents-batch+json")])), Ok(Media::CloudEvents));
}

#[test]
fn other_media_types_and_charsets_are_refused() {
    for text in
        ["multipart/form-data; boundary=x", "text/plain", "application/json; charset=latin1", "application/json; charset", ""]
    {
        assert!(media(&with(&[("content-type", text)])).is_err(), "{text}");
    }
}

#[test]
fn only_identity_is_no_coding() {
    assert_eq!(coding(&HeaderMap::new()), Ok(()));
    assert_eq!(coding(&with(&[("content-encoding", "identity")])), Ok(()));
    assert!(coding(&with(&[("content-encoding", "gzip")])).is_err());
    assert!(coding(&with(&[("content-encoding", "gzip, zstd")])).is_err());
}

#[test]
fn accept_without_json_is_refused() {
    for fine in ["*/*", "application/json", "text/html, application/*;q=0.1", "application/problem+json", "application/json; q=1"]
    {
        assert!(accepts_json(&with(&[("accept", fine)])), "{fine}");
    }
    assert!(accepts_json(&HeaderMap::new()));
    for bad in ["text/html", "application/xml, text/*", "application/json;q=0"] {
        assert!(!accepts_json(&with(&[("accept", bad)])), "{bad}");
    }
}

#[test]
fn idempotency_keys_are_strings_or_tokens() {
    let key = |text: &str| idempotency_key(&with(&[("idempotency-key", text)]));
    assert_eq!(key("\"7d1c9e\""), Ok(Some("7d1c9e".into())));
    assert_eq!(key("7d1c9e"), Ok(Some("7d1c9e".into())));
    assert_eq!(key(r#""a\"b\\";p=1"#), Ok(Some(r#"a"b\"#.into())));
    assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    for bad in ["", "\"\"", "\"open", "\"a\" b", "with space", "a\"b", r#""\n""#] {
        assert!(key(bad).is_err(), "{bad}");
    }
    assert!(key(&"x".repeat(255)).is_ok());
    assert!(key(&"x".repeat(256)).is_err());
    assert!(idempotency_key(&with(&[("idempotency-key", "a"), ("idempotency-key", "a")])).is_err());
}

#[test]
fn preferences_are_read_and_unknown_ones_ignored() {
    let read = |text: &str| prefer(&with(&[("prefer", text)]));
    assert_eq!(read("return=minimal, wait=5").wait, Some(Duration::from_secs(5)));
    assert!(read("foo=bar, RETURN=\"minimal\"").minimal);
    assert_eq!(read("wait=90").wait, Some(WAIT_MAX));
    assert_eq!(read("wait=soon").wait, None);
    assert!(read("respond-async; x=y").respond_async);
    assert_eq!(read("lenient"), Prefer::default());
}

#[test]
fn a_callers_deadline_is_cut_and_bounded_below() {
    let max = Duration::from_secs(15);
    let read = |text: &str| request_timeout(&with(&[("request-timeout-ms", text)]), max);
    assert_eq!(read("50"), Ok(Duration::from_millis(50)));
    assert_eq!(read("99999999"), Ok(max));
    assert_eq!(request_timeout(&HeaderMap::new(), max), Ok(max));
    for bad in ["49", "-1", "1.5", "soon", ""] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_expected_version_is_an_entity_tag() {
    assert_eq!(expected_version(&with(&[("if-match", "\"v2\"")])), Ok(Some(2)));
    assert_eq!(expected_version(&HeaderMap::new()), Ok(None));
    for bad in ["v2", "\"2\"", "*", "\"v\"", "W/\"v2\""] {
        assert!(expected_version(&with(&[("if-match", bad)])).is_err(), "{bad}");
    }
}
