//! `forebay-processor`: runs processors over their streams, exactly once.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use chassis::lifecycle::Lifecycle;
use clap::Parser;

mod arguments;
mod assemble;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is still running when the process stops gets this long.
const STOP_BUDGET: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match run(&arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("forebay-processor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &arguments::Arguments) -> Result<ExitCode> {
    let Some(config) = arguments.settings()? else { return Ok(ExitCode::SUCCESS) };
    let _telemetry = chassis::telemetry::init(&config.telemetry)?;
    let logics = host::named(&arguments.names).map_err(anyhow::Error::msg)?;
    let lifecycle = Lifecycle::new();
    let admin = chassis::admin::serve(config.admin.addr, "--admin", &lifecycle).await.context("admin endpoint")?;
    // processors say that they are ready one by one: the first may do so before the last is there
    lifecycle.set_ready("start", false, "processors are being started");
    assemble::start(&config, logics, &lifecycle).await?;
    lifecycle.set_ready("start", true, "all processors are started");
    tracing::info!(%admin, names = ?arguments.names, "forebay-processor runs");
    let ended = lifecycle.run_until_signal(STOP_BUDGET).await;
    tracing::info!(%ended, "forebay-processor ends");
    Ok(ended.exit_code())
}
