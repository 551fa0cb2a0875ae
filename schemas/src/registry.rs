//! The schema registry: ids of the catalog's records, and schemas by id. Speaks the Confluent REST API.
//!
//! Nothing on the hot path asks it: ids are had at start, foreign schemas once each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use tokio::sync::Mutex;

use crate::catalog::{Catalog, RecordSchema};
use crate::names::Topics;
use crate::plan::Plan;

mod cache;
mod client;
mod versions;

use cache::Disk;
use client::{Client, Found};
use versions::Versions;

/// How long an unknown id is not asked for again.
const MISSING_LIFE: Duration = Duration::from_secs(10);
/// Most unknown ids remembered.
const MISSING_MAX: usize = 10_000;
/// Most schemas kept in memory.
const SCHEMAS_MAX: usize = 10_000;
/// Fetches that may run at once; those of one id never do.
const FLIGHTS: usize = 16;

/// Why the registry did not give what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No answer, or one that says "later". Try again.
    #[error("the schema registry at {url} does not answer ({cause}): start it, or correct registry.url")]
    Unavailable {
        /// Address.
        url: String,
        /// What happened.
        cause: String,
    },
    /// The schema is not registered and may not be.
    #[error("the registry has no schema {record} under {subject}: register it, or set registry.register = true")]
    NotRegistered {
        /// Registry subject.
        subject: String,
        /// Record's full name.
        record: String,
    },
    /// The schema does not fit the versions before it.
    #[error("the schema under {subject} is not compatible with its earlier versions: {message}")]
    Incompatible {
        /// Registry subject.
        subject: String,
        /// The registry's own words.
        message: String,
    },
    /// No schema has that id.
    #[error("no schema has the id {0}")]
    NotFound(i32),
    /// No version under a subject has that fingerprint.
    #[error("no version under {subject} has the fingerprint {fingerprint}")]
    NoVersion {
        /// Registry subject.
        subject: String,
        /// CRC-64-AVRO, hex.
        fingerprint: String,
    },
    /// The schema of an id cannot be used.
    #[error("the schema with id {id} cannot be used: {problem}")]
    Unusable {
        /// Schema id.
        id: i32,
        /// Why.
        problem: String,
    },
    /// An answer that makes no sense.
    #[error("the schema registry refused {request}: {answer}")]
    Refused {
        /// Method and path.
        request: String,
        /// Status and body.
        answer: String,
    },
}

/// A schema as the registry has it.
#[derive(Debug)]
pub struct RegisteredSchema {
    /// Schema id.
    pub id: i32,
    /// Record's full name.
    pub full_name: String,
    /// Parsed.
    pub schema: Schema,
    /// Compiled.
    pub plan: Arc<Plan>,
}

/// Ids of the catalog's current schemas. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SchemaIds {
    by_name: Arc<HashMap<String, i32>>,
    by_id: Arc<HashMap<i32, String>>,
}

impl SchemaIds {
    /// From full names and ids; tests use it too.
    #[must_use]
    pub fn new(ids: impl IntoIterator<Item = (String, i32)>) -> Self {
        let by_name: HashMap<String, i32> = ids.into_iter().collect();
        let by_id = by_name.iter().map(|(name, id)| (*id, name.clone())).collect();
        Self { by_name: Arc::new(by_name), by_id: Arc::new(by_id) }
    }

    /// Id of a record's current schema.
    #[must_use]
    pub fn id_of(&self, full_name: &str) -> Option<i32> {
        self.by_name.get(full_name).copied()
    }

    /// Record whose current schema has this id; other versions are not known here.
    #[must_use]
    pub fn name_of(&self, id: i32) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }
}

/// The registry with its caches. Ids are immutable, so what is known stays.
pub struct Registry {
    client: Client,
    disk: Disk,
    known: std::sync::RwLock<HashMap<i32, Arc<RegisteredSchema>>>,
    missing: std::sync::Mutex<HashMap<i32, Instant>>,
    flights: [Mutex<()>; FLIGHTS],
    versions: Versions,
}

impl Registry {
    /// The registry at `url` (no slash at the end), with a cache on disk where a directory is given.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there can be no HTTP client.
    pub fn new(url: &str, cache_dir: Option<PathBuf>) -> Result<Self, Error> {
        crate::metrics::describe();
        let url = url.trim_end_matches('/');
        Ok(Self {
            client: Client::new(url)?,
            disk: Disk::new(cache_dir, url),
            known: std::sync::RwLock::default(),
            missing: std::sync::Mutex::default(),
            flights: std::array::from_fn(|_| Mutex::new(())),
            versions: Versions::default(),
        })
    }

