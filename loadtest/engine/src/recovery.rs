//! From SIGKILL to a new commit of every shard: in the same slot, in another one, with little state and with much.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use chassis::lifecycle::Lifecycle;
use clap::Args;
use loadtest::machine::Shape as Machine;
use rdkafka::message::Message;

use crate::aggregate::Engine;
use crate::children;
use crate::engines::Engines;
use crate::model::STREAM;
use crate::reader::Reader;
use crate::stream::{self, Deployment, Shape};

/// Events a second while the engine is killed.
const RATE: u64 = 1_000;
/// They are written for this long, s: longer than any case takes.
const SPAN: u64 = 60;
/// No new commit for this long after a kill: something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// The engine runs at least this long before it is killed, in a steady state.
const STEADY: Duration = Duration::from_secs(3);

/// Measures recoveries.
#[derive(Args, Clone, Debug)]
pub(crate) struct Recovery {
    #[command(flatten)]
    engines: Engines,
    /// Keys of the small state.
    #[arg(long, default_value_t = 10_000)]
    small: u64,
    /// Keys of the large state.
    #[arg(long, default_value_t = 300_000)]
    large: u64,
}

/// An engine that runs until it is killed; started by `recovery`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    engines: Engines,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    engine: Engine,
    /// Prefix of the topics.
    #[arg(long)]
    prefix: String,
}

impl Serve {
    /// Runs until a signal.
    pub(crate) fn run(&self) -> Result<()> {
        let tokio = self.engine.runtime()?;
        let lifecycle = Lifecycle::new();
        tokio.block_on(async {
            let deployment = Deployment::open(&self.engines, &self.prefix, &self.shape).await?;
            self.engine.start(&deployment, &self.shape, &self.engines, &lifecycle).await
        })?;
        let ended = tokio.block_on(lifecycle.run_until_signal(Duration::from_secs(20)));
        anyhow::ensure!(!ended.failed, "{ended}");
        Ok(())
    }
}

/// A child that does not outlive its case.
pub(crate) struct Guarded(pub(crate) Child);

impl Guarded {
    /// SIGKILL, and waits until it is gone.
    pub(crate) fn end(&mut self) {
        // one that is gone already is what is wanted
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

struct Case<'a> {
    name: &'a str,
    keys: u64,
    store: &'a str,
    /// The slot that takes over, when it is another one.
    other: bool,
    /// It runs before the kill.
    standby: bool,
}

impl Recovery {
    /// Runs every case and prints a table.
    pub(crate) fn run(&self) -> Result<()> {
        let case = |name, keys, store, other, standby| Case { name, keys, store, other, standby };
        let cases = [
            case("restart in the same slot, embedded", self.small, "embedded", false, false),
            case("restart in the same slot, embedded", self.large, "embedded", false, false),
            case("start in another slot, embedded", self.small, "embedded", true, false),
            case("restart in the same slot, memory: the whole log is read", self.large, "memory", false, false),
            case("restart in the same slot, CQL", self.small, "cql", false, false),
            case("another slot that runs already, CQL", self.small, "cql", true, true),
        ];
        println!("{}\n\n| case | keys | SIGKILL to a new commit of every shard, s |\n|---|---|---|", Machine::now());
        for case in cases {
            let took = self.one(&case)?;
            println!("| {} | {} | {:.2} |", case.name, case.keys, took.as_secs_f64());
        }
        Ok(())
    }

    fn one(&self, case: &Case<'_>) -> Result<Duration> {
        let shape = Shape::with_keys(case.keys);
        let prefix = stream::fresh_prefix();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deployment = tokio.block_on(Deployment::open(&self.engines, &prefix, &shape))?;
        // each key about twice
        let events = case.keys * 2;
        children::ended(&mut children::feed(&self.engines, &shape, &prefix, 0..events, None)?)?;
        let folder = std::env::temp_dir().join(prefix.trim_end_matches('.'));
        let reader = Reader::start(&deployment.kafka, &deployment.topics.results(STREAM))?;
        let mut victim = self.serve(case, &prefix, &folder, "one")?;
        for _ in 0..events {
            next(&reader, |_| true)?;
        }
        // other events than before: the same ones would be duplicates
        let mut feeder = Guarded(children::feed(&self.engines, &shape, &prefix, events..events + RATE * SPAN, Some(RATE))?);
        let heir = case.standby.then(|| self.serve(case, &prefix, &folder, "two")).transpose()?;
        let steady = Instant::now();
        while steady.elapsed() < STEADY || (case.standby && steady.elapsed() < 3 * STEADY) {
            next(&reader, |_| true)?;
        }
        let wall = wall_ms()?;
        let killed = Instant::now();
        victim.end();
        let slot = if case.other { "two" } else { "one" };
        let mut heir = heir.map_or_else(|| self.serve(case, &prefix, &folder, slot), Ok)?;
        every_shard_after(&reader, &shape, wall)?;
        let took = killed.elapsed();
        heir.end();
        feeder.end();
        let _gone = std::fs::remove_dir_all(&folder);
        tokio.block_on(deployment.delete())?;
        Ok(took)
    }

    fn serve(&self, case: &Case<'_>, prefix: &str, folder: &Path, slot: &str) -> Result<Guarded> {
        serve(&self.engines, &Shape::with_keys(case.keys), prefix, folder, &["--slot", slot, "--store", case.store])
    }
}

/// Starts an engine.
pub(crate) fn serve(engines: &Engines, shape: &Shape, prefix: &str, folder: &Path, more: &[&str]) -> Result<Guarded> {
    let mut arguments = vec!["serve".to_owned()];
    arguments.extend(engines.arguments());
    arguments.extend(children::shape_arguments(shape));
    arguments.extend(["--prefix", prefix, "--folder", &folder.display().to_string()].map(str::to_owned));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    children::command(arguments)?.spawn().map(Guarded).context("the engine")
}

/// Now, ms since 1970.
pub(crate) fn wall_ms() -> Result<u128> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())
}

/// Reads until every shard has committed after `wall`, also those of a standby, which never stopped. Returns the results read.
pub(crate) fn every_shard_after(reader: &Reader, shape: &Shape, wall: u128) -> Result<u64> {
    let mut back = vec![false; usize::try_from(shape.shards)?];
    let mut read = 0;
    next(reader, |(partition, timestamp)| {
        read += 1;
        if let Some(back) = usize::try_from(partition).ok().and_then(|at| back.get_mut(at)) {
            *back |= u128::try_from(timestamp).is_ok_and(|timestamp| timestamp > wall);
        }
        back.iter().all(|back| *back)
    })?;
    Ok(read)
}

/// Reads until `wanted` says so of a result's partition and timestamp, ms.
pub(crate) fn next(reader: &Reader, mut wanted: impl FnMut((i32, i64)) -> bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        if let Some(message) = reader.poll(Duration::from_millis(20))?
            && wanted((message.partition(), message.timestamp().to_millis().unwrap_or_default()))
        {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("no commit within {PATIENCE:?}");
        }
    }
}
