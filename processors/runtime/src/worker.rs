//! Workers: each a consumer, a transactional producer and the thread that serves both.
//!
//! [`start`] registers the loops' threads and appliers with the process. A thread performs what the engine core asks for,
//! one action at a time; every error ends in one of four decisions (abort, ownership lost, start again, fenced).

mod applier;
mod executor;
mod gather;
mod group;
mod lag;
mod producer;
mod readiness;
mod recover;
mod seek;
mod session;
mod trace;
mod watchdog;
mod writers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::kafka;
use chassis::lifecycle::{Lifecycle, Stop};
use schemas::catalog::{Catalog, Stream};
use schemas::names::Topics;
use schemas::registry::{Registry, SchemaIds};
use state::StateStore;

use self::readiness::Readiness;
pub(crate) use self::recover::headers_of;
pub use self::seek::{Seek, seek};
use self::session::{Ended, Session};
use self::watchdog::Blocked;
use crate::engine::log::WriterId;
use crate::engine::settings::{Limits, Settings};
use crate::engine::transaction::Topic;
use crate::logic::Logic;
use crate::metrics::{self, Place};
use crate::points::Points;
use crate::time::Clock;
use crate::{http, topics};

/// Backoff between two starts.
const RESTART_FIRST: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(10);

/// A worker that is fenced again within this span shares its slot with another one.
const FENCED_TWICE: Duration = Duration::from_secs(60);

/// A shard whose store shows what cannot be within this span after a start for the same reason is halted.
const TORN_AGAIN: Duration = Duration::from_secs(600);

/// More workers of one stream in one process only take shards from each other.
const WORKERS_MAX: usize = 64;

