//! All of them in one run, and the ratios that count.

use anyhow::Result;
use clap::Args;
use loadtest::machine::Shape as Machine;

use crate::children;
use crate::engines::Engines;
use crate::figures::Figures;

/// A comparison.
#[derive(Args, Clone, Debug)]
pub(crate) struct Compare {
    #[command(flatten)]
    engines: Engines,
    /// Events of each run.
    #[arg(long, default_value_t = 500_000)]
    events: u64,
    /// Every run this often; the medians are shown, and the spread of CPU.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    repeat: u32,
    /// Only runs whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// The peer, the limit, and the run that ratios are about.
const STREAMS: &str = "Kafka Streams";
const STREAMS_SMALL: &str = "Kafka Streams, -Xmx256m";
const RAW: &str = "bare client";
const EMBEDDED: &str = "embedded, failures, compact";
const EMBEDDED_BARE: &str = "embedded, failures, bare";
const EMBEDDED_CLOUDEVENTS: &str = "embedded, failures, cloudevents";
const EMBEDDED_ALL: &str = "embedded, all, compact";
const CQL: &str = "cql, failures, compact";

/// Every run: its name and its arguments.
const RUNS: &[(&str, &str)] = &[
    (RAW, "raw"),
    (STREAMS, "streams"),
    (STREAMS_SMALL, "streams --java -Xmx256m"),
    (EMBEDDED, "aggregate"),
    (EMBEDDED_ALL, "aggregate --tracking all"),
    ("embedded, none, compact", "aggregate --tracking none"),
    (EMBEDDED_BARE, "aggregate --headers bare"),
    (EMBEDDED_CLOUDEVENTS, "aggregate --headers cloudevents"),
    ("memory, failures, compact", "aggregate --store memory"),
    (CQL, "aggregate --store cql"),
];

/// What is compared: words, a figure of a run over the same figure of another, and the goal.
type Ratio = (&'static str, &'static str, &'static str, fn(&Figures) -> f64, &'static str);

const RATIOS: &[Ratio] = &[
    ("CPU per record, embedded / Kafka Streams", EMBEDDED, STREAMS, |run| run.cpu_us, "at most 0.5, wanted 0.33"),
    ("the same once warm", EMBEDDED, STREAMS, |run| run.cpu_us_warm, "at most 0.5, wanted 0.33"),
    ("the same without any event headers", EMBEDDED_BARE, STREAMS, |run| run.cpu_us, "at most 0.5, wanted 0.33"),
    ("CPU per record, CQL / Kafka Streams", CQL, STREAMS, |run| run.cpu_us, "at most 1"),
    ("peak memory, embedded / Kafka Streams", EMBEDDED, STREAMS, |run| run.peak_mib as f64, "at most 0.25"),
    ("peak memory, embedded / Kafka Streams with -Xmx256m", EMBEDDED, STREAMS_SMALL, |run| run.peak_mib as f64, "none"),
    ("throughput, tracking failures / bare client", EMBEDDED, RAW, |run| run.rate_warm, "at least 0.5"),
    ("throughput, tracking all / bare client", EMBEDDED_ALL, RAW, |run| run.rate_warm, "at least 0.35"),
    ("CPU per record, CloudEvents / compact headers", EMBEDDED_CLOUDEVENTS, EMBEDDED, |run| run.cpu_us, "none"),
];

impl Compare {
    /// Runs everything and prints the tables.
    pub(crate) fn run(&self) -> Result<()> {
        let machine = Machine::now();
        let runs = RUNS.iter().filter(|(name, _)| name.contains(&self.only));
        let mut all: Vec<(&str, Vec<Figures>)> = runs.clone().map(|(name, _)| (*name, Vec::new())).collect();
        // round by round, so that a noisy minute does not hit one run alone
        for _ in 0..self.repeat {
            for ((name, arguments), (_, found)) in runs.clone().zip(&mut all) {
                found.push(self.one(name, arguments)?);
            }
        }
        println!("{machine}\n{} events a run, {} runs each, medians\n", self.events, self.repeat);
        print_runs(&all);
        print_ratios(&all);
        Ok(())
    }

    fn one(&self, name: &str, arguments: &str) -> Result<Figures> {
        let mut all: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        all.extend(self.engines.arguments());
        all.extend(["--events".to_owned(), self.events.to_string(), "--name".to_owned(), name.to_owned()]);
        children::figures(children::command(all)?)
    }
}

fn median(found: &[Figures], of: fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = found.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print_runs(all: &[(&str, Vec<Figures>)]) {
    println!(
        "| run | records/s | warm | CPU µs/record | spread | warm | without reader | RSS MiB | peak | commit p50 ms | p99 | exact |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (name, found) in all {
        let of = |of| median(found, of);
        let spread = found.iter().fold((f64::MAX, 0.0_f64), |(low, high), run| (low.min(run.cpu_us), high.max(run.cpu_us)));
        println!(
            "| {name} | {:.0} | {:.0} | {:.1} | {:.1}–{:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} | {} |",
            of(|run| run.rate),
            of(|run| run.rate_warm),
            of(|run| run.cpu_us),
            spread.0,
            spread.1,
            of(|run| run.cpu_us_warm),
            of(|run| run.cpu_us_alone),
            of(|run| run.rss_mib as f64),
            of(|run| run.peak_mib as f64),
            of(|run| run.commit_p50_ms),
            of(|run| run.commit_p99_ms),
            if found.iter().all(|run| run.exact) { "yes" } else { "NO" },
        );
    }
}

fn print_ratios(all: &[(&str, Vec<Figures>)]) {
    println!("\n| ratio | now | goal |\n|---|---|---|");
    let found = |name: &str| all.iter().find(|(other, _)| *other == name).map(|(_, found)| found.as_slice());
    for (words, over, under, of, goal) in RATIOS {
        if let (Some(over), Some(under)) = (found(over), found(under)) {
            println!("| {words} | {:.2} | {goal} |", median(over, *of) / median(under, *of));
        }
    }
}
