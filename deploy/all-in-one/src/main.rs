//! `forebay`: everything in one process, and the operator's commands.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

mod arguments;
mod audit;
mod banner;
mod config;
mod dead_letters;
mod doctor;
mod engines;
mod feed;
mod rooms;
mod topics;
mod up;

use arguments::{Arguments, Command};
use config::{Config, DEFAULTS};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let config = Config::load(file, &flags)?;
    let _telemetry = chassis::telemetry::init(&config.telemetry)?;
    match arguments.command.clone().unwrap_or(Command::Up) {
        Command::Up => up::run(&config).await,
        Command::Audit(arguments) => Ok(audit::run(&config, &arguments).await),
        Command::DeadLetters(arguments) => dead_letters::run(&config, &arguments).await,
        Command::Doctor(arguments) => doctor::run(&config, arguments).await,
        Command::Topics { action, replication } => topics::run(&config, action, replication).await,
    }
}