/// How workers run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub kafka: kafka::Settings,
    /// Topic prefix of the deployment, may be empty.
    pub prefix: String,
    /// Stable name of this worker's place: a restart in the same slot takes over at once.
    pub slot: String,
    /// Two batches end at least this far apart under load, unless they are full; an idle worker begins at once.
    pub batch_time: Duration,
    /// Before shards go to another worker, and before the process stops, attempts at effects that are under way get so long
    /// to end, and the store to take what was committed. Later attempts count as lost; frames are read back from the log.
    pub drain: Duration,
    /// A PEM file of certificate authorities that effects trust beside those of the system.
    pub effects_ca_file: Option<PathBuf>,
    /// Reading a shard back may take this long before it is halted with a diagnosis.
    pub recovery_deadline: Duration,
    /// Workers of this process, each with a thread, a producer and a share of the shards. One: the slot's name is used as
    /// it is; more: `<slot>-0`, `<slot>-1` and so on.
    pub workers: usize,
    /// Frames that retention removed from the log before the store had them are passed over. For one start, by an operator.
    pub accept_log_gap: bool,
    /// Events that were deleted before they were processed are passed over. For one start, by an operator.
    pub accept_input_gap: bool,
    /// Only move a shard's positions and end. Set by [`seek`].
    pub seek: Option<Seek>,
    /// Bounds of the engine.
    pub limits: Limits,
    /// Where a test makes the worker stumble.
    pub points: Points,
    /// What the worker takes for the time.
    pub clock: Clock,
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
            drain: Duration::from_secs(2),
            effects_ca_file: None,
            recovery_deadline: Duration::from_secs(60),
            workers: 1,
            accept_log_gap: false,
            accept_input_gap: false,
            seek: None,
            limits: Limits::default(),
            points: Points::default(),
            clock: Clock::default(),
        }
    }

    /// The slot of each worker.
    fn slots(&self) -> Vec<String> {
        if self.workers <= 1 {
            return vec![self.slot.clone()];
        }
        (0..self.workers.min(WORKERS_MAX)).map(|worker| format!("{}-{worker}", self.slot)).collect()
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
    /// The catalog says how an effect is attempted that there is not.
    #[error("catalog/{stream}.toml has the effect {effect:?}, the processor has none of that name; correct either")]
    UnknownEffect {
        /// The stream.
        stream: String,
        /// The effect.
        effect: String,
    },
    /// Effects have no HTTP client.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// A topic that its workers read or write is missing, or is not as the catalog has it.
    #[error(transparent)]
    Topics(#[from] kafka::topics::Error),
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
    /// Topics that shards read, as the settings count them: events first, then results of followed streams.
    pub(crate) inputs: Vec<String>,
    /// `<stream>.events` of each stream that is sent to, as the settings count them.
    pub(crate) targets: Vec<String>,
}

impl TopicNames {
    pub(crate) fn of(&self, topic: Topic) -> &str {
        match topic {
            Topic::Results => &self.results,
            Topic::Dead => &self.dead,
            Topic::Log => &self.log,
            Topic::Events(target) => &self.targets[target],
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
    /// Labels of its gauges.
    pub(crate) place: Place,
    readiness: Arc<Readiness>,
    /// For effects.
    http: http::Client,
    /// The half of its writers' names that says which process they belong to: claims of a process that lives accuse nobody.
    process: [u8; 4],
    /// When the transactional call in progress began, ms of the boot clock; 0 when there is none.
    blocked: Blocked,
}

/// Starts the workers of `parts.logic`'s stream, once its topics and those of streams it follows and sends to are as the
/// catalog has them. Returns when they are registered; they become ready by themselves.
///
/// # Errors
/// [`Error`] with what to change.
pub async fn start(options: Options, parts: Parts, lifecycle: &Lifecycle) -> Result<(), Error> {
    let lifecycle = lifecycle.core();
    let name = parts.logic.name();
    for worker in workers(&options, &parts, &lifecycle).await? {
        worker.ready(false, "waiting for shards");
        lifecycle.thread(name, move |stop| worker.run(&stop))?;
    }
    Ok(())
}

/// The workers that the options ask for; none of them runs yet.
async fn workers(options: &Options, parts: &Parts, lifecycle: &Lifecycle) -> Result<Vec<Worker>, Error> {
    let name = parts.logic.name();
    let stream = parts.catalog.stream(name).ok_or_else(|| Error::UnknownStream(name.to_owned()))?;
    let effects = parts.logic.effects();
    if let Some(unknown) = stream.effects.iter().find(|rules| effects.policy(&rules.name).is_none()) {
        return Err(Error::UnknownEffect { stream: name.to_owned(), effect: unknown.name.clone() });
    }
    let topics = topics::of_workers(stream, &parts.catalog, &Topics::new(&options.prefix));
    kafka::topics::check(&options.kafka, &topics).await?;
    let settings = Arc::new(Settings::of(&parts.catalog, stream, &parts.ids, options.limits.clone()).map_err(Error::NoId)?);
    parts.store.open_stream(name, stream.partitions, stream.buckets).await?;
    metrics::describe();
    let process = random_half();
    let http = http::Client::new(options.effects_ca_file.as_deref())?;
    let readiness = Arc::new(Readiness::new(lifecycle.clone(), name));
    let slots = options.slots().into_iter().enumerate();
    let workers = slots.map(|(number, slot)| {
        let worker = Worker {
            topics: topics_of(stream, &settings, &options.prefix),
            settings: settings.clone(),
            tokio: tokio::runtime::Handle::current(),
            lifecycle: lifecycle.clone(),
            place: Place::new(&settings.stream, number),
            readiness: readiness.clone(),
            process,
            http: http.clone(),
            blocked: Blocked::default(),
            options: Options { slot, ..options.clone() },
            parts: parts.clone(),
        };
        watchdog::watch(lifecycle, worker.blocked.clone(), worker.options.kafka.clone());
        worker
    });
    Ok(workers.collect())
}

/// Half of a writer's name.
fn random_half() -> [u8; 4] {
    let mut half = [0; 4];
    half.copy_from_slice(&uuid::Uuid::now_v7().as_bytes()[12..]);
    half
}

fn topics_of(stream: &Stream, settings: &Settings, prefix: &str) -> TopicNames {
    let topics = Topics::new(prefix);
    TopicNames {
        events: topics.events(&stream.name),
        results: topics.results(&stream.name),
        dead: topics.dead(&stream.name),
        log: topics.log(&stream.name),
        inputs: settings.feeds().map(|feed| format!("{prefix}{}", settings.topic(feed))).collect(),
        targets: settings.targets.iter().map(|target| topics.events(&target.stream)).collect(),
    }
}

impl Worker {
    /// The consumer group of the stream.
    fn group(&self) -> String {
        format!("{}forebay.{}", self.options.prefix, self.settings.stream)
    }

    /// Name the broker fences producers of this slot by.
    fn transactional_id(&self) -> String {
        format!("{}forebay.{}.{}", self.options.prefix, self.settings.stream, self.options.slot)
    }

    /// A name for a new producer instance.
    fn fresh_writer(&self) -> WriterId {
        let mut writer = [0; 8];
        writer[..4].copy_from_slice(&self.process);
        writer[4..].copy_from_slice(&random_half());
        writer
    }

    fn ready(&self, ready: bool, detail: &str) {
        self.readiness.set(&self.options.slot, ready, detail);
    }

    /// Runs a blocking transactional call under the watchdog.
    fn blocking<T>(&self, call: impl FnOnce() -> T) -> T {
        self.blocked.during(call)
    }

    /// Sessions one after another, until the process stops.
    fn run(self, stop: &Stop) -> Result<(), Error> {
        let stream = &self.settings.stream;
        let mut backoff = RESTART_FIRST;
        let mut fenced_at: Option<Instant> = None;
        let mut torn_at: BTreeMap<i32, Instant> = BTreeMap::new();
        while !stop.requested() {
            let begun = Instant::now();
            torn_at.retain(|_, at| at.elapsed() < TORN_AGAIN);
            let ended = match Session::start(&self, torn_at.keys().copied().collect()) {
                Ok(session) => session.run(stop),
                Err(failure) => failure.into(),
            };
            let (why, fenced, torn) = match ended {
                Ended::Shutdown => break,
                Ended::Stop(why) => return Err(Error::Stopped(why)),
                Ended::Restart { why, fenced, torn } => (why, fenced, torn),
            };
            torn_at.extend(torn.map(|shard| (shard, Instant::now())));
            tracing::warn!(%stream, slot = self.options.slot, why, fenced, "the worker starts again");
            self.ready(false, "starting again");
            metrics::restarted(stream, fenced);
            if fenced {
                if fenced_at.is_some_and(|at| at.elapsed() < FENCED_TWICE) {
                    return Err(Error::SlotUsedTwice(self.options.slot.clone()));
                }
                fenced_at = Some(Instant::now());
            }
            if begun.elapsed() > FENCED_TWICE {
                backoff = RESTART_FIRST;
            }
            self.tokio.block_on(async {
                tokio::select! { () = stop.wait() => {}, () = tokio::time::sleep(backoff) => {} }
            });
            backoff = (backoff * 2).min(RESTART_MAX);
        }
        Ok(())
    }
}
