//! What the room gets from its process.

use std::sync::Arc;

use chassis::auth::Access;
use chassis::kafka::Settings;
use chassis::lifecycle::Lifecycle;
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;
use state::StateReader;

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
