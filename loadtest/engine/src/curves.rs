//! How the figures move with shards, keys, size of the state, and load.

use anyhow::Result;
use clap::Args;
use loadtest::machine::Shape as Machine;

use crate::children;
use crate::engines::Engines;
use crate::figures::Figures;

/// Draws the curves as tables.
#[derive(Args, Clone, Debug)]
pub(crate) struct Curves {
    #[command(flatten)]
    engines: Engines,
    /// Events of a point.
    #[arg(long, default_value_t = 300_000)]
    events: u64,
    /// Largest number of keys; one more than a million takes minutes.
    #[arg(long, default_value_t = 1_000_000)]
    keys_max: u64,
    /// Only curves whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// Latency is measured over this long, s.
const LATENCY_SECONDS: u64 = 8;
/// Events that were written while the engine started are gone after this, s.
const SETTLE_SECONDS: u64 = 6;
/// Loads whose latency is measured, events/s; the first that is not carried ends the row.
const LOADS: [u64; 9] = [10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 70_000, 80_000, 90_000];
/// A load is carried while p99 is below so many commit intervals; beyond, a queue grows.
const QUEUE: f64 = 5.0;

impl Curves {
    /// Runs every point.
    pub(crate) fn run(&self) -> Result<()> {
        println!("{}", Machine::now());
        self.curve("shards", "shards", &[1, 4, 16, 64], |shards| format!("--events {} --shards {shards}", self.events))?;
        let keys: Vec<u64> = [10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|keys| *keys <= self.keys_max).collect();
        self.curve("keys", "keys", &keys, |keys| {
            // every key about once, so that the state is as large as it says
            format!("--keys {keys} --events {}", keys.max(self.events))
        })?;
        self.curve("rows", "bytes of state per key", &[100, 1_000, 10_000, 100_000], |bytes| {
            format!("--row-bytes {bytes} --keys 1000 --events {}", (self.events * 100 / bytes).clamp(5_000, self.events))
        })?;
        self.curve("workers", "workers", &[1, 2], |workers| format!("--workers {workers} --events {}", self.events))?;
        self.curve("interval", "ms between commits", &[20, 50, 100, 250], |ms| {
            format!("--commit-ms {ms} --events {}", self.events)
        })?;
        self.latency()
    }

    fn curve(&self, name: &str, axis: &str, points: &[u64], arguments: impl Fn(u64) -> String) -> Result<()> {
        if !name.contains(&self.only) {
            return Ok(());
        }
        println!(
            "\n| {axis} | records | records/s | CPU µs/record | RSS MiB | peak | commits | exact |\n|---|---|---|---|---|---|---|---|"
        );
        for point in points {
            let run = self.one(&arguments(*point))?;
            let exact = if run.exact { "yes" } else { "NO" };
            println!(
                "| {point} | {} | {:.0} | {:.1} | {} | {} | {} | {exact} |",
                run.records, run.rate_warm, run.cpu_us, run.rss_mib, run.peak_mib, run.commits
            );
        }
        Ok(())
    }

    /// From append to visible result under rising load, and at half of the greatest that was carried.
    fn latency(&self) -> Result<()> {
        if !"latency".contains(&self.only) {
            return Ok(());
        }
        println!(
            "\n| ms between commits | events/s | append to visible result p50 ms | p99 | in intervals |\n|---|---|---|---|---|"
        );
        for interval in [50, 100] {
            let mut carried = 0;
            for load in LOADS {
                let run = self.under(interval, load)?;
                if run.latency_p99_ms > f64::from(interval) * QUEUE {
                    break;
                }
                carried = load;
            }
            println!("| {interval} | half of {carried}: | | | |");
            self.under(interval, carried / 2)?;
        }
        Ok(())
    }

    fn under(&self, interval: u32, load: u64) -> Result<Figures> {
        let events = load * (SETTLE_SECONDS + LATENCY_SECONDS);
        let run = self.one(&format!("--commit-ms {interval} --rate {load} --settle {SETTLE_SECONDS} --events {events}"))?;
        let intervals = run.latency_p99_ms / f64::from(interval);
        println!("| {interval} | {load} | {:.0} | {:.0} | {intervals:.2} |", run.latency_p50_ms, run.latency_p99_ms);
        Ok(run)
    }

    fn one(&self, arguments: &str) -> Result<Figures> {
        let mut all = vec!["aggregate".to_owned()];
        all.extend(self.engines.arguments());
        all.extend(arguments.split(' ').map(str::to_owned));
        children::figures(children::command(all)?)
    }
}
