//! One result as the node holds it: the record as it came, and its JSON rendering, made at most once and only if somebody
//! is interested.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use chassis::telemetry;
use schemas::key::result_id;
use schemas::names::stream_source;
use schemas::plan::Plan;

use crate::protocol::server;
use crate::trace;

/// Bytes that an entry costs beside its record.
const OVERHEAD: usize = 256;

/// The schema a result was written with.
#[derive(Debug)]
pub struct Writer {
    /// Event type, for records that do not carry it.
    pub ce_type: Box<str>,
    /// How to render it.
    pub plan: Arc<Plan>,
}

/// Where a result comes from and what its headers say. Absent headers are those of a stream with compact headers.
#[derive(Debug, Default)]
pub struct Origin {
    /// Dense per channel from 1; `None` when the record has no such header.
    pub seq: Option<i64>,
    /// `ce_id`.
    pub eid: Option<Bytes>,
    /// `ce_source`.
    pub source: Option<Bytes>,
    /// `ce_type`.
    pub ce_type: Option<Bytes>,
    /// `ce_time`.
    pub time: Option<Bytes>,
    /// Event key of the input.
    pub cause: Option<Bytes>,
    /// `traceparent`, only when sampled.
    pub trace: Option<Bytes>,
}

/// One result.
#[derive(Debug)]
pub struct Entry {
    /// Its offset in the partition of the results topic.
    pub offset: i64,
    /// Its Kafka timestamp, ms: the time of its frame.
    pub timestamp_ms: i64,
    /// `<stream>/<subject>`.
    pub channel: Box<str>,
    /// Headers.
    pub origin: Origin,
    /// The schema; `None` if it could not be found.
    pub writer: Option<Arc<Writer>>,
    /// The Avro datum.
    pub datum: Bytes,
    body: OnceLock<Box<str>>,
}

/// A result that is sent as `bad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bad {
    Undecodable,
    TooBig,
}

impl Entry {
    /// A result that nobody has asked for yet.
    #[must_use]
    pub fn new(
        offset: i64,
        timestamp_ms: i64,
        channel: Box<str>,
        origin: Origin,
        writer: Option<Arc<Writer>>,
        datum: Bytes,
    ) -> Self {
        Self { offset, timestamp_ms, channel, origin, writer, datum, body: OnceLock::new() }
    }

    /// Bytes it is counted as. Its rendering is estimated as twice the datum, so that the count does not change later.
    #[must_use]
    pub fn weight(&self) -> usize {
        OVERHEAD + self.channel.len() + 3 * self.datum.len()
    }

    /// The stream's name.
    #[must_use]
    pub fn stream(&self) -> &str {
        self.channel.split_once('/').map_or(&self.channel, |(stream, _)| stream)
    }

    /// Its `traceparent`, if its trace is sampled.
    #[must_use]
    pub fn sampled(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.origin.trace.as_ref()?).ok()?;
        telemetry::is_sampled(text).then_some(text)
    }

    fn subject(&self) -> &str {
        self.channel.split_once('/').map_or("", |(_, subject)| subject)
    }

    /// Everything of its `result` message behind the group number; rendered at the first call. Data above `json_bytes_max` is left
    /// out and said so.
    pub fn body(&self, json_bytes_max: usize) -> &str {
        self.body.get_or_init(|| {
            let span = trace::fan_out(self);
            let _in = span.as_ref().map(tracing::Span::enter);
            self.render(json_bytes_max).into()
        })
    }

    fn render(&self, json_bytes_max: usize) -> String {
        let mut out = String::with_capacity(256 + 3 * self.datum.len());
        out.push_str(r#","ch":"#);
        push_text(&mut out, &self.channel);
        if let Some(seq) = self.origin.seq {
            // writing into a String cannot fail
            let _ = write!(out, r#","seq":{seq},"prev":{}"#, seq - 1);
        }
        let field = |out: &mut String, name: &str, value: Option<&Bytes>| {
            if let Some(text) = value.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
                let _ = write!(out, r#","{name}":"#);
                push_text(out, text);
            }
        };
        match (&self.origin.eid, self.origin.seq) {
            (Some(id), _) => field(&mut out, "eid", Some(id)),
            (None, Some(seq)) => push_text_field(&mut out, "eid", &result_id(self.subject(), seq)),
            (None, None) => {}
        }
        match &self.origin.source {
            Some(source) => field(&mut out, "src", Some(source)),
            None => push_text_field(&mut out, "src", &stream_source(self.stream())),
        }
        match (&self.origin.ce_type, &self.writer) {
            (Some(ce_type), _) => field(&mut out, "type", Some(ce_type)),
            (None, Some(writer)) => push_text_field(&mut out, "type", &writer.ce_type),
            (None, None) => {}
        }
        match &self.origin.time {
            Some(time) => field(&mut out, "time", Some(time)),
            None => push_text_field(&mut out, "time", &server::time(self.timestamp_ms)),
        }
        field(&mut out, "cause", self.origin.cause.as_ref());
        field(&mut out, "trace", self.origin.trace.as_ref());
        match self.data(json_bytes_max) {
            Ok(data) => {
                out.push_str(r#","data":"#);
                out.push_str(&data);
            }
            Err(Bad::Undecodable) => out.push_str(r#","bad":"undecodable","data":null"#),
            Err(Bad::TooBig) => out.push_str(r#","bad":"too_big","data":null"#),
        }
        out.push('}');
        out
    }

    fn data(&self, json_bytes_max: usize) -> Result<String, Bad> {
        let writer = self.writer.as_ref().ok_or(Bad::Undecodable)?;
        let mut data = String::with_capacity(2 * self.datum.len() + 64);
        writer.plan.render(&self.datum, &mut data).map_err(|_| Bad::Undecodable)?;
        if data.len() > json_bytes_max { Err(Bad::TooBig) } else { Ok(data) }
    }
}

fn push_text_field(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, r#","{name}":"#);
    push_text(out, text);
}

/// Appends `text` as a JSON string.
fn push_text(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // a string is always JSON
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_without_a_schema_keeps_its_place_and_says_bad() {
        let origin = Origin { seq: Some(42), cause: Some("9f".into()), ..Origin::default() };
        let entry = Entry::new(7, 1_500, "orders/a\"b".into(), origin, None, Bytes::new());
        assert_eq!(
            entry.body(100),
            r#","ch":"orders/a\"b","seq":42,"prev":41,"eid":"8fd91212-0f80-820c-8231-572c6e2f8d7e","src":"forebay/orders","time":"1970-01-01T00:00:01.500Z","cause":"9f","bad":"undecodable","data":null}"#
        );
    }

    #[test]
    fn a_result_is_rendered_from_its_datum_once_and_cut_when_too_big() {
        let schema =
            apache_avro::Schema::parse_str(r#"{"type":"record","name":"R","fields":[{"name":"n","type":"long"}]}"#).unwrap();
        let writer = Arc::new(Writer { ce_type: "r.made".into(), plan: Arc::new(Plan::compile(&schema).unwrap()) });
        let entry = |datum: &'static [u8]| {
            Entry::new(0, 0, "s/x".into(), Origin::default(), Some(writer.clone()), Bytes::from_static(datum))
        };
        let body = r#","ch":"s/x","src":"forebay/s","type":"r.made","time":"1970-01-01T00:00:00.000Z","data":{"n":21}}"#;
        assert_eq!(entry(&[42]).body(100), body);
        assert!(entry(&[42]).body(3).ends_with(r#""bad":"too_big","data":null}"#));
        assert!(entry(&[]).body(100).ends_with(r#""bad":"undecodable","data":null}"#));
    }
}
