//! The stream under measurement: its catalog, topics, schemas and store, under a prefix of its own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use chassis::kafka::Settings;
use chassis::kafka::topics::{self, Spec};
use clap::{Args, ValueEnum};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use runtime::{Parts, logic};
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;
use state::StateStore;

use crate::engines::Engines;
use crate::model::{self, Aggregate, STREAM};

/// Where state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// A folder.
    Embedded,
    /// Cassandra or ScyllaDB.
    Cql,
    /// This process's memory.
    Memory,
}

/// What the headers of events and results hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Headers {
    /// Events without any, as of a plain producer; results compact.
    Bare,
    /// What cannot be derived, as the edge writes it: id and principal. Results compact.
    Compact,
    /// The whole CloudEvents envelope on both.
    Cloudevents,
}

/// How much of an event's lifecycle is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tracking {
    /// A status row for every event.
    All,
    /// Only for failures.
    Failures,
    /// None.
    None,
}

/// The measured stream.
#[derive(Args, Clone, Debug)]
pub(crate) struct Shape {
    /// Partitions of the stream.
    #[arg(long, default_value_t = 8)]
    pub(crate) shards: i32,
    /// Different keys.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: u64,
    /// Bytes of an event's value, and of a result's.
    #[arg(long, default_value_t = 200)]
    pub(crate) size: usize,
    /// Bytes of state per key.
    #[arg(long, default_value_t = 24)]
    pub(crate) row_bytes: usize,
    /// Header style.
    #[arg(long, value_enum, default_value_t = Headers::Compact)]
    pub(crate) headers: Headers,
    /// Lifecycle kept of events.
    #[arg(long, value_enum, default_value_t = Tracking::Failures)]
    pub(crate) tracking: Tracking,
}

impl Shape {
    /// The defaults with another number of keys.
    pub(crate) fn with_keys(keys: u64) -> Self {
        let (shards, size, row_bytes) = (8, 200, 24);
        Self { shards, keys, size, row_bytes, headers: Headers::Compact, tracking: Tracking::Failures }
    }

    fn catalog(&self) -> Result<Catalog> {
        let headers = if self.headers == Headers::Cloudevents { "cloudevents" } else { "compact" };
        let tracking = match self.tracking {
            Tracking::All => "all",
            Tracking::Failures => "failures",
            Tracking::None => "none",
        };
        let text = format!(
            "title = \"One aggregate per key\"\npartitions = {}\nnative = true\nheaders = \"{headers}\"\n\
             [[event]]\ntype = \"{}\"\nschema = \"aggregate/reading.avsc\"\nsubject = {{ attribute = true }}\n\
             tracking = \"{tracking}\"\n\
             [[result]]\ntype = \"{}\"\nschema = \"aggregate/counted.avsc\"\n\
             [[row]]\nschema = \"aggregate/total.avsc\"\n",
            self.shards,
            model::EVENT,
            model::RESULT,
        );
        let embedded = Catalog::embedded()?;
        let log = embedded.log_records().iter().enumerate();
        let mut avro: Vec<_> = log.map(|(at, record)| (format!("engine/log_{at}.avsc"), record.json.clone())).collect();
        avro.extend(model::avro().map(|(path, text)| (path.to_owned(), text)));
        let avro: Vec<_> = avro.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        Ok(Catalog::parse(&[(STREAM, &text)], &avro)?)
    }
}

/// A prefix that no other run has.
pub(crate) fn fresh_prefix() -> String {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("bench_t{}_{}.", age.as_secs(), age.subsec_millis())
}

/// A deployment of one stream.
pub(crate) struct Deployment {
    /// The cluster.
    pub(crate) kafka: Settings,
    /// Topics below the prefix.
    pub(crate) topics: Topics,
    /// Prefix of all names.
    pub(crate) prefix: String,
    /// Everything but the store.
    catalog: Arc<Catalog>,
    registry: Arc<Registry>,
    ids: schemas::registry::SchemaIds,
}

impl Deployment {
    /// Makes topics and registers schemas, or finds them.
    pub(crate) async fn open(engines: &Engines, prefix: &str, shape: &Shape) -> Result<Self> {
        let kafka = Settings::new(&engines.kafka, "engine-bench");
        let topics = Topics::new(prefix);
        let catalog = Arc::new(shape.catalog()?);
        let append_time = || vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
        let spec = |name, config| Spec { name, partitions: shape.shards, config };
        let specs = [
            spec(topics.events(STREAM), append_time()),
            spec(topics.results(STREAM), Vec::new()),
            spec(topics.log(STREAM), append_time()),
            spec(topics.dead(STREAM), Vec::new()),
        ];
        topics::ensure(&kafka, &specs, 1).await.context("topics")?;
        let registry = Arc::new(Registry::new(&engines.registry, None)?);
        let ids = registry.resolve(&topics, &catalog, true).await.context("schemas")?;
        Ok(Self { kafka, topics, prefix: prefix.to_owned(), catalog, registry, ids })
    }

    /// Deletes the topics.
    pub(crate) async fn delete(&self) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.kafka.client_config().create()?;
        let topics = &self.topics;
        let names = [topics.events(STREAM), topics.results(STREAM), topics.log(STREAM), topics.dead(STREAM)];
        admin.delete_topics(&names.each_ref().map(String::as_str), &AdminOptions::new()).await?;
        Ok(())
    }

    /// Id of the event's schema.
    pub(crate) fn event_id(&self) -> Result<i32> {
        self.ids.id_of("forebay.aggregate.Reading").context("the registry gave no id for the event")
    }

    /// What a worker works with.
    pub(crate) fn parts(&self, shape: &Shape, store: Arc<dyn StateStore>) -> Parts {
        Parts {
            logic: logic::of(Aggregate { row_bytes: shape.row_bytes }),
            catalog: self.catalog.clone(),
            ids: self.ids.clone(),
            registry: self.registry.clone(),
            store,
        }
    }
}

/// Opens a store: the embedded one in `folder`, the CQL one in a keyspace named after the prefix.
pub(crate) async fn open_store(
    kind: Store,
    folder: &std::path::Path,
    engines: &Engines,
    prefix: &str,
) -> Result<Arc<dyn StateStore>> {
    let mut config = state::Config { path: folder.to_owned(), ..state::Config::default() };
    config.kind = match kind {
        Store::Embedded => state::Kind::Embedded,
        Store::Cql => state::Kind::Cql,
        Store::Memory => state::Kind::Memory,
    };
    config.cql.nodes = vec![engines.cql.clone()];
    config.cql.replication = 1;
    config.cql.keyspace = prefix.trim_end_matches('.').to_owned();
    state::open(&config).await.context("store")
}
