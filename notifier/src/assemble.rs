//! The parts of the room, from the settings of a process that runs it alone.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};

use chassis::auth::Access;
use chassis::lifecycle::Lifecycle;
use notifier::Parts;
use notifier::config::Config;
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;
use state::{Memory, StateReader};

/// Opens the store; an error says what to change, and start is refused then. `address` is where the public listener is bound.
pub(crate) async fn parts(config: &Config, address: SocketAddr, lifecycle: &Lifecycle) -> Result<Parts> {
    // without a store every view is empty and no lifecycle is known
    let nothing = || StateReader::new(Arc::new(Memory::default()));
    let reader = state::open_reader(&config.store).await.context("store")?.unwrap_or_else(nothing);
    Ok(Parts {
        catalog: Catalog::embedded()?,
        registry: Arc::new(Registry::new(&config.registry.url, Some(config.data_dir.join("schemas")))?),
        kafka: config.kafka.settings(),
        topics: Topics::new(&config.kafka.topic_prefix),
        reader: Arc::new(reader),
        access: Arc::new(Access::of(&config.access, address)?),
        lifecycle: lifecycle.clone(),
    })
}
