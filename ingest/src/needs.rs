//! What the room gets from its process.

use std::sync::Arc;

use chassis::auth::Access;
use chassis::kafka;
use chassis::lifecycle::Lifecycle;
use schemas::catalog::Catalog;
use schemas::registry::SchemaIds;
use state::StateReader;

use crate::config::Options;

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
