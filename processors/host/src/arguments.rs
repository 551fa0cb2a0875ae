//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Runs processors by name over their streams, exactly once, on Kafka and a CQL store.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example: forebay-processor flights --kafka 127.0.0.1:9092 --cql 127.0.0.1:9042")]
pub(crate) struct Arguments {
    /// Processors to run; none = all.
    pub(crate) names: Vec<String>,
    /// A TOML file over the compiled-in defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Kafka, host:port.
    #[arg(long)]
    pub(crate) kafka: Option<String>,
    /// Base address of the schema registry.
    #[arg(long)]
    pub(crate) registry: Option<String>,
    /// CQL nodes, host:port, separated by commas.
    #[arg(long)]
    pub(crate) cql: Option<String>,
    /// Stable name of this process's place.
    #[arg(long)]
    pub(crate) slot: Option<String>,
    /// Workers per processor.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Pass over frames that retention removed from a log before the store had them.
    #[arg(long)]
    pub(crate) accept_log_gap: bool,
    /// Pass over events that were deleted before they were processed.
    #[arg(long)]
    pub(crate) accept_input_gap: bool,
    /// Address of health and metrics.
    #[arg(long)]
    pub(crate) admin: Option<String>,
    /// Any other setting, e.g. --set worker.batch_ms=20
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Print the configuration in force and exit.
    #[arg(long)]
    pub(crate) dump_config: bool,
}

impl Arguments {
    /// Flags as dotted keys, which win over file and environment.
    #[must_use]
    pub(crate) fn flags(&self) -> Vec<(String, String)> {
        let named = [
            ("kafka.bootstrap", &self.kafka),
            ("registry.url", &self.registry),
            ("store.cql.nodes", &self.cql),
            ("worker.slot", &self.slot),
            ("admin.addr", &self.admin),
        ];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let workers = self.workers.map(|workers| ("worker.workers".to_owned(), workers.to_string()));
        let accepted = [("worker.accept_log_gap", self.accept_log_gap), ("worker.accept_input_gap", self.accept_input_gap)];
        let accepted = accepted.into_iter().filter(|(_, accepted)| *accepted).map(|(key, _)| (key.to_owned(), "true".to_owned()));
        let free =
            self.settings.iter().filter_map(|text| text.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned()));
        named.chain(workers).chain(accepted).chain(free).collect()
    }
}
