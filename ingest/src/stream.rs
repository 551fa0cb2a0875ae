//! The catalog as the edge needs it: per stream its types, each with plan, schema id, and the rules for subject and id.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use schemas::catalog::{self, EventType, HeaderStyle, RecordSchema, SubjectSource};
use schemas::constraints::Constraints;
use schemas::key::EventKey;
use schemas::names::Topics;
use schemas::plan::{self, Plan, UnknownFields};
use schemas::registry::SchemaIds;

/// The catalog and what was found at start do not fit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry gave no id for a schema.
    #[error("the schema {schema} of {ce_type} is not registered: set registry.register = true, or register it, and start again")]
    Unregistered {
        /// The event type.
        ce_type: String,
        /// Full name of its record.
        schema: String,
    },
    /// A type's schema or pointers cannot be used.
    #[error("the catalog's type {ce_type} cannot be used: {source}")]
    Plan {
        /// The event type.
        ce_type: String,
        /// Why.
        source: plan::Error,
    },
}

/// A stream that takes events.
pub(crate) struct Stream {
    /// Its name.
    pub(crate) name: String,
    /// Its topic, prefix included.
    pub(crate) topic: String,
    /// Partitions of the topic, fixed for life.
    pub(crate) partitions: i32,
    /// Whether headers that can be derived are left out.
    pub(crate) compact: bool,
    /// Tells its events from those of other streams in the dedupe window: processors look for repeats per stream.
    salt: [u8; 16],
    /// Types a caller may send.
    pub(crate) kinds: Vec<Kind>,
    by_type: HashMap<String, usize>,
}

impl Stream {
    /// Compiles a stream of the catalog.
    ///
    /// # Errors
    /// A schema has no id, or cannot be compiled.
    pub(crate) fn compile(stream: &catalog::Stream, topics: &Topics, ids: &SchemaIds) -> Result<Self, Error> {
        let callers = stream.events.iter().filter(|event| !event.internal);
        let kinds = callers.map(|event| Kind::compile(event, ids)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            name: stream.name.clone(),
            topic: topics.events(&stream.name),
            partitions: stream.partitions,
            compact: stream.headers == HeaderStyle::Compact,
            salt: EventKey::of(&stream.name, "", None).0,
            by_type: kinds.iter().enumerate().map(|(index, kind)| (kind.ce_type.clone(), index)).collect(),
            kinds,
        })
    }

    /// The key of an event in the window, which all streams share.
    pub(crate) fn window_key(&self, key: EventKey) -> EventKey {
        let mut scoped = key;
        scoped.0.iter_mut().zip(self.salt).for_each(|(byte, salt)| *byte ^= salt);
        scoped
    }

    /// The type of that name.
    pub(crate) fn kind_named(&self, ce_type: &str) -> Option<usize> {
        self.by_type.get(ce_type).copied()
    }

    /// The type, if the stream has just one.
    pub(crate) fn only_kind(&self) -> Option<usize> {
        (self.kinds.len() == 1).then_some(0)
    }
}

/// One event type.
pub(crate) struct Kind {
    /// Its name.
    pub(crate) ce_type: String,
    /// One line for people.
    pub(crate) title: String,
    /// Example of its data, JSON.
    pub(crate) example: Option<String>,
    /// Method and path template of its route.
    pub(crate) route: Option<catalog::Route>,
    /// Id of its schema in the registry.
    pub(crate) schema_id: i32,
    /// The record of its data.
    pub(crate) schema: Arc<RecordSchema>,
    /// From JSON to Avro; captures what subject and id need.
    pub(crate) plan: Plan,
    /// Rules of its fields beyond their types.
    pub(crate) constraints: Arc<Constraints>,
    /// How its subject is found.
    pub(crate) subject: Subject,
    /// Put before the subject, `{account}` not yet filled in; empty or with its slash.
    pub(crate) subject_prefix: String,
    /// Which capture of the plan is the id.
    pub(crate) id_capture: Option<usize>,
    /// Whether every event needs an id of its own or the request an `Idempotency-Key`.
    pub(crate) key_required: bool,
    /// What becomes of members the schema does not have.
    pub(crate) unknown_fields: UnknownFields,
    /// Whether its route takes several events at once.
    pub(crate) batch: bool,
    /// Whether its route answers with the outcome.
    pub(crate) outcome: bool,
    /// Path of the view that the route creates.
    pub(crate) location: Option<String>,
    /// Which of its events leave a status to wait for.
    pub(crate) tracking: catalog::Tracking,
    /// Whether `If-Match` fills its field `expected_version`.
    pub(crate) versioned: bool,
    /// Bounds of its route, where they differ from the edge's.
    pub(crate) limits: Limits,
}

