//! The stream catalog: which streams, events, results, rows and views there are. Read from `catalog/*.toml` and
//! `avro/**/*.avsc`, embedded at compile time; the single source of edge routes, OpenAPI, topics and views.
//!
//! Adding a stream is a file; nothing in this crate's Rust names one.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;

use crate::constraints::Constraints;
use crate::plan::Plan;

pub use kinds::{LIST_BUCKETS, list_subject};
pub use settings::{
    Durability, EffectRules, FollowStart, HeaderStyle, IdempotencyKey, Limits, Ordering, Retry, Tracking, UnknownFields,
};
pub use text::TextField;

pub(crate) use avro::fingerprint;

mod avro;
mod checks;
mod file;
mod kinds;
mod load;
mod route;
mod settings;
mod text;

#[cfg(test)]
mod tests;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// What is wrong with the catalog: one sentence that names the file and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("catalog/{file}.toml: {problem}")]
pub struct Error {
    /// Stream file, without ending.
    pub file: String,
    /// The sentence.
    pub problem: String,
}

/// All streams of the deployment.
#[derive(Debug)]
pub struct Catalog {
    streams: Vec<Stream>,
    /// Records of every stream's log.
    log: Vec<Arc<RecordSchema>>,
    /// Event type → places in `streams` and `events`.
    events: HashMap<String, (usize, usize)>,
}

impl Catalog {
    /// The catalog compiled into this binary; read once per process.
    ///
    /// # Errors
    /// [`Error`]; a test of this crate keeps it from happening in a build that passed.
    pub fn embedded() -> Result<Arc<Self>, Error> {
        static EMBEDDED: OnceLock<Result<Arc<Catalog>, Error>> = OnceLock::new();
        EMBEDDED.get_or_init(|| Self::parse(CATALOG, AVRO).map(Arc::new)).clone()
    }

    /// A catalog from texts: (stream name, TOML) and (path below `avro/`, schema).
    ///
    /// # Errors
    /// [`Error`] for the first thing that is wrong.
    pub fn parse(files: &[(&str, &str)], avro: &[(&str, &str)]) -> Result<Self, Error> {
        let (streams, log) = load::streams(files, avro)?;
        checks::all(&streams)?;
        let mut events = HashMap::new();
        for (at, stream) in streams.iter().enumerate() {
            events.extend(stream.events.iter().enumerate().map(|(n, event)| (event.ce_type.clone(), (at, n))));
        }
        Ok(Self { streams, log, events })
    }

    /// All streams, by name.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Records of every stream's log: what the engine writes beside the rows.
    #[must_use]
    pub fn log_records(&self) -> &[Arc<RecordSchema>] {
        &self.log
    }

    /// The stream of that name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// An event type and its stream. Types are unique in the deployment.
    #[must_use]
    pub fn event(&self, ce_type: &str) -> Option<(&Stream, &EventType)> {
        let (stream, event) = self.events.get(ce_type)?;
        Some((&self.streams[*stream], &self.streams[*stream].events[*event]))
    }
}

/// A stream: one family of events with one owner processor.
#[derive(Clone, Debug)]
pub struct Stream {
    /// `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Partitions of its topics, fixed for life.
    pub partitions: i32,
    /// Store buckets per shard, fixed for life.
    pub buckets: i32,
    /// How much its record headers say.
    pub headers: HeaderStyle,
    /// Whether others than the edge and processors may write its topic.
    pub native: bool,
    /// How long its topics keep records.
    pub retention: Retention,
    /// What arrives.
    pub events: Vec<EventType>,
    /// What its processor tells.
    pub results: Vec<ResultType>,
    /// Its rows.
    pub rows: Vec<RowType>,
    /// Read routes.
    pub views: Vec<View>,
    /// Streams whose results arrive here too.
    pub follows: Vec<Follow>,
    /// Streams its processor sends to; its own may be one of them.
    pub sends: Vec<String>,
    /// How effects of its processor are attempted, where the catalog says so.
    pub effects: Vec<EffectRules>,
    /// Whether its shards keep rows of their own, which every input of the shard may read and write, and take broadcasts.
    pub shard_rows: bool,
    /// Resource kinds, when it is a stream of resources by schema.
    pub kinds: Vec<Kind>,
}

impl Stream {
    /// The result type of that name.
    #[must_use]
    pub fn result(&self, ce_type: &str) -> Option<&ResultType> {
        self.results.iter().find(|result| result.ce_type == ce_type)
    }

    /// The row type whose record has this full name.
    #[must_use]
    pub fn row(&self, full_name: &str) -> Option<&RowType> {
        self.rows.iter().find(|row| row.schema.full_name == full_name)
    }
}

/// How long topics keep records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// `<stream>.events`; default 7 days.
    pub events: Duration,
    /// `<stream>.results`; default 7 days.
    pub results: Duration,
    /// `<stream>.dead`; default 30 days.
    pub dead: Duration,
    /// `<stream>.log`, bytes per partition; default 1 GiB.
    pub log_bytes: u64,
}

