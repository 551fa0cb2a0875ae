//! What the room needs, from the settings of a process that runs it alone.

use anyhow::{Context, Result};

use chassis::auth::Access;
use chassis::lifecycle::Lifecycle;
use ingest::{Config, Needs};
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;

/// Asks the registry and opens the store; an error says what to change, and start is refused then.
pub(crate) async fn needs(config: &Config, lifecycle: &Lifecycle) -> Result<Needs> {
    let catalog = Catalog::embedded()?;
    let registry = Registry::new(&config.registry.url, Some(config.data_dir.join("schemas")))?;
    let topics = Topics::new(&config.kafka.topic_prefix);
    Ok(Needs {
        options: config.options(),
        ids: registry.resolve(&topics, &catalog, config.registry.register).await.context("schemas")?,
        catalog,
        kafka: config.kafka.settings(),
        reader: state::open_reader(&config.store).await.context("store")?,
        access: Access::of(&config.access, config.http.addr)?,
        lifecycle: lifecycle.clone(),
    })
}
