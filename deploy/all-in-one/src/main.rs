//! `forebay`: everything in one process, and the operator's commands.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use chassis::lifecycle::Lifecycle;
use chassis::{admin, listener};
use clap::Parser;

mod arguments;
mod banner;
mod config;
mod engines;
mod feed;
mod rooms;
mod topics;

use arguments::{Arguments, Command};
use config::{Config, DEFAULTS};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is still running when the process stops gets this long.
const STOP_BUDGET: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("forebay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (file, flags) = (arguments.settings.config.as_deref(), arguments.settings.flags());
    if arguments.settings.dump_config {
        print!("{}", chassis::config::dump(DEFAULTS, file, &flags)?);
        return Ok(ExitCode::SUCCESS);
    }
    let config: Config = chassis::config::load(DEFAULTS, file, &flags)?;
    let _telemetry = chassis::telemetry::init(&config.telemetry)?;
    match arguments.command.clone().unwrap_or(Command::Up) {
        Command::Up => up(&config).await,
        Command::Topics { action, replication } => topics::run(&config, action, replication).await,
    }
}

/// Engines, rooms, listener, sample; then until Ctrl-C.
async fn up(config: &Config) -> Result<ExitCode> {
    let lifecycle = Lifecycle::new();
    let public = listener::bind(&listener::Options::new("public", config.public.address, "--public")).await?;
    let admin = admin::serve(config.admin.address, "--admin", &lifecycle).await?;
    eprintln!("forebay: starting the engines");
    let engines = engines::start(config).await?;
    eprintln!("forebay: starting the rooms");
    let rooms = rooms::Rooms::build(config, &engines, &lifecycle).await?;
    let address = public.local_addr();
    public.serve(rooms.router.clone(), &lifecycle);
    rooms.warm_up().await?;
    banner::print(address, admin, config.sample.events_per_second);
    feed::start(address, config.sample.events_per_second, &lifecycle);
    let ended = lifecycle.run_until_signal(STOP_BUDGET).await;
    eprintln!("forebay: {ended}; stopping the engines");
    engines.stop().await;
    Ok(ended.exit_code())
}
