//! The room as one thing: built from its options, it hands over a router and runs its own tasks.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use chassis::problem::{Name, Problem};
use schemas::receipt::{self, ReceiptKeys};

use crate::app::App;
use crate::config::Options;
use crate::feed::{Feed, Streams};
use crate::hub::{self, Hub};
use crate::parts::Parts;
use crate::pulse::Pulse;
use crate::reads::{events, routes, views};
use crate::{asyncapi, console, metrics, pulse, ring, socket, sse};

/// Why the room cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No lane.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// No key for receipts.
    #[error(transparent)]
    Receipts(#[from] receipt::Error),
}

/// The read side of a process. Its tasks run from [`Service::build`] on until the lifecycle stops them.
pub struct Service {
    app: Arc<App>,
}

impl Service {
    /// Starts the lanes and the feed. The broker may be away: the room waits for it and is not ready meanwhile.
    ///
    /// # Errors
    /// No threads left, or the receipt key in `options.data_dir` cannot be read.
    pub fn build(options: Options, parts: Parts) -> Result<Self, Error> {
        metrics::describe();
        let Parts { catalog, registry, kafka, topics, reader, access, lifecycle } = parts;
        let receipts = ReceiptKeys::in_dir(&options.data_dir)?;
        let (streams, pulse) = (Arc::new(Streams::default()), Arc::new(Pulse::default()));
        let limits = hub::Limits {
            queue_bytes: options.queue.bytes,
            queue_pieces: options.queue.pieces,
            subscriptions: options.connection.subscriptions,
            json_bytes: options.result.json_bytes_max,
        };
        let hub = Hub::start(lanes(&options), limits, Arc::clone(&streams), Arc::clone(&pulse), &lifecycle)?;
        let rings = ring::Limits {
            age_ms: i64::try_from(options.ring.age.as_millis()).unwrap_or(i64::MAX),
            partition_bytes: options.ring.partition_bytes,
            total_bytes: options.ring.bytes,
            keep: options.ring.keep,
        };
        let feed = Feed {
            kafka,
            topics: topics.clone(),
            catalog: Arc::clone(&catalog),
            registry: Arc::clone(&registry),
            limits: rings,
            streams: Arc::clone(&streams),
            hub: Arc::clone(&hub),
            pulse: Arc::clone(&pulse),
            lifecycle: lifecycle.clone(),
        };
        feed.start();
        Ok(Self {
            app: Arc::new(App { options, catalog, registry, topics, reader, access, receipts, streams, hub, pulse, lifecycle }),
        })
    }

    /// All routes of the read side, the console included. `/problems/{name}` is mounted once by the process.
    pub fn router(&self) -> Router {
        let fixed = Router::new()
            .route("/v1/ws", get(socket::upgrade))
            .route("/v1/sse", get(sse::open))
            .route("/v1/views/{stream}", get(views::list))
            .route("/v1/views/{stream}/{subject}", get(views::one))
            .route("/v1/events/{receipt}", get(events::status))
            .route("/v1/pulse", get(pulse::report::show))
            .route("/asyncapi.json", get(asyncapi::show));
        let declared = routes::mount(fixed, &self.app.catalog);
        declared.with_state(Arc::clone(&self.app)).merge(console::router())
    }
}

fn lanes(options: &Options) -> usize {
    match options.hub.lanes {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        lanes => lanes,
    }
}

impl App {
    /// One more live connection, if the process has room.
    pub(crate) fn admit_connection(&self) -> Result<(), Problem> {
        if self.hub.connections() < self.options.process.connections {
            return Ok(());
        }
        let problem = Problem::new(Name::Overloaded, "this node has as many connections as it may");
        Err(problem.retry_after(std::time::Duration::from_secs(1 + crate::clock::now_ms().unsigned_abs() % 5)))
    }
}
