//! `forebay-notifier`: the read side as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use axum::middleware::from_fn;
use clap::Parser;

use chassis::lifecycle::Lifecycle;
use chassis::{admin, config, listener, problem, request_id, telemetry};
use notifier::config::{Config, DEFAULTS};
use notifier::{Parts, Service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "forebay-notifier", version, about = "Forebay's read side: live results, views, event status, console")]
struct Flags {
    /// TOML file that overrides the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
    /// One setting, e.g. --set http.addr=127.0.0.1:9000; may be repeated.
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Print the settings in force and exit.
    #[arg(long)]
    dump_config: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    if flags.dump_config {
        print!("{}", config::dump(DEFAULTS, flags.config.as_deref(), &flags.settings)?);
        return Ok(ExitCode::SUCCESS);
    }
    let config: Config = config::load(DEFAULTS, flags.config.as_deref(), &flags.settings)?;
    let _telemetry = telemetry::init(&config.telemetry)?;
    let lifecycle = Lifecycle::new();
    let bound = listener::bind(&listener::Options::new("public", config.http.addr, "--set http.addr=…")).await?;
    let admin = admin::serve(config.admin.addr, "--set admin.addr=…", &lifecycle).await?;
    let parts = Parts::alone(&config, bound.local_addr(), &lifecycle).await?;
    tracing::info!(http = %bound.local_addr(), %admin, kafka = config.kafka.bootstrap, "forebay-notifier starts");
    let service = Service::build(config.options, parts)?;
    bound.serve(service.router().merge(problem::router()).layer(from_fn(request_id::layer)), &lifecycle);
    let ended = lifecycle.run_until_signal(config.drain.budget).await;
    tracing::info!(%ended, "forebay-notifier ended");
    Ok(ended.exit_code())
}
