//! One worker: a consumer, a transactional producer and the thread that serves both.
//!
//! [`start`] registers the loop's thread and the applier with the process. The thread performs what the engine core
//! asks for, one action at a time; every error ends in one of three decisions (abort, ownership lost, start again).

mod applier;
mod gather;
mod group;
mod producer;
mod recover;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chassis::kafka;
use chassis::lifecycle::{Lifecycle, Stop};
use schemas::catalog::{Catalog, Stream};
use schemas::names::Topics;
use schemas::registry::{Registry, SchemaIds};
use state::StateStore;

use self::session::{Ended, Session};
use crate::engine::settings::{Limits, Settings};
use crate::engine::transaction::Topic;
use crate::logic::Logic;
use crate::metrics;

/// A transactional call that blocks longer ends the process: nothing else can tell it from a hang (F7).
const WATCHDOG: Duration = Duration::from_secs(60);
/// Backoff between two starts.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(10);

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub kafka: kafka::Settings,
    /// Topic prefix of the deployment, may be empty.
    pub prefix: String,
    /// Stable name of this worker's place: a restart in the same slot takes over at once.
    pub slot: String,
    /// Two transactions begin at least this far apart under load; an idle worker begins at once.
    pub batch_time: Duration,
    /// Reading a shard back may take this long before it is halted with a diagnosis.
    pub recovery_deadline: Duration,
    /// Bounds of the engine.
    pub limits: Limits,
}

impl Options {
    /// Defaults of `default.toml` for a cluster, a prefix and a slot.
    #[must_use]
    pub fn new(kafka: kafka::Settings, prefix: &str, slot: &str) -> Self {
        Self {
            kafka,
            prefix: prefix.to_owned(),
            slot: slot.to_owned(),
            batch_time: Duration::from_millis(50),
            recovery_deadline: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }
}

/// What a worker works with.
#[derive(Clone)]
pub struct Parts {
    /// The processor.
    pub logic: Arc<dyn Logic>,
    /// All streams.
    pub catalog: Arc<Catalog>,
    /// Ids of the catalog's schemas.
    pub ids: SchemaIds,
    /// For schemas of other writers.
    pub registry: Arc<Registry>,
    /// Where state goes.
    pub store: Arc<dyn StateStore>,
}

/// Why a worker cannot start, or stopped for good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog has no stream of the processor's name.
    #[error("no stream {0} in the catalog; add schemas/catalog/{0}.toml")]
    UnknownStream(String),
    /// A record of the stream has no id.
    #[error("the registry gave no id for {0}")]
    NoId(String),
    /// The store refuses the stream.
    #[error(transparent)]
    Store(#[from] state::Error),
    /// No thread could be started.
    #[error(transparent)]
    Thread(#[from] chassis::lifecycle::Error),
    /// The worker must not go on.
    #[error("{0}")]
    Stopped(String),
    /// The slot is used by two processes.
    #[error("fenced twice within a minute: another process uses the slot {0}; give every worker its own --slot")]
    SlotUsedTwice(String),
}

/// Names of the topics of one stream.
#[derive(Clone, Debug)]
pub(crate) struct TopicNames {
    pub(crate) events: String,
    pub(crate) results: String,
    pub(crate) dead: String,
    pub(crate) log: String,
}

impl TopicNames {
    pub(crate) fn of(&self, topic: Topic) -> &str {
        match topic {
            Topic::Results => &self.results,
            Topic::Dead => &self.dead,
            Topic::Log => &self.log,
        }
    }
}

/// Everything a session needs; shared by all sessions of the worker.
pub(crate) struct Worker {
    pub(crate) options: Options,
    pub(crate) parts: Parts,
    pub(crate) settings: Arc<Settings>,
    pub(crate) topics: TopicNames,
    pub(crate) tokio: tokio::runtime::Handle,
    pub(crate) lifecycle: Lifecycle,
    /// When the transactional call in progress began, ms of the boot clock; 0 when there is none.
    pub(crate) blocked_since: Arc<AtomicI64>,
}

/// Starts the worker of `parts.logic`'s stream. Returns when it is registered; it becomes ready by itself.
///
/// # Errors
/// [`Error`] with what to change.
pub async fn start(options: Options, parts: Parts, lifecycle: &Lifecycle) -> Result<(), Error> {
    let lifecycle = lifecycle.core();
    let name = parts.logic.name();
    let stream = parts.catalog.stream(name).ok_or_else(|| Error::UnknownStream(name.to_owned()))?;
    let settings = Settings::of(stream, &parts.ids, options.limits.clone()).map_err(Error::NoId)?;
    parts.store.open_stream(name, stream.partitions, stream.buckets).await?;
    metrics::describe();
    let worker = Worker {
        topics: topics_of(stream, &options.prefix),
        settings: Arc::new(settings),
        tokio: tokio::runtime::Handle::current(),
        lifecycle: lifecycle.clone(),
        blocked_since: Arc::default(),
        options,
        parts,
    };
    lifecycle.set_ready(name, false, "waiting for shards");
    watch(&lifecycle, worker.blocked_since.clone());
    lifecycle.thread(name, move |stop| worker.run(&stop))?;
    Ok(())
}

fn topics_of(stream: &Stream, prefix: &str) -> TopicNames {
    let topics = Topics::new(prefix);
    TopicNames {
        events: topics.events(&stream.name),
        results: topics.results(&stream.name),
        dead: topics.dead(&stream.name),
        log: topics.log(&stream.name),
    }
}

/// Ends the process when a transactional call hangs.
fn watch(lifecycle: &Lifecycle, blocked_since: Arc<AtomicI64>) {
    let stop = lifecycle.stop();
    lifecycle.spawn("transaction-watchdog", async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = stop.wait() => return Ok(()),
                _ = tick.tick() => {}
            }
            let since = blocked_since.load(Ordering::Acquire);
            if since != 0 && applier::boot_time().as_millis() as i64 - since > WATCHDOG.as_millis() as i64 {
                return Err(Error::Stopped("a transactional call has been blocked for over a minute".into()));
            }
        }
    });
}

impl Worker {
    /// Sessions one after another, until the process stops.
    fn run(self, stop: &Stop) -> Result<(), Error> {
        let mut backoff = RESTART_FIRST;
        let mut fenced: Option<std::time::Instant> = None;
        while !stop.requested() {
            let begun = std::time::Instant::now();
            let ended = match Session::start(&self) {
                Ok(session) => session.run(stop),
                Err(why) => Ended::Restart(why),
            };
            self.lifecycle.set_ready(self.parts.logic.name(), false, "starting again");
            match ended {
                Ended::Shutdown => break,
                Ended::Stop(why) => return Err(Error::Stopped(why)),
                Ended::Restart(why) => {
                    tracing::warn!(stream = %self.settings.stream, why, "the worker starts again");
                    metrics::restarted(&self.settings.stream);
                    if why.contains("fenced") || why.contains("Fenced") {
                        if fenced.is_some_and(|at| at.elapsed() < Duration::from_secs(60)) {
                            return Err(Error::SlotUsedTwice(self.options.slot.clone()));
                        }
                        fenced = Some(std::time::Instant::now());
                    }
                    if begun.elapsed() > Duration::from_secs(60) {
                        backoff = RESTART_FIRST;
                    }
                    self.tokio.block_on(async {
                        tokio::select! { () = stop.wait() => {}, () = tokio::time::sleep(backoff) => {} }
                    });
                    backoff = (backoff * 2).min(RESTART_MAX);
                }
            }
        }
        Ok(())
    }
}
