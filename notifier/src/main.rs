//! `forebay-notifier`: the read side as a process of its own.

use std::process::ExitCode;

use clap::Parser;

use chassis::config::Flags;
use chassis::lifecycle::Lifecycle;
use chassis::{admin, listener, problem, telemetry};
use notifier::Service;
use notifier::config::{Config, DEFAULTS};

mod assemble;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Forebay's read side: live results, views, event status, console.
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
            eprintln!("forebay-notifier: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(config) = arguments.flags.load::<Config>(DEFAULTS, &[])? else { return Ok(ExitCode::SUCCESS) };
    let _telemetry = telemetry::init(&config.telemetry)?;
    let lifecycle = Lifecycle::new();
    let bound = listener::bind(&listener::Options::new("public", config.http.addr, "--set http.addr=…")).await?;
    let admin = admin::serve(config.admin.addr, "--set admin.addr=…", &lifecycle).await?;
    let parts = assemble::parts(&config, bound.local_addr(), &lifecycle).await?;
    tracing::info!(http = %bound.local_addr(), %admin, kafka = config.kafka.bootstrap, "forebay-notifier starts");
    let service = Service::build(config.options(), parts)?;
    bound.serve(service.router().merge(problem::router()), &lifecycle);
    let ended = lifecycle.run_until_signal(config.drain.budget).await;
    tracing::info!(%ended, "forebay-notifier ended");
    Ok(ended.exit_code())
}
