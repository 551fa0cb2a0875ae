//! `forebay audit`: checks what was promised, and says how to run when it cannot.
//!
//! Exit status: 0 nothing is wrong, 1 something is, 2 the audit could not run.

mod progress;
mod text;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use chassis::kafka::Settings;
use clap::Args;
use runtime::audit::{Options, Parts, Report};
use schemas::catalog::Catalog;
use state::StateStore;
use state::config::Kind;

use crate::config::Config;
use crate::{engines, rooms};

const EXAMPLES: &str = "Examples:
  forebay audit                                 everything stopped, embedded store: all streams
  forebay audit --live --log-only               beside a running `forebay up`: the topics alone
  forebay audit --live --cql db1:9042 --set store.kind=cql --kafka kafka1:9092 --stream orders
  forebay audit --stream orders --sample 16     one of 16 parts of subjects and events; another part each time
  forebay audit --json | jq '.[].findings[]'

Exit status: 0 nothing is wrong, 1 there are findings, 2 the audit could not run.
What each check means, and what to do about a finding: docs/operating.md";

/// What to audit, and how.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only this stream; all of the catalog when left out.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// The deployment runs: what it writes meanwhile is passed over. Default with the CQL store.
    #[arg(long, conflicts_with = "stopped")]
    live: bool,
    /// Everything is stopped: store and log must be equal. Default with the embedded store.
    #[arg(long)]
    stopped: bool,
    /// Audit the topics alone, without the store.
    #[arg(long)]
    log_only: bool,
    /// Look at one of N parts of subjects and event keys, another one each time.
    #[arg(id = "sample", long = "sample", value_name = "N")]
    sample: Option<String>,
    /// Keys held in memory at once (about 150 bytes each); more of them mean more passes over the topics.
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    keys_max: u64,
    /// Findings listed of each check.
    #[arg(long, value_name = "N", default_value_t = 100)]
    findings_max: u64,
    /// Print the reports as JSON.
    #[arg(long)]
    json: bool,
}

/// Audits and prints.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> ExitCode {
    match audit(config, arguments).await {
        Ok(reports) if reports.iter().all(Report::is_clean) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("forebay audit could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn audit(config: &Config, arguments: &Arguments) -> Result<Vec<Report>> {
    let catalog = Catalog::embedded()?;
    let streams: Vec<String> = match &arguments.stream {
        Some(stream) => vec![stream.clone()],
        None => catalog.streams().iter().map(|stream| stream.name.clone()).collect(),
    };
    let sample = arguments.sample.as_deref().map_or(Ok(1), str::parse::<u32>).context("--sample wants a number of parts")?;
    ensure!(sample > 0, "--sample wants a number of parts, at least 1");
    let live = arguments.live || (!arguments.stopped && config.store.kind == Kind::Cql);
    check_store(config, arguments.log_only, live)?;
    let wants_cql = !arguments.log_only && config.store.kind == Kind::Cql;
    let engines = engines::some(config, local_engines::Want { kafka: true, registry: false, cql: wants_cql }).await?;
    let store = if arguments.log_only { None } else { Some(open_store(config, &engines).await?) };
    let mut reports = Vec::new();
    for stream in streams {
        let kafka = Settings::new(&engines.kafka, "forebay-audit");
        let mut options = Options::new(kafka, &config.kafka.topic_prefix, &stream);
        options.live = live;
        options.dedupe_window = std::time::Duration::from_secs(config.worker.dedupe_window_s);
        options.keys_max = arguments.keys_max;
        options.findings_max = arguments.findings_max;
        (options.sample, options.stripe) = (sample, stripe());
        let bar = progress::Bar::new(&stream);
        let parts = Parts { catalog: catalog.clone(), store: store.clone() };
        let report = runtime::audit::run(options, parts, move |progress| bar.show(progress)).await;
        let report = report.with_context(|| format!("stream {stream}"))?;
        if !arguments.json {
            print!("{}", text::of(&report));
        }
        reports.push(report);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    }
    engines.stop().await;
    Ok(reports)
}

/// A part that differs from run to run.
fn stripe() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_micros() ^ since.as_secs() as u32)
}

/// Refuses what cannot be compared.
fn check_store(config: &Config, log_only: bool, live: bool) -> Result<()> {
    match config.store.kind {
        _ if log_only => {}
        Kind::Embedded if live => bail!(
            "the embedded store belongs to the process that runs. Stop it and audit with --stopped, or audit the topics \
             alone while it runs: --live --log-only"
        ),
        Kind::Embedded => {
            let folder = config.data_dir.join("state");
            ensure!(
                folder.is_dir(),
                "there is no embedded store in {}: name the data folder with --data, or audit the topics alone: --log-only",
                folder.display()
            );
        }
        Kind::Memory | Kind::None => bail!("this kind of store is gone with its process: audit the topics alone: --log-only"),
        Kind::Cql => {}
    }
    Ok(())
}

async fn open_store(config: &Config, engines: &local_engines::Engines) -> Result<Arc<dyn StateStore>> {
    let mut config = config.clone();
    config.store.cql.create_schema = false; // an audit changes nothing
    let opened = rooms::open_store(&config, engines).await;
    opened.context("the store; while another process has it, audit the topics alone: --live --log-only")
}
