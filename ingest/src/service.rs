//! The room as a process sees it: built from its needs, warmed up, and handed over as a router.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use axum::Router;
use tokio::sync::Semaphore;

use chassis::kafka::produce::{self, Producer};
use chassis::kafka::{self, topics};
use chassis::problem;
use schemas::names::Topics;
use schemas::receipt::{self, ReceiptKeys};

use crate::admission::Pool;
use crate::config;
use crate::edge::Edge;
use crate::needs::Needs;
use crate::stream::{self, Stream};
use crate::window::Window;
use crate::{metrics, openapi, routes};

/// Name of the room among the parts of the process's readiness.
const COMPONENT: &str = "ingest";
/// A broker that does not answer at start is asked again after this long.
const WARM_UP_PAUSE: Duration = Duration::from_millis(500);

/// Why the room cannot start. Every text says what to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Settings contradict each other.
    #[error(transparent)]
    Options(#[from] config::Error),
    /// The catalog does not fit the registry.
    #[error(transparent)]
    Stream(#[from] stream::Error),
    /// The key that tags receipts cannot be had.
    #[error(transparent)]
    Receipts(#[from] receipt::Error),
    /// The producer cannot start, or a topic is not as the catalog says.
    #[error(transparent)]
    Producer(#[from] produce::Error),
}

/// The write side, ready to be mounted.
pub struct Service {
    edge: Arc<Edge>,
    kafka: kafka::Settings,
    topics: Topics,
}

impl Service {
    /// Compiles the catalog and starts the producer. Nothing is answered but 503 until [`Service::warm_up`] has run.
    ///
    /// # Errors
    /// [`Error`]; start must be refused then.
    pub fn build(needs: Needs) -> Result<Self, Error> {
        metrics::describe();
        let Needs { options, catalog, ids, kafka, reader, access, lifecycle } = needs;
        options.check()?;
        lifecycle.set_ready(COMPONENT, false, "warming up");
        let topics = Topics::new(&options.topic_prefix);
        let streams = catalog.streams().iter().map(|stream| Stream::compile(stream, &topics, &ids).map(Arc::new));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let producer = produce::Options {
            queue_bytes: 2 * options.admission.bytes,
            record_bytes: config::RECORD_BYTES_MAX,
            ..produce::Options::default()
        };
        let producer = Producer::start(&kafka, &producer, &lifecycle)?;
        let age_ms = i64::try_from(options.dedupe.age.as_millis()).unwrap_or(i64::MAX);
        let edge = Edge {
            openapi: openapi::document(&streams),
            streams,
            producer,
            window: Window::new(options.dedupe.entries, age_ms),
            keys: Window::new(options.dedupe.entries, age_ms),
            pool: Pool::new(options.admission.bytes),
            receipts: ReceiptKeys::in_dir(&options.data_dir)?,
            reader,
            waiting: Semaphore::new(options.wait.requests),
            access,
            lifecycle,
            warm: AtomicBool::new(false),
            options,
        };
        Ok(Self { edge: Arc::new(edge), kafka, topics })
    }

    /// All routes of the room, without the answers to unknown paths, so that it can be merged with other rooms.
    pub fn router(&self) -> Router {
        routes::router(&self.edge)
    }

    /// The routes of a process that runs this room alone.
    pub fn whole_router(&self) -> Router {
        self.router().merge(problem::router()).fallback(routes::not_found)
    }

    /// Checks the topics and gets what the first requests would otherwise wait for; then the room is ready. While the broker
    /// does not answer, it goes on trying until the process stops.
    ///
    /// # Errors
    /// A topic is missing or has another number of partitions: start must be refused then.
    pub async fn warm_up(&self) -> Result<(), Error> {
        let edge = &self.edge;
        let topics: Vec<_> = edge.streams.iter().map(|stream| (stream.topic.clone(), stream.partitions)).collect();
        let (canary, deadline) = (self.topics.canary(), edge.options.warm_up.time);
        loop {
            match edge.producer.warm_up(&topics, &canary, deadline).await {
                Ok(leaderless) => {
                    for (topic, partition) in leaderless {
                        tracing::warn!(topic, partition, "the partition has no leader");
                    }
                    edge.warm.store(true, Release);
                    edge.lifecycle.set_ready(COMPONENT, true, "warm");
                    return Ok(());
                }
                Err(error @ (produce::Error::Silent { .. } | produce::Error::Topics(topics::Error::Unreachable { .. }))) => {
                    tracing::warn!(%error, bootstrap = self.kafka.bootstrap, "not ready: the broker does not answer");
                    edge.lifecycle.set_ready(COMPONENT, false, error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
            let stop = edge.lifecycle.stop();
            tokio::select! {
                () = tokio::time::sleep(WARM_UP_PAUSE) => {}
                () = stop.wait() => return Ok(()),
            }
        }
    }
}
