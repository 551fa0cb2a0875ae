//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Events in over HTTP or Kafka, processed exactly once, results out over WebSocket and SSE: all of it in one process.
#[derive(Debug, Parser)]
#[command(version, after_help = "Try: cargo run --release   then open http://127.0.0.1:8080/")]
pub(crate) struct Arguments {
    /// What to do; `up` when left out.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Settings of every command.
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What `forebay` can do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts engines, edge, processors, notifier and the console (default).
    Up,
    /// Checks that nothing was lost, doubled or changed: events, log, results, dead letters and store.
    Audit(crate::audit::Arguments),
    /// Lists, shows and re-drives events that could not be processed.
    DeadLetters(crate::dead_letters::Arguments),
    /// Mends by hand what nothing mends by itself.
    Doctor(crate::doctor::Arguments),
    /// Makes or checks the topics of the catalog on a cluster.
    Topics {
        /// create: make what is missing, check the rest. check: only look.
        #[arg(value_enum)]
        action: TopicsAction,
        /// Replicas of new topics.
        #[arg(long, default_value_t = 1)]
        replication: i16,
    },
}

/// What to do with topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TopicsAction {
    /// Make what is missing, check the rest.
    Create,
    /// Only look.
    Check,
}

/// Settings as flags.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// A TOML file over the compiled-in defaults.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Public address, host:port.
    #[arg(long, global = true)]
    pub(crate) http: Option<String>,
    /// Address of health and metrics.
    #[arg(long, global = true)]
    pub(crate) admin: Option<String>,
    /// A Kafka that is already there, host:port.
    #[arg(long, global = true)]
    pub(crate) kafka: Option<String>,
    /// Base address of a schema registry that is already there.
    #[arg(long, global = true)]
    pub(crate) registry: Option<String>,
    /// A CQL node that is already there, host:port.
    #[arg(long = "cql-address", visible_alias = "cql", value_name = "CQL", global = true)]
    pub(crate) cql: Option<String>,
    /// Ports of the engines started here.
    #[command(flatten)]
    pub(crate) ports: EnginePorts,
    /// Folder of state, schema cache and key files.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<String>,
    /// Sample events posted a second; 0 = none.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) sample: Option<String>,
    /// Any other setting, e.g. --set worker.batch_ms=20
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    pub(crate) settings: Vec<String>,
    /// Print the configuration in force and exit.
    #[arg(long, global = true)]
    pub(crate) dump_config: bool,
}

/// Ports of engines, by the names that `local-engines` has for them too: its errors name them.
#[derive(Debug, Args)]
pub(crate) struct EnginePorts {
    /// Port of the Kafka started here.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) kafka_port: Option<String>,
    /// Port of its controller.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) controller_port: Option<String>,
    /// Port of the registry started here.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) registry_port: Option<String>,
    /// Port of the CQL node started here.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) cql_port: Option<String>,
    /// Its port for other nodes.
    #[arg(long, value_name = "N", global = true)]
    pub(crate) storage_port: Option<String>,
}

impl Settings {
    /// Flags as dotted keys, which win over file and environment.
    #[must_use]
    pub(crate) fn flags(&self) -> Vec<(String, String)> {
        let named = [
            ("http.addr", &self.http),
            ("admin.addr", &self.admin),
            ("engines.kafka", &self.kafka),
            ("engines.registry", &self.registry),
            ("engines.cql", &self.cql),
            ("engines.kafka_port", &self.ports.kafka_port),
            ("engines.controller_port", &self.ports.controller_port),
            ("engines.registry_port", &self.ports.registry_port),
            ("engines.cql_port", &self.ports.cql_port),
            ("engines.storage_port", &self.ports.storage_port),
            ("data_dir", &self.data),
            ("sample.events_per_second", &self.sample),
        ];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let free =
            self.settings.iter().filter_map(|text| text.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
        named.chain(free).collect()
    }
}