/// A type of event.
#[derive(Clone, Debug)]
pub struct EventType {
    /// `noun.verb`, unique in the deployment.
    pub ce_type: String,
    /// One line for people.
    pub title: String,
    /// Record of its data.
    pub schema: Arc<RecordSchema>,
    /// REST route, if it has one.
    pub route: Option<Route>,
    /// How the subject is found.
    pub subject: SubjectRule,
    /// JSON pointer into the data to the event's id.
    pub id_pointer: Option<String>,
    /// Whether a request must say how a retry is recognised.
    pub idempotency_key: IdempotencyKey,
    /// What happens to fields the schema does not have.
    pub unknown_fields: UnknownFields,
    /// Whether the route takes arrays and NDJSON.
    pub batch: bool,
    /// Only processors send it; it does not exist for callers.
    pub internal: bool,
    /// The event type whose question this one answers.
    pub answers: Option<String>,
    /// Whether the route waits for the outcome and answers with it.
    pub answer_outcome: bool,
    /// View route of what the event creates, for `Location`.
    pub location: Option<String>,
    /// What a retry does to later events of its subject.
    pub ordering: Ordering,
    /// How it is tried again when its processor asks for that.
    pub retry: Retry,
    /// Which events leave a status.
    pub tracking: Tracking,
    /// Whether an event stays PROCESSING until every effect that it started has its outcome.
    pub settles_with_effects: bool,
    /// Where the edge may keep it while the log is away.
    pub durability: Durability,
    /// Rules of its fields beyond their types.
    pub constraints: Arc<Constraints>,
    /// Bounds of its route, where they differ from the edge's.
    pub limits: Limits,
    /// Example of its data, JSON.
    pub example: Option<String>,
}

/// Method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// `/v1/students/{id}`: a parameter is a whole segment.
    pub path: String,
}

/// How the subject of an event is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRule {
    /// Where its own part comes from.
    pub source: SubjectSource,
    /// Stands before it, with a `/` between: segments, of which `{account}` is the principal's.
    pub prefix: Option<String>,
}

/// Where the subject's own part comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectSource {
    /// The envelope's, below the prefix; else made from the event key.
    Generated,
    /// A string, uuid, enum, int or long of the data, by JSON pointer.
    Pointer(String),
    /// A parameter of the route.
    Path(String),
    /// A request header.
    Header(String),
    /// The envelope's `subject`.
    Attribute,
}

/// A type of result.
#[derive(Clone, Debug)]
pub struct ResultType {
    /// `noun.participle`, unique in the deployment.
    pub ce_type: String,
    /// Record of its data.
    pub schema: Arc<RecordSchema>,
}

/// A type of row.
#[derive(Clone, Debug)]
pub struct RowType {
    /// Name of its record, without namespace.
    pub name: String,
    /// Its record.
    pub schema: Arc<RecordSchema>,
    /// Whether it is readable as a view.
    pub view: bool,
    /// Whether it is never served, not even in snapshots.
    pub private: bool,
}

/// A read route over rows.
#[derive(Clone, Debug)]
pub struct View {
    /// `GET` and path.
    pub route: Route,
    /// Subject template: segments, `{account}` and the route's parameters.
    pub subject: String,
    /// Sort of the row it shows; empty for the root row.
    pub sort: String,
    /// JSON pointer to the long that is the row's version, for `ETag: "v2"`.
    pub etag: Option<String>,
    /// A bytes field of the row that holds a datum to show as JSON in its place.
    pub embedded: Option<EmbeddedDatum>,
}

/// A datum inside a bytes field of a row.
#[derive(Clone, Debug)]
pub struct EmbeddedDatum {
    /// The field.
    pub field: String,
    /// Field of the row that holds [`RecordSchema::fingerprint`] of the datum's writer.
    pub fingerprint_field: String,
    /// Record of the datum.
    pub schema: Arc<RecordSchema>,
}

/// A stream whose results arrive at the follower under the same subject.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// The followed stream; it has as many partitions.
    pub stream: String,
    /// Where a newly followed stream starts.
    #[serde(default)]
    pub start: FollowStart,
    /// Result types the follower wants; the others are passed over. Empty: all there are.
    #[serde(default)]
    pub types: Vec<String>,
}

impl Follow {
    /// Whether results of this type arrive at the follower.
    #[must_use]
    pub fn wants(&self, ce_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == ce_type)
    }
}

/// A kind of resource: its events, results and routes follow from its record.
#[derive(Clone, Debug)]
pub struct Kind {
    /// `student`: event types are `student.create`, ….
    pub name: String,
    /// Record of the resource.
    pub schema: Arc<RecordSchema>,
    /// Whether updates and deletes must name the version they change.
    pub require_version: bool,
    /// Fields whose value only one resource of the kind may have, whatever its case.
    pub unique: Vec<TextField>,
    /// Fields that the kind's lists are sorted by.
    pub list: Vec<TextField>,
    /// `GET` and path of the lists; `None` without one.
    pub list_route: Option<Route>,
    /// Rules of the resource's fields.
    pub constraints: Arc<Constraints>,
}

/// An Avro record.
#[derive(Debug)]
pub struct RecordSchema {
    /// `namespace.Name`.
    pub full_name: String,
    /// The text that is registered: compact JSON, members by name.
    pub json: String,
    /// CRC-64-AVRO of the canonical form, 16 hexadecimal digits.
    pub fingerprint: String,
    /// Parsed.
    pub schema: apache_avro::Schema,
    /// Compiled for JSON and field access.
    pub plan: Arc<Plan>,
}
