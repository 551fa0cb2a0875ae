//! `forebay doctor`: what an operator mends by hand.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use chassis::kafka::Settings;
use chassis::lifecycle::Lifecycle;
use clap::{Args, Subcommand};
use runtime::{Options, Parts, Seek};
use schemas::catalog::Catalog;
use schemas::names::Topics;
use schemas::registry::Registry;

use crate::config::Config;
use crate::{engines, rooms};

const EXAMPLES: &str = "Examples:
  forebay doctor seek orders/3 orders.events=4711                 with the embedded store, everything stopped
  forebay doctor seek orders/3 orders.events=4711 --kafka kafka1:9092 --registry http://registry:8085 --cql db1:9042 --set store.kind=cql

Events below the new offset that were not processed never will be; `forebay audit` names each of them as lost.
When this is the right thing to do: docs/runbook.md";

/// What to mend.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Lets a shard go on at a later offset of its input. Every processor of the stream must be stopped.
    #[command(after_help = EXAMPLES)]
    Seek {
        /// The shard, as the log names it.
        #[arg(value_name = "STREAM/SHARD", value_parser = shard)]
        shard: (String, i32),
        /// Next offset of an input topic, named without the deployment's prefix.
        #[arg(value_name = "TOPIC=OFFSET", value_parser = position, required = true)]
        positions: Vec<(String, i64)>,
    },
}

fn shard(text: &str) -> Result<(String, i32), String> {
    let parts = text.rsplit_once('/').and_then(|(stream, number)| Some((stream.to_owned(), number.parse().ok()?)));
    parts.ok_or_else(|| "wanted: stream/number, such as orders/3".to_owned())
}

fn position(text: &str) -> Result<(String, i64), String> {
    let parts = text.split_once('=').and_then(|(topic, offset)| Some((topic.to_owned(), offset.parse().ok()?)));
    parts.filter(|(_, offset)| *offset >= 0).ok_or_else(|| "wanted: topic=offset, such as orders.events=4711".to_owned())
}

/// Mends, and says what was done.
pub(crate) async fn run(config: &Config, arguments: Arguments) -> Result<ExitCode> {
    let Command::Seek { shard: (stream, number), positions } = arguments.command;
    let logic = host::named(std::slice::from_ref(&stream)).map_err(anyhow::Error::msg)?.pop().context("no processor")?;
    let catalog = Catalog::embedded()?;
    let wants_cql = config.store.kind == state::config::Kind::Cql;
    let engines = engines::some(config, local_engines::Want { kafka: true, registry: true, cql: wants_cql }).await?;
    let registry = Arc::new(Registry::new(&engines.registry, Some(config.data_dir.join("schemas")))?);
    let ids = registry.resolve(&Topics::new(&config.kafka.topic_prefix), &catalog, false).await.context("schemas")?;
    let store = rooms::open_store(config, &engines).await.context("store")?;
    let options = Options::new(Settings::new(&engines.kafka, "forebay-doctor"), &config.kafka.topic_prefix, "doctor");
    let parts = Parts { logic, catalog, ids, registry, store };
    let lifecycle = Lifecycle::new();
    runtime::seek(options, parts, Seek { shard: number, positions: positions.clone() }, &lifecycle).await?;
    for (topic, offset) in positions {
        println!("{stream}/{number} goes on at offset {offset} of {topic}");
    }
    engines.stop().await;
    Ok(ExitCode::SUCCESS)
}
