//! What the number of keys costs: recovery, the backlog after an outage, memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use loadtest::machine::{self, Shape as Machine};

use crate::children;
use crate::engines::Engines;
use crate::model::STREAM;
use crate::reader::Reader;
use crate::recovery::{self, Guarded};
use crate::stream::{self, Deployment, Shape};

/// Events a second while the engine is killed.
const RATE: u64 = 1_000;
/// They are written for this long, s.
const SPAN: u64 = 12;
/// The engine runs at least this long before it is killed.
const STEADY: Duration = Duration::from_secs(4);
/// The dedupe window, s. It is kept in whole minutes, so it is empty after [`FORGOTTEN`].
const WINDOW: &str = "1";
/// Every event written before is out of the dedupe window.
const FORGOTTEN: Duration = Duration::from_secs(130);

/// Measures deployments with few keys and with many.
#[derive(Args, Clone, Debug)]
pub(crate) struct Sizes {
    #[command(flatten)]
    engines: Engines,
    /// Keys that have state. Ten million take five minutes and 4 GB of disk.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    keys: Vec<u64>,
    /// Events that wait after the outage.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
}

/// A stream whose keys all have state, and no engine.
struct Prepared {
    shape: Shape,
    prefix: String,
    folder: PathBuf,
    deployment: Deployment,
    reader: Reader,
}

impl Sizes {
    /// Prepares all of them, waits for the dedupe window to be over, and measures one after the other.
    pub(crate) fn run(&self) -> Result<()> {
        println!("{}", Machine::now());
        let prepared = self.keys.iter().map(|keys| self.prepare(*keys)).collect::<Result<Vec<_>>>()?;
        eprintln!("the dedupe window ends: {FORGOTTEN:?}");
        std::thread::sleep(FORGOTTEN);
        println!(
            "\n| keys | store MiB | SIGKILL to a new commit of every shard, s | outage over: records/s | CPU µs/record | RSS MiB | peak |\n\
             |---|---|---|---|---|---|---|"
        );
        prepared.iter().try_for_each(|prepared| self.measure(prepared))
    }

    fn prepare(&self, keys: u64) -> Result<Prepared> {
        let (shape, prefix) = (Shape::with_keys(keys), stream::fresh_prefix());
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deployment = tokio.block_on(Deployment::open(&self.engines, &prefix, &shape))?;
        children::ended(&mut children::feed_with(&self.engines, &shape, &prefix, 0..keys, None, &["--in-turn"])?)?;
        let folder = std::env::temp_dir().join(prefix.trim_end_matches('.'));
        let reader = Reader::start(&deployment.kafka, &deployment.topics.results(STREAM))?;
        let prepared = Prepared { shape, prefix, folder, deployment, reader };
        let mut engine = self.start(&prepared)?;
        read(&prepared.reader, keys)?;
        engine.end();
        eprintln!("{keys} keys have state");
        Ok(prepared)
    }

    fn start(&self, prepared: &Prepared) -> Result<Guarded> {
        let Prepared { shape, prefix, folder, .. } = prepared;
        recovery::serve(&self.engines, shape, prefix, folder, &["--slot", "one", "--dedupe", WINDOW])
    }

    fn measure(&self, prepared: &Prepared) -> Result<()> {
        let Prepared { shape, prefix, folder, deployment, reader } = prepared;
        let (mut next, mut seen) = (shape.keys, 0);
        let mut engine = self.start(prepared)?;
        let mut feeder = children::feed(&self.engines, shape, prefix, next..next + RATE * SPAN, Some(RATE))?;
        let steady = Instant::now();
        while steady.elapsed() < STEADY {
            seen += read(reader, 1)?;
        }
        let (wall, killed) = (recovery::wall_ms()?, Instant::now());
        engine.end();
        engine = self.start(prepared)?;
        seen += recovery::every_shard_after(reader, shape, wall)?;
        let recovered = killed.elapsed();
        children::ended(&mut feeder)?;
        next += RATE * SPAN;
        read(reader, RATE * SPAN - seen)?;
        engine.end();
        children::ended(&mut children::feed(&self.engines, shape, prefix, next..next + self.backlog, None)?)?;
        engine = self.start(prepared)?;
        read(reader, 1)?;
        let (begun, before) = (Instant::now(), machine::cpu_time(engine.0.id())?);
        read(reader, self.backlog - 1)?;
        let (took, used) = (begun.elapsed(), machine::cpu_time(engine.0.id())?.saturating_sub(before));
        let memory = machine::memory(engine.0.id())?;
        println!(
            "| {} | {} | {:.2} | {:.0} | {:.1} | {} | {} |",
            shape.keys,
            bytes(folder)? >> 20,
            recovered.as_secs_f64(),
            self.backlog as f64 / took.as_secs_f64(),
            used.as_secs_f64() * 1e6 / self.backlog as f64,
            memory.now_mib,
            memory.peak_mib,
        );
        engine.end();
        fs::remove_dir_all(folder)?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(deployment.delete())
    }
}

/// Reads so many results.
fn read(reader: &Reader, results: u64) -> Result<u64> {
    (0..results).try_for_each(|_| recovery::next(reader, |_| true))?;
    Ok(results)
}

/// Bytes of the files below a folder.
fn bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        sum += if kind.is_dir() { bytes(&entry.path())? } else { kind.len() };
    }
    Ok(sum)
}
