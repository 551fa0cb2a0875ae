//! One run of the engine in this process: events from a topic, state in a store, results counted by a stranger.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chassis::lifecycle::Lifecycle;
use clap::Args;
use loadtest::machine;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use runtime::Options;
use schemas::names::HEADER_CAUSED_AT;
use tokio::runtime::Runtime;

use crate::children;
use crate::engines::Engines;
use crate::feed;
use crate::figures::Figures;
use crate::model::{STREAM, Total};
use crate::reader::{Moment, Reader};
use crate::steps::Steps;
use crate::stream::{self, Deployment, Shape, Store};

/// Work that is under way when the process stops gets this long.
const STOP: Duration = Duration::from_secs(20);

/// How the engine runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct Engine {
    /// Where state goes.
    #[arg(long, value_enum, default_value_t = Store::Embedded)]
    pub(crate) store: Store,
    /// Folder of the embedded store; a fresh one when left out.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// Stable name of the worker's place.
    #[arg(long, default_value = "bench")]
    pub(crate) slot: String,
    /// Workers, each with a thread and a share of the shards.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: usize,
    /// Between two commits, ms.
    #[arg(long, default_value_t = 100)]
    pub(crate) commit_ms: u64,
    /// Duplicates are found within this span, s; the engine's default when left out.
    #[arg(long)]
    pub(crate) dedupe: Option<u64>,
    /// Inputs of a transaction; the engine's default when left out.
    #[arg(long)]
    pub(crate) batch_inputs: Option<usize>,
    /// Further settings of librdkafka for every client of the engine, name=value.
    #[arg(long = "client", value_parser = pair)]
    pub(crate) client: Vec<(String, String)>,
    /// Worker threads of the async runtime, as of `forebay-processor`.
    #[arg(long, default_value_t = 2)]
    pub(crate) async_threads: usize,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Engine {
    /// Starts the workers.
    pub(crate) async fn start(
        &self,
        deployment: &Deployment,
        shape: &Shape,
        engines: &Engines,
        lifecycle: &Lifecycle,
    ) -> Result<()> {
        let folder = self.folder.clone().unwrap_or_else(|| std::env::temp_dir().join(deployment.prefix.trim_end_matches('.')));
        let store = stream::open_store(self.store, &folder, engines, &deployment.prefix).await?;
        let mut kafka = deployment.kafka.clone();
        kafka.client.extend(self.client.iter().cloned());
        let mut options = Options::new(kafka, &deployment.prefix, &self.slot);
        options.workers = self.workers;
        options.batch_time = Duration::from_millis(self.commit_ms);
        if let Some(inputs) = self.batch_inputs {
            options.limits.batch_inputs = inputs;
        }
        if let Some(seconds) = self.dedupe {
            options.limits.dedupe_window = Duration::from_secs(seconds);
        }
        runtime::start(options, deployment.parts(shape, store), lifecycle).await.context("the engine")
    }

    /// The async runtime it runs on.
    pub(crate) fn runtime(&self) -> Result<Runtime> {
        Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(self.async_threads).enable_all().build()?)
    }
}

/// A measured run.
#[derive(Args, Clone, Debug)]
pub(crate) struct Aggregate {
    #[command(flatten)]
    pub(crate) engines: Engines,
    #[command(flatten)]
    pub(crate) shape: Shape,
    #[command(flatten)]
    pub(crate) engine: Engine,
    /// Events.
    #[arg(long, default_value_t = 500_000)]
    pub(crate) events: u64,
    /// Events a second while the engine runs; all are there before when left out.
    #[arg(long)]
    pub(crate) rate: Option<u64>,
    /// Latency counts for events from this long after the first result on, s: starting is another figure.
    #[arg(long, default_value_t = 5)]
    pub(crate) settle: u64,
    /// Name of the run in tables.
    #[arg(long, default_value = "forebay")]
    pub(crate) name: String,
}

impl Aggregate {
    /// Runs it and prints its figures.
    pub(crate) fn run(&self) -> Result<()> {
        let steps = Steps::install()?;
        let tokio = self.engine.runtime()?;
        let prefix = stream::fresh_prefix();
        let deployment = tokio.block_on(Deployment::open(&self.engines, &prefix, &self.shape))?;
        let mut feeder = children::feed(&self.engines, &self.shape, &prefix, 0..self.events, self.rate)?;
        if self.rate.is_none() {
            children::ended(&mut feeder)?;
        }
        let reader = Reader::start(&deployment.kafka, &deployment.topics.results(STREAM))?;
        let lifecycle = Lifecycle::new();
        let begun = Moment { at: Instant::now(), cpu: Duration::ZERO, reader_cpu: Duration::ZERO, records: 0 };
        tokio.block_on(self.engine.start(&deployment, &self.shape, &self.engines, &lifecycle))?;
        let value = |framed: &[u8]| u64::try_from(Total::count_of(framed)?).ok();
        let mut settled = Settled::after(Duration::from_secs(self.settle));
        let rated = self.rate.is_some();
        let counted = reader.count(self.events, value, |message| if rated { settled.lateness(message) } else { None })?;
        let exact = counted.sum == feed::sum_of_counts(self.events, self.shape.keys);
        let mut figures = Figures::of(&self.name, &counted, begun, exact);
        let memory = machine::memory(std::process::id())?;
        (figures.rss_mib, figures.peak_mib) = (memory.now_mib, memory.peak_mib);
        (figures.commits, figures.commit_p50_ms, figures.commit_p99_ms) = steps.of("commit");
        eprintln!("steps p50/p99 ms: {}", steps.line());
        figures.print();
        children::ended(&mut feeder)?;
        lifecycle.request_stop("measured");
        let ended = tokio.block_on(lifecycle.run_until_signal(STOP));
        anyhow::ensure!(!ended.failed, "{ended}");
        if self.engine.store == Store::Embedded && self.engine.folder.is_none() {
            std::fs::remove_dir_all(std::env::temp_dir().join(prefix.trim_end_matches('.')))?;
        }
        tokio.block_on(deployment.delete())
    }
}

/// Takes the latency of results once the engine has settled.
struct Settled {
    wait: Duration,
    from: Option<Instant>,
    /// Appends before this one do not count, µs since 1970.
    since: i64,
}

impl Settled {
    fn after(wait: Duration) -> Self {
        Self { wait, from: None, since: i64::MAX }
    }

    /// From the append of the event to now, µs. Broker and reader have the same clock here.
    fn lateness(&mut self, message: &BorrowedMessage<'_>) -> Option<u64> {
        let headers = message.headers()?;
        let caused = headers.iter().find(|header| header.key == HEADER_CAUSED_AT)?.value?;
        let caused: jiff::Timestamp = std::str::from_utf8(caused).ok()?.parse().ok()?;
        let (caused, now) = (caused.as_microsecond(), jiff::Timestamp::now().as_microsecond());
        if self.from.get_or_insert_with(Instant::now).elapsed() < self.wait {
            return None;
        }
        self.since = self.since.min(now);
        if caused < self.since { None } else { u64::try_from(now - caused).ok() }
    }
}
