//! What the room gets from its process, and how a process that runs it alone comes by it.

use std::sync::Arc;

use chassis::auth::{self, Access};
use chassis::kafka;
use chassis::lifecycle::Lifecycle;
use schemas::catalog::{self, Catalog};
use schemas::names::Topics;
use schemas::registry::{self, Registry, SchemaIds};
use state::StateReader;

use crate::config::{Config, Options};

/// Why a process cannot give the room what it needs. Every text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog is wrong.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The schema registry does not answer, or does not have what the catalog says.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The store cannot be reached, or is not set up.
    #[error(transparent)]
    Store(#[from] state::Error),
    /// The access rules cannot be used.
    #[error(transparent)]
    Access(#[from] auth::Error),
}

/// What the room needs from its process.
pub struct Needs {
    /// Its settings.
    pub options: Options,
    /// All streams.
    pub catalog: Arc<Catalog>,
    /// Ids of the catalog's schemas.
    pub ids: SchemaIds,
    /// How to reach the broker.
    pub kafka: kafka::Settings,
    /// Reads what became of events; without it nobody can wait for outcomes.
    pub reader: Option<StateReader>,
    /// Who may do what.
    pub access: Access,
    /// Where tasks are registered.
    pub lifecycle: Lifecycle,
}

impl Needs {
    /// Everything from the settings of a process that runs this room alone.
    ///
    /// # Errors
    /// [`Error`]; start must be refused then.
    pub async fn alone(config: &Config, lifecycle: &Lifecycle) -> Result<Self, Error> {
        let catalog = Catalog::embedded()?;
        let registry = Registry::new(&config.registry.url, Some(config.data_dir.join("schemas")))?;
        let topics = Topics::new(&config.kafka.topic_prefix);
        Ok(Self {
            options: config.options(),
            ids: registry.resolve(&topics, &catalog, config.registry.register).await?,
            catalog,
            kafka: kafka::Settings::new(&config.kafka.bootstrap, &config.kafka.client_id),
            reader: state::open_reader(&config.store).await?,
            access: Access::new(config.access.mode, config.http.addr, &config.access.origins)?,
            lifecycle: lifecycle.clone(),
        })
    }
}