/// Bounds of a route, where they differ from the edge's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Body, bytes.
    pub(crate) body: Option<usize>,
    /// Encoded datum, bytes.
    pub(crate) event: Option<usize>,
    /// Events per request.
    pub(crate) batch: Option<usize>,
}

/// Where a subject comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The envelope's attribute.
    Attribute,
    /// A field, captured by the plan under this number; its pointer.
    Field(usize, String),
    /// A parameter of the route's path.
    Path(String),
    /// A request header.
    Header(String),
    /// Made from the event key, unless the envelope gives one.
    Generated,
}

impl Subject {
    /// The rule as the list of streams shows it.
    pub(crate) fn describe(&self, prefix: &str) -> Value {
        let mut rule = match self {
            Self::Attribute => json!({"attribute": true}),
            Self::Field(_, pointer) => json!({"pointer": pointer}),
            Self::Path(name) => json!({"path": name}),
            Self::Header(name) => json!({"header": name}),
            Self::Generated => json!({"generated": true}),
        };
        if !prefix.is_empty() {
            rule["prefix"] = prefix.trim_end_matches('/').into();
        }
        rule
    }
}

impl Kind {
    fn compile(event: &EventType, ids: &SchemaIds) -> Result<Self, Error> {
        let (ce_type, schema) = (event.ce_type.clone(), &event.schema);
        let unregistered = || Error::Unregistered { ce_type: ce_type.clone(), schema: schema.full_name.clone() };
        let unusable = |source| Error::Plan { ce_type: ce_type.clone(), source };
        let schema_id = ids.id_of(&schema.full_name).ok_or_else(unregistered)?;
        let mut pointers = Vec::new();
        let subject = match &event.subject.source {
            SubjectSource::Generated => Subject::Generated,
            SubjectSource::Attribute => Subject::Attribute,
            SubjectSource::Path(name) => Subject::Path(name.clone()),
            SubjectSource::Header(name) => Subject::Header(name.to_ascii_lowercase()),
            SubjectSource::Pointer(pointer) => {
                pointers.push(pointer.as_str());
                Subject::Field(0, pointer.clone())
            }
        };
        let id_capture = event.id_pointer.as_deref().map(|pointer| {
            pointers.push(pointer);
            pointers.len() - 1
        });
        let plan = Plan::compile(&schema.schema).and_then(|plan| plan.with_captures(&pointers)).map_err(unusable)?;
        let versioned = plan.field_names().any(|name| name == "expected_version");
        let size = |limit: Option<u64>| limit.and_then(|limit| usize::try_from(limit).ok());
        Ok(Self {
            route: event.route.clone(),
            schema_id,
            schema: Arc::clone(schema),
            title: event.title.clone(),
            example: event.example.clone(),
            versioned,
            plan,
            constraints: Arc::clone(&event.constraints),
            subject,
            subject_prefix: event.subject.prefix.as_deref().map(|prefix| format!("{prefix}/")).unwrap_or_default(),
            id_capture,
            key_required: event.idempotency_key == catalog::IdempotencyKey::Required,
            unknown_fields: match event.unknown_fields {
                catalog::UnknownFields::Reject => UnknownFields::Reject,
                catalog::UnknownFields::Ignore => UnknownFields::Ignore,
            },
            batch: event.batch,
            outcome: event.answer_outcome,
            location: event.location.clone(),
            tracking: event.tracking,
            limits: Limits { body: size(event.limits.body), event: size(event.limits.event), batch: size(event.limits.batch) },
            ce_type,
        })
    }
}
