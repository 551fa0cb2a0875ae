//! `forebay-ingest`: the write side as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use chassis::lifecycle::Lifecycle;
use chassis::{admin, config, listener, telemetry};
use ingest::{Config, DEFAULTS, Needs, Service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes events over HTTP and writes them to Kafka.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A TOML file with settings that differ from the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Sets one key, for example --set http.addr=127.0.0.1:8081; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    flags: Vec<(String, String)>,
    /// Prints the settings in force and ends.
    #[arg(long)]
    dump_config: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "write it as key=value".into())
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { config: file, flags, dump_config } = Arguments::parse();
    if dump_config {
        print!("{}", config::dump(DEFAULTS, file.as_deref(), &flags)?);
        return Ok(ExitCode::SUCCESS);
    }
    let config: Config = config::load(DEFAULTS, file.as_deref(), &flags)?;
    let _telemetry = telemetry::init(&config.telemetry)?;
    let lifecycle = Lifecycle::new();
    lifecycle.set_drain_lead(config.drain.lead);
    let bound = listener::bind(&listener::Options::new("public", config.http.addr, "--set http.addr=…")).await?;
    let admin = admin::serve(config.admin.addr, "--set admin.addr=…", &lifecycle).await?;
    let service = Service::build(Needs::alone(&config, &lifecycle).await?)?;
    tracing::info!(http = %bound.local_addr(), %admin, kafka = config.kafka.bootstrap, "forebay-ingest starts");
    bound.serve(service.whole_router(), &lifecycle);
    lifecycle.spawn("ingest warm-up", async move { service.warm_up().await });
    let ended = lifecycle.run_until_signal(config.drain.window).await;
    tracing::info!(%ended, "forebay-ingest ended");
    Ok(ended.exit_code())
}
