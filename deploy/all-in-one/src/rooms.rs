//! All rooms in one process, on one public port.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use chassis::auth::{Access, Mode};
use chassis::kafka::{Settings, topics};
use chassis::lifecycle::Lifecycle;
use chassis::problem;
use local_engines::Engines;
use runtime::Parts;
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;
use state::{StateReader, StateStore};

use crate::config::Config;

/// What the process serves once everything runs.
pub(crate) struct Rooms {
    /// Write and read side on one router.
    pub(crate) router: Router,
    ingest: ingest::Service,
}

impl Rooms {
    /// Makes topics, registers schemas, opens the store and starts processors, read side and write side.
    pub(crate) async fn build(config: &Config, engines: &Engines, lifecycle: &Lifecycle) -> Result<Self> {
        let catalog = Catalog::embedded()?;
        let names = Topics::new(&config.kafka.topic_prefix);
        let kafka = Settings::new(&engines.kafka, "forebay");
        topics::ensure(&kafka, &host::topics::specs(&catalog, &names), 1).await.context("topics")?;
        let registry = Arc::new(Registry::new(&engines.registry, Some(config.data_dir.join("schemas")))?);
        let ids = registry.resolve(&names, &catalog, true).await.context("schemas")?;
        let store = open_store(config, engines).await.context("store")?;
        let reader = StateReader::new(store.clone());
        let access = || Access::new(Mode::Open, config.http.addr, &[]);
        for logic in host::processors() {
            let parts =
                Parts { logic, catalog: catalog.clone(), ids: ids.clone(), registry: registry.clone(), store: store.clone() };
            let mut options = runtime::Options::new(kafka.clone(), &config.kafka.topic_prefix, "all-in-one");
            options.workers = config.worker.workers;
            options.batch_time = Duration::from_millis(config.worker.batch_ms);
            options.effects_ca_file = config.effects.ca_file();
            options.limits.dedupe_window = Duration::from_secs(config.worker.dedupe_window_s);
            runtime::start(options, parts, lifecycle).await.context("processors")?;
        }
        let ingest = ingest::Service::build(ingest::Needs {
            options: ingest_options(config)?,
            catalog: catalog.clone(),
            ids,
            kafka: kafka.clone(),
            reader: Some(reader.clone()),
            access: access()?,
            lifecycle: lifecycle.clone(),
        })?;
        let options = notifier::config::Options::defaults(config.data_dir.clone())?;
        let parts = notifier::Parts {
            catalog,
            registry,
            kafka,
            topics: names,
            reader: Arc::new(reader),
            access: Arc::new(access()?),
            lifecycle: lifecycle.clone(),
        };
        let notifier = notifier::Service::build(options, parts)?;
        let router = ingest.router().merge(notifier.router()).merge(problem::router()).fallback(problem::not_found);
        Ok(Self { router, ingest })
    }

    /// Gets what the first requests would otherwise wait for.
    pub(crate) async fn warm_up(&self) -> Result<()> {
        Ok(self.ingest.warm_up().await?)
    }
}

/// Opens the store that the configuration names.
pub(crate) async fn open_store(config: &Config, engines: &Engines) -> Result<Arc<dyn StateStore>> {
    let mut store = state::Config { kind: config.store.kind, path: config.data_dir.join("state"), cql: config.store.cql.clone() };
    if let Some(cql) = &engines.cql {
        store.cql.nodes = vec![cql.clone()];
    }
    Ok(state::open(&store).await?)
}

/// The edge's own defaults, with what the process decides.
fn ingest_options(config: &Config) -> Result<ingest::Options> {
    let mut defaults: ingest::Config = toml::from_str(ingest::DEFAULTS)?;
    defaults.data_dir.clone_from(&config.data_dir);
    defaults.kafka.topic_prefix.clone_from(&config.kafka.topic_prefix);
    Ok(defaults.options())
}
