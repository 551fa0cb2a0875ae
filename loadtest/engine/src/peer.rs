//! The same work in Kafka Streams: builds and runs the Java program in `streams/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::feed;
use crate::figures::Figures;
use crate::model::STREAM;
use crate::plain::Plain;

/// Marks the line with the peer's figures.
const MARK: &str = "peer ";

/// A run of the peer.
#[derive(Args, Clone, Debug)]
pub(crate) struct Peer {
    #[command(flatten)]
    input: Plain,
    /// Stream threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Options of the Java machine, separated by spaces; none = its defaults.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    java: String,
    /// Settings of Kafka Streams, name=value.
    #[arg(long = "set")]
    settings: Vec<String>,
    /// Name of the run in tables.
    #[arg(long, default_value = "Kafka Streams")]
    name: String,
}

#[derive(Deserialize)]
struct Told {
    records: u64,
    rate: f64,
    rate_warm: f64,
    cpu_us: f64,
    cpu_us_warm: f64,
    cpu_us_alone: f64,
    rss_mib: u64,
    peak_mib: u64,
    sum: u64,
}

impl Peer {
    /// Runs it and prints its figures.
    pub(crate) fn run(&self) -> Result<()> {
        let built = build()?;
        let (tokio, deployment) = self.input.fed()?;
        let Plain { keys, events, .. } = self.input;
        let folder = std::env::temp_dir().join(deployment.prefix.trim_end_matches('.'));
        let output = Command::new("java")
            .args(self.java.split_whitespace())
            .arg("-cp")
            .arg(format!("{}/classes:{}/libraries/*", built.display(), built.display()))
            .arg("forebay.bench.StreamsPeer")
            .args([&self.input.engines.kafka, &deployment.topics.events(STREAM), &deployment.topics.results(STREAM)])
            .arg(events.to_string())
            .arg(&folder)
            .arg(format!("num.stream.threads={}", self.threads))
            .args(&self.settings)
            .output()
            .context("java")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let told = text.lines().find_map(|line| line.strip_prefix(MARK));
        let told = told.with_context(|| format!("the peer said {text:?} {:?}", String::from_utf8_lossy(&output.stderr)))?;
        let told: Told = serde_json::from_str(told)?;
        figures(&self.name, &told, feed::sum_of_counts(events, keys)).print();
        std::fs::remove_dir_all(&folder)?;
        tokio.block_on(deployment.delete())
    }
}

fn figures(name: &str, told: &Told, sum: u64) -> Figures {
    Figures {
        name: name.to_owned(),
        records: told.records,
        rate: told.rate,
        rate_warm: told.rate_warm,
        cpu_us: told.cpu_us,
        cpu_us_warm: told.cpu_us_warm,
        cpu_us_alone: told.cpu_us_alone,
        rss_mib: told.rss_mib,
        peak_mib: told.peak_mib,
        exact: told.sum == sum,
        ..Figures::default()
    }
}

/// Builds the program with Maven, which downloads Kafka Streams the first time; returns where it lies.
fn build() -> Result<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("streams");
    let exe = std::env::current_exe()?;
    let target = exe.parent().and_then(Path::parent).context("a target folder")?.join("streams-peer");
    let built = Command::new("mvn")
        .args(["-q", "-B", "-Dstyle.color=never", "--no-transfer-progress", "compile", "dependency:copy-dependencies"])
        .arg(format!("-Dpeer.target={}", target.display()))
        .arg("-f")
        .arg(project.join("pom.xml"))
        .stdout(std::process::Stdio::null())
        .status()
        .context("mvn; it is needed to build the peer")?;
    ensure!(built.success(), "mvn ended with {built}");
    Ok(target)
}
