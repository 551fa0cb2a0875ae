//! Does what was promised hold? Reads a deployment's topics and store, and compares them with each other.
//!
//! Called by `forebay audit` and by tests after they broke something. Reads only: committed records up to the ends found
//! at the start, and the store. `docs/operating.md` says what each check means and what to do about a finding.
//!
//! Absent on purpose: nothing here uses the engine's recovery; the log is read by rules written down a second time.

mod book;
mod chain;
mod effects;
mod events;
mod moves;
mod report;
mod results;
mod shard;
mod store;
mod stripe;
mod told;
mod window;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::catalog::{Catalog, Stream};
use schemas::names::Topics;
use state::StateStore;

use self::report::Findings;
use self::shard::Seen;

use crate::engine::settings::Limits;
use crate::source::{self, Source};

pub use self::report::{Check, Counts, Finding, Report};

/// What to audit, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster.
    pub kafka: chassis::kafka::Settings,
    /// Topic prefix of the deployment, may be empty.
    pub prefix: String,
    /// Stream name.
    pub stream: String,
    /// The deployment runs meanwhile: what it changes after the start is passed over. Otherwise everything must be equal.
    pub live: bool,
    /// Dedupe window the deployment runs with.
    pub dedupe_window: Duration,
    /// Status rows live this long.
    pub status_life: Duration,
    /// Look at one of so many parts of subjects and event keys; 1 = all.
    pub sample: u32,
    /// Which of these parts, from 0.
    pub stripe: u32,
    /// Keys (rows, items, status entries, event keys) held at once; more of them mean more passes over the topics.
    pub keys_max: u64,
    /// Findings told of each check.
    pub findings_max: u64,
}

impl Options {
    /// A full audit of a stopped deployment.
    #[must_use]
    pub fn new(kafka: chassis::kafka::Settings, prefix: &str, stream: &str) -> Self {
        let limits = Limits::default();
        Self {
            kafka,
            prefix: prefix.to_owned(),
            stream: stream.to_owned(),
            live: false,
            dedupe_window: limits.dedupe_window,
            status_life: limits.status_life,
            sample: 1,
            stripe: 0,
            keys_max: 20_000_000,
            findings_max: 1_000,
        }
    }
}

/// What an audit compares.
#[derive(Clone)]
pub struct Parts {
    /// All streams.
    pub catalog: Arc<Catalog>,
    /// The store; `None` audits the topics alone.
    pub store: Option<Arc<dyn StateStore>>,
}

/// How far an audit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Shards done.
    pub shards: i32,
    /// Of so many.
    pub of: i32,
    /// Records read so far.
    pub records: u64,
}

/// Why an audit could not run. It says nothing about the deployment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog has no such stream.
    #[error("no stream {0} in the catalog; `forebay topics check` lists what there is")]
    UnknownStream(String),
    /// The topics cannot be read.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] state::Error),
    /// The audit itself broke.
    #[error("the audit ended early: {0}")]
    Ended(String),
}

/// Audits one stream. `progress` is told from time to time.
///
/// # Errors
/// [`Error`] when it could not be done; what is wrong with the deployment stands in the [`Report`].
pub async fn run(options: Options, parts: Parts, progress: impl Fn(Progress) + Send + 'static) -> Result<Report, Error> {
    let tokio = tokio::runtime::Handle::current();
    let audit = tokio::task::spawn_blocking(move || Audit::new(options, parts, tokio, Box::new(progress))?.run());
    audit.await.unwrap_or_else(|error| Err(Error::Ended(error.to_string())))
}

/// One audit under way, on a thread of its own.
struct Audit {
    options: Options,
    parts: Parts,
    tokio: tokio::runtime::Handle,
    progress: Box<dyn Fn(Progress) + Send>,
    source: Source,
    topics: Topics,
    partitions: i32,
    findings: Findings,
    done: Cell<Progress>,
    keys_held: Cell<u64>,
    passes: u32,
}

impl Audit {
    fn new(
        options: Options,
        parts: Parts,
        tokio: tokio::runtime::Handle,
        progress: Box<dyn Fn(Progress) + Send>,
    ) -> Result<Self, Error> {
        let stream = parts.catalog.stream(&options.stream).ok_or_else(|| Error::UnknownStream(options.stream.clone()))?;
        let partitions = stream.partitions;
        let group = format!("{}forebay.{}", options.prefix, options.stream);
        Ok(Self {
            source: Source::new(&options.kafka, &group)?,
            topics: Topics::new(&options.prefix),
            partitions,
            findings: Findings::new(options.findings_max),
            done: Cell::new(Progress { shards: 0, of: partitions, records: 0 }),
            keys_held: Cell::new(0),
            passes: 1,
            options,
            parts,
            tokio,
            progress,
        })
    }

    fn stream(&self) -> Result<&Stream, Error> {
        self.parts.catalog.stream(&self.options.stream).ok_or_else(|| Error::UnknownStream(self.options.stream.clone()))
    }

    fn run(mut self) -> Result<Report, Error> {
        let begun = Instant::now();
        let mut shards = BTreeMap::new();
        for number in 0..self.partitions {
            shards.insert(number, self.shard(number)?);
            let mut done = self.done.get();
            done.shards += 1;
            self.done.set(done);
            (self.progress)(done);
        }
        if self.options.live {
            self.check_movement(begun, &shards)?;
        }
        let skipped = self.skipped();
        let (findings, found) = self.findings.finish();
        Ok(Report {
            stream: self.options.stream,
            mode: if self.options.live { "live" } else { "stopped" }.to_owned(),
            store: self.parts.store.as_ref().map(|store| store.kind().to_owned()),
            shards: shards.into_iter().map(|(number, seen)| (number, seen.counts)).collect(),
            findings,
            found,
            skipped,
            sample: self.options.sample.max(1),
            passes: self.passes,
            keys_held: self.keys_held.get(),
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// Events that wait are taken up within a while.
    fn check_movement(&mut self, begun: Instant, shards: &BTreeMap<i32, Seen>) -> Result<(), Error> {
        let topic = self.topics.events(&self.options.stream);
        let name = format!("{}.events", self.options.stream);
        for (number, seen) in shards.iter().filter(|(_, seen)| seen.end > seen.position) {
            let patience = moves::STANDSTILL.saturating_sub(begun.elapsed());
            let after = self.source.committed(&topic, *number, seen.position + 1, patience)?;
            moves::check_standstill(*number, &name, seen.position, after.unwrap_or(0), seen.end, &mut self.findings);
        }
        Ok(())
    }

    /// What this audit does not look at.
    fn skipped(&self) -> Vec<String> {
        let mut skipped = Vec::new();
        if self.parts.store.is_none() {
            skipped.push("C4 and lifecycles of C9: the topics were audited alone, without the store".to_owned());
        }
        if self.options.live {
            skipped.push("what was written after the audit began".to_owned());
        }
        if self.options.sample > 1 {
            let Options { sample, stripe, .. } = self.options;
            skipped.push(format!("all but part {} of {sample} of subjects and event keys", stripe % sample));
        }
        skipped
    }
}
