//! The command `local-engines`: engines for people.

use std::process::ExitCode;

use clap::Parser;
use local_engines::{Options, Owner, control};

mod cli;
mod commands;

use cli::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The sentence alone: a backtrace helps nobody whose port is taken.
            eprintln!("local-engines: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut options = Options::new(if cli.tests { Owner::Tests } else { Owner::Quickstart });
    options.data = cli.data.unwrap_or(options.data);
    match cli.command {
        Command::Up(arguments) => commands::up(arguments, options).await,
        Command::Status => {
            let found = control::status(&options)?;
            found.iter().for_each(commands::print);
            if found.is_empty() {
                println!("nothing runs below {}", options.data.display());
            }
            Ok(())
        }
        Command::Stop => {
            let stopped = control::stop(&options).await?;
            stopped.iter().for_each(|status| println!("{} stopped", status.member.name()));
            if stopped.is_empty() {
                println!("nothing runs below {}", options.data.display());
            }
            Ok(())
        }
    }
}
