//! What the engine core knows before the first record: names, schema ids, bounds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::catalog::{Catalog, EffectRules, Follow, FollowStart, HeaderStyle, Ordering, RecordSchema, Retry, Stream, Tracking};
use schemas::registry::SchemaIds;

use super::input::Feed;
use super::rules::Rules;

/// Bounds and times. Defaults are those of `default.toml`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A batch takes at most this many inputs.
    pub batch_inputs: usize,
    /// And at most this many bytes of input.
    pub batch_bytes: usize,
    /// An input with its headers, bytes: larger ones are dead-lettered.
    pub input_bytes: usize,
    /// Rows of one subject in one frame, bytes: a batch ends before the input that goes over it. An input whose rows, timers
    /// and effects do so by themselves is `too_large`.
    pub row_bytes: usize,
    /// A result, bytes; a larger one makes the input `too_large`.
    pub result_bytes: usize,
    /// An event for another subject, bytes; a larger one makes the input `too_large`.
    pub send_bytes: usize,
    /// Frames of a shard that the store has not acknowledged: at this many the loop takes no inputs.
    pub backlog_frames: usize,
    /// And at this many bytes.
    pub backlog_bytes: usize,
    /// Clean rows that a worker keeps in memory, bytes: its shards have even shares.
    pub cache_bytes: usize,
    /// Duplicates are found within this span of broker append time.
    pub dedupe_window: Duration,
    /// Event keys kept per shard.
    pub dedupe_keys: usize,
    /// Due items known ahead per shard.
    pub agenda_index: usize,
    /// Inputs that wait behind another of their subject; more are dead letters.
    pub park: usize,
    /// Attempts at effects that a worker makes at a time.
    pub effects: usize,
    /// Status rows live this long.
    pub status_life: Duration,
    /// So many processes claim a shard and commit nothing, and its inputs are tried one at a time: one may have ended them.
    pub single_claims: usize,
    /// Inputs that are tried one at a time: as many as the first batch of an owner takes of a shard. What ended owners that
    /// committed nothing is one of these.
    pub single_inputs: usize,
    /// An input that ended its process this often while it was tried alone is a dead letter.
    pub single_tries: i32,
    /// An aborted batch is tried again this often before the worker restarts.
    pub redo_attempts: u32,
    /// A frame kept in memory is not applied any more when its commit is older than this (rule Z).
    pub apply_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_inputs: 5_000,
            batch_bytes: 4 << 20,
            input_bytes: 640 << 10,
            row_bytes: 768 << 10,
            result_bytes: 512 << 10,
            send_bytes: 512 << 10,
            backlog_frames: 64,
            backlog_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            dedupe_window: Duration::from_secs(15 * 60),
            dedupe_keys: 2_000_000,
            agenda_index: 100_000,
            park: 10_000,
            effects: 64,
            status_life: Duration::from_secs(7 * 24 * 3600),
            single_claims: 3,
            single_inputs: 64,
            single_tries: 5,
            redo_attempts: 5,
            apply_age: Duration::from_secs(600),
        }
    }
}

/// What an event type of the stream means to the engine.
#[derive(Clone, Debug)]
pub struct EventSpec {
    /// Its name, shared by every context.
    pub name: Arc<str>,
    /// Schema that `decide` reads.
    pub reader: Arc<RecordSchema>,
    /// How much of its lifecycle is kept.
    pub tracking: Tracking,
    /// What a retry does to later events of its subject.
    pub ordering: Ordering,
    /// How it is tried again.
    pub retry: Retry,
    /// It stays PROCESSING while effects that it started are open.
    pub settles_with_effects: bool,
}

/// How an input is treated, whatever it says.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What `decide` is told as its type.
    pub name: Arc<str>,
    /// See [`EventSpec::tracking`].
    pub tracking: Tracking,
    /// See [`EventSpec::ordering`].
    pub ordering: Ordering,
    /// See [`EventSpec::retry`].
    pub retry: Retry,
    /// See [`EventSpec::settles_with_effects`].
    pub settles_with_effects: bool,
}

impl Policy {
    /// A timer's: nobody asks for its status, and it passes a held subject, which may be waiting for it.
    #[must_use]
    pub fn timer() -> Self {
        Self {
            name: "timer".into(),
            tracking: Tracking::None,
            ordering: Ordering::Relaxed,
            retry: Retry::default(),
            settles_with_effects: false,
        }
    }
}

