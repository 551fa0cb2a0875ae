//! `engine-bench`: the engine's speed beside its peers, on one machine in one run.

use std::process::ExitCode;

use clap::Parser;

mod aggregate;
mod arguments;
mod children;
mod compare;
mod curves;
mod engines;
mod feed;
mod figures;
mod model;
mod peer;
mod plain;
mod raw;
mod reader;
mod recovery;
mod size;
mod steps;
mod stream;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match arguments::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