    /// Ids of every record of the catalog: events, results, and under the log's topic rows and log records.
    /// With `register`, unknown ones are registered if they are compatible, new subjects as `FULL_TRANSITIVE`.
    /// A start without the registry succeeds when the disk cache has them all.
    ///
    /// # Errors
    /// [`Error`]; only [`Error::Unavailable`] is worth another try.
    pub async fn resolve(&self, topics: &Topics, catalog: &Catalog, register: bool) -> Result<SchemaIds, Error> {
        let mut ids = Vec::new();
        let mut unconfirmed = 0u32;
        for (topic, record) in records(topics, catalog) {
            let subject = subject(&topic, &record.full_name);
            let id = match self.id_of(&subject, record, register).await {
                Err(Error::Unavailable { url, cause }) => {
                    let cached = self.disk.id(&subject, &record.json).await;
                    unconfirmed += 1;
                    cached.ok_or(Error::Unavailable { url, cause })?
                }
                answer => answer?,
            };
            self.remember(RegisteredSchema {
                id,
                full_name: record.full_name.clone(),
                schema: record.schema.clone(),
                plan: record.plan.clone(),
            });
            ids.push((record.full_name.clone(), id));
        }
        metrics::gauge!(crate::metrics::UNCONFIRMED).set(unconfirmed);
        if unconfirmed > 0 {
            tracing::warn!(unconfirmed, "the schema registry does not answer, ids come from the disk cache");
        }
        Ok(SchemaIds::new(ids))
    }

    /// Id of one schema under one subject, registered if `register` allows it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn id_of(&self, subject: &str, record: &RecordSchema, register: bool) -> Result<i32, Error> {
        let id = match self.client.look_up(subject, &record.json).await? {
            Found::Id(id) => id,
            Found::No { .. } if !register => {
                return Err(Error::NotRegistered { subject: subject.to_owned(), record: record.full_name.clone() });
            }
            Found::No { subject_exists } => {
                if subject_exists {
                    self.client.check(subject, &record.json).await?;
                }
                let id = self.client.register(subject, &record.json).await?;
                if !subject_exists {
                    self.client.set_compatibility(subject, "FULL_TRANSITIVE").await?;
                }
                id
            }
        };
        self.disk.keep_id(subject, &record.json, id).await;
        self.disk.keep_schema(id, &record.json).await;
        Ok(id)
    }

    /// The schema of an id: from memory, else disk, else one request for all that wait for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] (remembered for 10 s), [`Error::Unavailable`], [`Error::Unusable`].
    pub async fn schema_by_id(&self, id: i32) -> Result<Arc<RegisteredSchema>, Error> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let slot = usize::try_from(id.unsigned_abs()).unwrap_or_default() % FLIGHTS;
        let _flight = self.flights[slot].lock().await;
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        if self.is_missing(id) {
            return Err(Error::NotFound(id));
        }
        let text = match self.disk.schema(id).await {
            Some(text) => text,
            None => match self.client.schema(id).await? {
                Some(text) => text,
                None => {
                    self.remember_missing(id);
                    return Err(Error::NotFound(id));
                }
            },
        };
        let schema = parse(id, &text)?;
        self.disk.keep_schema(id, &text).await;
        Ok(self.remember(schema))
    }

    fn known(&self, id: i32) -> Option<Arc<RegisteredSchema>> {
        let known = self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(&id).cloned()
    }

    fn remember(&self, schema: RegisteredSchema) -> Arc<RegisteredSchema> {
        let schema = Arc::new(schema);
        let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() < SCHEMAS_MAX {
            known.insert(schema.id, schema.clone());
        }
        schema
    }

    fn is_missing(&self, id: i32) -> bool {
        let missing = self.missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        missing.get(&id).is_some_and(|since| since.elapsed() < MISSING_LIFE)
    }

    fn remember_missing(&self, id: i32) {
        let mut missing = self.missing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if missing.len() >= MISSING_MAX {
            missing.retain(|_, since| since.elapsed() < MISSING_LIFE);
        }
        if missing.len() < MISSING_MAX {
            missing.insert(id, Instant::now());
        }
    }
}

/// Registry subject of a record in a topic: the topic-record-name strategy.
#[must_use]
pub fn subject(topic: &str, full_name: &str) -> String {
    format!("{topic}-{full_name}")
}

/// Every record of the catalog with the topic it is registered under.
fn records<'a>(topics: &Topics, catalog: &'a Catalog) -> Vec<(String, &'a RecordSchema)> {
    let mut all: Vec<(String, &RecordSchema)> = Vec::new();
    for stream in catalog.streams() {
        let events = stream.events.iter().map(|event| (topics.events(&stream.name), &*event.schema));
        let results = stream.results.iter().map(|result| (topics.results(&stream.name), &*result.schema));
        let rows = stream.rows.iter().map(|row| (topics.log(&stream.name), &*row.schema));
        // data inside rows is read back with the schema that wrote it
        let kinds = stream.kinds.iter().map(|kind| (topics.log(&stream.name), &*kind.schema));
        let log = catalog.log_records().iter().map(|record| (topics.log(&stream.name), &**record));
        for entry in events.chain(results).chain(rows).chain(kinds).chain(log) {
            let same = |(topic, record): &(String, &RecordSchema)| *topic == entry.0 && record.full_name == entry.1.full_name;
            if !all.iter().any(same) {
                all.push(entry);
            }
        }
    }
    all
}

fn parse(id: i32, text: &str) -> Result<RegisteredSchema, Error> {
    let unusable = |problem: String| Error::Unusable { id, problem };
    let schema = Schema::parse_str(text).map_err(|error| unusable(error.to_string()))?;
    let plan = Plan::compile(&schema).map_err(|error| unusable(error.to_string()))?;
    Ok(RegisteredSchema { id, full_name: plan.name().to_owned(), schema, plan: Arc::new(plan) })
}
