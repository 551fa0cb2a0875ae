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

/// Makes topics where that is wanted and checks them, checks schemas, opens the store, starts the workers of each processor.
pub(crate) async fn start(config: &Config, logics: Vec<Arc<dyn Logic>>, lifecycle: &Lifecycle) -> Result<()> {
    let catalog = Catalog::embedded()?;
    let names = Topics::new(&config.kafka.topic_prefix);
    let (kafka, specs) = (config.kafka.settings(), host::topics::specs(&catalog, &names));
    if config.topics.create {
        topics::ensure(&kafka, &specs, config.topics.replication).await.context("topics")?;
    } else {
        // also those that no worker uses, and before the registry is asked: a broker that is missing is named first
        topics::check(&kafka, &specs).await.context("topics")?;
    }
    let registry = Arc::new(Registry::new(&config.registry.url, None)?);
    let ids = registry.resolve(&names, &catalog, config.registry.register).await.context("schemas")?;
    let store = state::open(&config.store).await.context("store")?;
    for logic in logics {
        let name = logic.name();
        let parts = Parts { logic, catalog: catalog.clone(), ids: ids.clone(), registry: registry.clone(), store: store.clone() };
        let mut options = config.worker.options(&config.kafka);
        options.effects_ca_file = config.effects.ca_file();
        runtime::start(options, parts, lifecycle).await.with_context(|| format!("processor {name}"))?;
    }
    Ok(())
}
