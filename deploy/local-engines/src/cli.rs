//! The command line of `local-engines`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Kafka, a schema registry and Cassandra on this machine, without Docker.
///
/// They are downloaded through Maven at the first start and keep everything below one folder, which may be deleted while
/// nothing runs. Needs java 17 or newer and mvn.
#[derive(Parser)]
#[command(name = "local-engines", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Folder of the engines [default: engines in the cargo target folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// The engines of test runs instead of those of the quick start
    #[arg(long, global = true)]
    pub(crate) tests: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start the engines, or find them running, and keep them until Ctrl-C
    Up(Up),
    /// Show what runs, where, and who uses it
    Status,
    /// Stop the engines, whoever uses them
    Stop,
}

#[derive(Args)]
pub(crate) struct Up {
    /// Also start Cassandra (CQL)
    #[arg(long)]
    pub(crate) cql: bool,
    /// Return when the engines are ready; they run until `local-engines stop`
    #[arg(long)]
    pub(crate) detach: bool,
    /// Only Kafka, without the registry
    #[arg(long)]
    pub(crate) kafka_only: bool,
    /// Nodes of Kafka: 1, or 3 with three replicas of everything; nodes 2 and 3 use the ports two and four above
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_nodes)]
    pub(crate) kafka_nodes: u16,
    /// Seconds the engines outlive their last user
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) linger: u64,
    /// Kafka's port
    #[arg(long, value_name = "N")]
    pub(crate) kafka_port: Option<u16>,
    /// Port of Kafka's controller
    #[arg(long, value_name = "N")]
    pub(crate) controller_port: Option<u16>,
    /// The registry's port
    #[arg(long, value_name = "N")]
    pub(crate) registry_port: Option<u16>,
    /// Cassandra's port for CQL
    #[arg(long, value_name = "N")]
    pub(crate) cql_port: Option<u16>,
    /// Cassandra's port for other nodes
    #[arg(long, value_name = "N")]
    pub(crate) storage_port: Option<u16>,
    /// Use this Kafka instead of starting one (host:port)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) kafka: Option<String>,
    /// Use this registry instead of starting one (base URL)
    #[arg(long, value_name = "URL")]
    pub(crate) registry: Option<String>,
    /// Use this CQL node instead of starting one (host:port)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) cql_address: Option<String>,
}

fn parse_nodes(text: &str) -> Result<u16, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(local_engines::kind::KAFKA_NODES_MAX),
        _ => Err("1 or 3".to_owned()),
    }
}
