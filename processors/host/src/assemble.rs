//! Puts the parts of a processor process together.

use std::sync::Arc;

use anyhow::{Context, Result};
use chassis::kafka::topics;
use chassis::lifecycle::Lifecycle;
use host::config::Config;
use runtime::{Logic, Parts};
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;

/// Checks topics and schemas, opens the store, starts one worker per processor.
pub(crate) async fn start(config: &Config, logics: Vec<Arc<dyn Logic>>, lifecycle: &Lifecycle) -> Result<()> {
    let catalog = Catalog::embedded()?;
    let names = Topics::new(&config.kafka.topic_prefix);
    let kafka = config.kafka.settings();
    let specs = host::topics::specs(&catalog, &names);
    if config.topics.create {
        topics::ensure(&kafka, &specs, config.topics.replication).await.context("topics")?;
    } else {
        topics::check(&kafka, &specs).await.context("topics")?;
    }
    let registry = Arc::new(Registry::new(&config.registry.url, None)?);
    let ids = registry.resolve(&names, &catalog, config.registry.register).await.context("schemas")?;
    let store = state::open(&config.store).await.context("store")?;
    for logic in logics {
        let name = logic.name();
        let parts = Parts { logic, catalog: catalog.clone(), ids: ids.clone(), registry: registry.clone(), store: store.clone() };
        let options = config.worker.options(&config.kafka);
        runtime::start(options, parts, lifecycle).await.with_context(|| format!("processor {name}"))?;
    }
    Ok(())
}