impl From<&EventSpec> for Policy {
    fn from(event: &EventSpec) -> Self {
        Self {
            name: event.name.clone(),
            tracking: event.tracking,
            ordering: event.ordering,
            retry: event.retry,
            settles_with_effects: event.settles_with_effects,
        }
    }
}

/// A stream whose results arrive here too.
#[derive(Clone, Debug)]
pub struct FollowSpec {
    /// Its name.
    pub stream: Arc<str>,
    /// `<stream>.results`, without the deployment's prefix: names the position.
    pub topic: Arc<str>,
    /// Where a newly followed stream starts.
    pub start: FollowStart,
    /// Wanted result types by name.
    pub event_types: HashMap<String, EventSpec>,
    /// Result type by record name, where the header is left out.
    pub by_record: HashMap<String, Arc<str>>,
    /// All types are wanted; else the others are passed over.
    pub all: bool,
}

/// A stream that this one sends to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name.
    pub stream: Arc<str>,
    /// Its partition count.
    pub partitions: i32,
    /// Header style of its events.
    pub headers: HeaderStyle,
    /// Its shards have rows of their own and take broadcasts.
    pub shard_rows: bool,
}

/// An event type that may be sent.
#[derive(Clone, Copy, Debug)]
pub struct SendSpec {
    /// Place of its stream in [`Settings::targets`].
    pub target: usize,
    /// Schema id of its data.
    pub schema: i32,
}

/// A stream as the engine core sees it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Stream name.
    pub stream: Arc<str>,
    /// `<stream>.events`, without the deployment's prefix: names the position.
    pub events: Arc<str>,
    /// Partition count.
    pub partitions: i32,
    /// Header style of results.
    pub headers: HeaderStyle,
    /// Shards have rows of their own.
    pub shard_rows: bool,
    /// Event types by name.
    pub event_types: HashMap<String, EventSpec>,
    /// Event type by record name, for producers that write no `ce_type`.
    pub by_record: HashMap<String, Arc<str>>,
    /// Record name of the present schema ids of events.
    pub event_names: HashMap<i32, Arc<str>>,
    /// Streams whose results arrive too.
    pub follows: Vec<FollowSpec>,
    /// Schema id of each result type.
    pub results: HashMap<String, i32>,
    /// Streams that events are sent to.
    pub targets: Vec<Target>,
    /// Event types that may be sent, by name.
    pub sends: HashMap<String, SendSpec>,
    /// How effects are attempted, where the catalog says so.
    pub effects: Vec<EffectRules>,
    /// Schema id of each row record, by full name.
    pub rows: HashMap<String, i32>,
    /// Record name of each of these ids.
    pub row_names: HashMap<i32, Arc<str>>,
    /// What rows of other schema versions are turned into, by full name.
    pub row_readers: HashMap<String, RowReader>,
    /// Ids of the engine's own records.
    pub engine: EngineIds,
    /// Bounds.
    pub limits: Limits,
    /// What is kept of the protocol: everything.
    pub rules: Rules,
}

/// The present schema of a row record.
#[derive(Clone, Debug)]
pub struct RowReader {
    /// Its id.
    pub id: i32,
    /// The schema.
    pub schema: Arc<RecordSchema>,
}

/// Schema ids of the engine's own records.
#[derive(Clone, Copy, Debug)]
pub struct EngineIds {
    /// `LogData`.
    pub data: i32,
    /// `LogTrailer`.
    pub trailer: i32,
    /// `LogClaim`.
    pub claim: i32,
}

