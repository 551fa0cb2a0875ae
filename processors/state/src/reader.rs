//! The read-only half: what the edge and the notifier may see of the state.

use std::sync::Arc;

use crate::store::StateStore;

/// Reads rows by the final-view rule and tells the lifecycle of an event by the one rule there is.
#[derive(Clone)]
pub struct StateReader {
    store: Arc<dyn StateStore>,
}

impl StateReader {
    /// A reader over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self { store }
    }

    /// The kind of store behind it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.store.kind()
    }
}
