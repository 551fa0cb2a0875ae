//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::Semaphore;

use chassis::auth::Access;
use chassis::kafka::produce::Producer;
use chassis::lifecycle::Lifecycle;
use schemas::receipt::ReceiptKeys;
use state::StateReader;

use crate::admission::Pool;
use crate::config::Options;
use crate::openapi::Document;
use crate::stream::Stream;
use crate::verdict::Position;
use crate::window::Window;

/// The running room. One per process.
pub(crate) struct Edge {
    pub(crate) options: Options,
    pub(crate) streams: Vec<Arc<Stream>>,
    pub(crate) producer: Producer,
    /// Events sent lately.
    pub(crate) window: Window<Position>,
    /// `Idempotency-Key`s used lately, hashed with account and route.
    pub(crate) keys: Window<()>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) receipts: ReceiptKeys,
    /// `None`: nothing is told about what became of events.
    pub(crate) reader: Option<StateReader>,
    /// Places for requests that wait for outcomes.
    pub(crate) waiting: Semaphore,
    pub(crate) access: Access,
    pub(crate) lifecycle: Lifecycle,
    /// Set once, by the warm-up.
    pub(crate) warm: AtomicBool,
    /// The catalog's routes and types as a document.
    pub(crate) openapi: Document,
}

impl Edge {
    /// The stream of that name that takes events.
    pub(crate) fn stream(&self, name: &str) -> Option<&Arc<Stream>> {
        self.streams.iter().find(|stream| stream.name == name)
    }
}