impl Settings {
    /// Puts together what the catalog says of `stream` and the ids the registry gave.
    ///
    /// # Errors
    /// The full name of the first record that has no id.
    pub fn of(catalog: &Catalog, stream: &Stream, ids: &SchemaIds, limits: Limits) -> Result<Self, String> {
        let id = |name: &str| ids.id_of(name).ok_or_else(|| name.to_owned());
        let mut settings = Self {
            stream: stream.name.as_str().into(),
            events: format!("{}.events", stream.name).into(),
            partitions: stream.partitions,
            headers: stream.headers,
            shard_rows: stream.shard_rows,
            event_types: HashMap::new(),
            by_record: HashMap::new(),
            event_names: HashMap::new(),
            follows: Vec::new(),
            results: HashMap::new(),
            targets: Vec::new(),
            sends: HashMap::new(),
            effects: stream.effects.clone(),
            rows: HashMap::new(),
            row_names: HashMap::new(),
            row_readers: HashMap::new(),
            engine: EngineIds {
                data: id("forebay.engine.LogData")?,
                trailer: id("forebay.engine.LogTrailer")?,
                claim: id("forebay.engine.LogClaim")?,
            },
            limits,
            rules: Rules::all(),
        };
        for event in &stream.events {
            let name: Arc<str> = event.ce_type.as_str().into();
            settings.by_record.insert(event.schema.full_name.clone(), name.clone());
            if let Some(id) = ids.id_of(&event.schema.full_name) {
                settings.event_names.insert(id, event.schema.full_name.as_str().into());
            }
            let spec = EventSpec {
                name,
                reader: event.schema.clone(),
                tracking: event.tracking,
                ordering: event.ordering,
                retry: event.retry,
                settles_with_effects: event.settles_with_effects,
            };
            settings.event_types.insert(event.ce_type.clone(), spec);
        }
        for follow in &stream.follows {
            let Some(other) = catalog.stream(&follow.stream) else { continue };
            settings.follow(follow, other, &id)?;
        }
        for result in &stream.results {
            settings.results.insert(result.ce_type.clone(), id(&result.schema.full_name)?);
        }
        for other in stream.sends.iter().filter_map(|name| catalog.stream(name)) {
            let target = settings.targets.len();
            let Stream { name, partitions, headers, shard_rows, .. } = other;
            let (stream, partitions, headers, shard_rows) = (name.as_str().into(), *partitions, *headers, *shard_rows);
            settings.targets.push(Target { stream, partitions, headers, shard_rows });
            for event in &other.events {
                let spec = SendSpec { target, schema: id(&event.schema.full_name)? };
                settings.sends.insert(event.ce_type.clone(), spec);
            }
        }
        for row in &stream.rows {
            let row_id = id(&row.schema.full_name)?;
            settings.rows.insert(row.schema.full_name.clone(), row_id);
            let reader = RowReader { id: row_id, schema: row.schema.clone() };
            settings.row_readers.insert(row.schema.full_name.clone(), reader);
            settings.row_names.insert(row_id, row.schema.full_name.as_str().into());
        }
        Ok(settings)
    }

    fn follow(&mut self, follow: &Follow, other: &Stream, id: &dyn Fn(&str) -> Result<i32, String>) -> Result<(), String> {
        let mut spec = FollowSpec {
            stream: other.name.as_str().into(),
            topic: format!("{}.results", other.name).into(),
            start: follow.start,
            event_types: HashMap::new(),
            by_record: HashMap::new(),
            all: follow.types.is_empty(),
        };
        for result in other.results.iter().filter(|result| follow.wants(&result.ce_type)) {
            let name: Arc<str> = result.ce_type.as_str().into();
            let record = &result.schema.full_name;
            spec.by_record.insert(record.clone(), name.clone());
            self.event_names.insert(id(record)?, record.as_str().into());
            let event = EventSpec {
                name,
                reader: result.schema.clone(),
                // nobody has a receipt of a result, and a held subject may be waiting for it
                tracking: Tracking::None,
                ordering: Ordering::Relaxed,
                retry: Retry::default(),
                settles_with_effects: false,
            };
            spec.event_types.insert(result.ce_type.clone(), event);
        }
        self.follows.push(spec);
        Ok(())
    }

    /// The topics that shards read.
    pub fn feeds(&self) -> impl Iterator<Item = Feed> + use<> {
        (0..=self.follows.len()).map(Feed)
    }

    /// The followed stream that a topic belongs to; none for the stream's own events.
    #[must_use]
    pub fn followed(&self, feed: Feed) -> Option<&FollowSpec> {
        self.follows.get(feed.0.checked_sub(1)?)
    }

    /// Name of a topic that shards read, without the deployment's prefix.
    #[must_use]
    pub fn topic(&self, feed: Feed) -> &Arc<str> {
        self.followed(feed).map_or(&self.events, |follow| &follow.topic)
    }

    /// The topic of that name, if shards read it.
    #[must_use]
    pub fn feed_of(&self, topic: &str) -> Option<Feed> {
        self.feeds().find(|feed| **self.topic(*feed) == *topic)
    }
}
