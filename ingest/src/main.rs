//! `forebay-ingest`: the write side as a process of its own.

use std::process::ExitCode;

use clap::Parser;

use chassis::config::Flags;
use chassis::lifecycle::Lifecycle;
use chassis::{admin, listener, telemetry};
use ingest::{Config, DEFAULTS, Service};

mod assemble;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes events over HTTP and writes them to Kafka.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("forebay-ingest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(config) = arguments.flags.load::<Config>(DEFAULTS, &[])? else { return Ok(ExitCode::SUCCESS) };
    let _telemetry = telemetry::init(&config.telemetry)?;
    let lifecycle = Lifecycle::new();
    lifecycle.set_drain_lead(config.drain.lead);
    let bound = listener::bind(&listener::Options::new("public", config.http.addr, "--set http.addr=…")).await?;
    let admin = admin::serve(config.admin.addr, "--set admin.addr=…", &lifecycle).await?;
    let service = Service::build(assemble::needs(&config, &lifecycle).await?)?;
    tracing::info!(http = %bound.local_addr(), %admin, kafka = config.kafka.bootstrap, "forebay-ingest starts");
    bound.serve(service.whole_router(), &lifecycle);
    lifecycle.spawn("ingest warm-up", async move { service.warm_up().await });
    let ended = lifecycle.run_until_signal(config.drain.window).await;
    tracing::info!(%ended, "forebay-ingest ended");
    Ok(ended.exit_code())
}
