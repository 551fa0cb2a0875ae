//! What the room stands on when it is a process of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use chassis::auth::{self, Access};
use chassis::kafka::Settings;
use chassis::lifecycle::Lifecycle;
use schemas::catalog::{self, Catalog};
use schemas::names::Topics;
use schemas::registry::{self, Registry};
use state::{Memory, StateReader};

use crate::config::Config;

/// Why the parts do not come together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A catalog file is wrong.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// No client for the registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The access rules do not fit the listener.
    #[error(transparent)]
    Access(#[from] auth::Error),
    /// The state store cannot be opened.
    #[error(transparent)]
    Store(#[from] state::Error),
}

/// What the room stands on.
pub struct Parts {
    /// Declared streams.
    pub catalog: Arc<Catalog>,
    /// Schemas by id.
    pub registry: Arc<Registry>,
    /// The broker.
    pub kafka: Settings,
    /// Names of topics.
    pub topics: Topics,
    /// Rows and lifecycles.
    pub reader: Arc<StateReader>,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Whose tasks they are.
    pub lifecycle: Lifecycle,
}

impl Parts {
    /// The parts of a process that listens on `address`.
    ///
    /// # Errors
    /// A setting that does not fit; the text says which.
    pub async fn alone(config: &Config, address: SocketAddr, lifecycle: &Lifecycle) -> Result<Self, Error> {
        // without a store every view is empty and no lifecycle is known
        let nothing = || StateReader::new(Arc::new(Memory::default()));
        let reader = state::open_reader(&config.store).await?.unwrap_or_else(nothing);
        Ok(Self {
            catalog: Catalog::embedded()?,
            registry: Arc::new(Registry::new(&config.registry.url, Some(config.options.data_dir.join("schemas")))?),
            kafka: Settings::new(&config.kafka.bootstrap, &config.kafka.client_id),
            topics: Topics::new(&config.kafka.topic_prefix),
            reader: Arc::new(reader),
            access: Arc::new(Access::new(config.access.mode, address, &config.access.origins)?),
            lifecycle: lifecycle.clone(),
        })
    }
}
