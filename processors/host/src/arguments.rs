//! The command line.

use clap::Parser;

use chassis::config::{Error, Flags};

use host::config::{Config, DEFAULTS};

/// Runs processors by name over their streams, exactly once, on Kafka and a CQL store.
#[derive(Debug, Parser)]
#[command(version, after_help = "Example: forebay-processor flights --kafka 127.0.0.1:9092 --cql 127.0.0.1:9042")]
pub(crate) struct Arguments {
    /// Processors to run; none = all.
    pub(crate) names: Vec<String>,
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
    #[command(flatten)]
    flags: Flags,
}

impl Arguments {
    /// The settings in force; `None` when they were only to be printed.
    pub(crate) fn settings(&self) -> Result<Option<Config>, Error> {
        let yes = |flag: bool| flag.then(|| "true".to_owned());
        let named = [
            ("kafka.bootstrap", self.kafka.clone()),
            ("registry.url", self.registry.clone()),
            ("store.cql.nodes", self.cql.clone()),
            ("worker.slot", self.slot.clone()),
            ("admin.addr", self.admin.clone()),
            ("worker.workers", self.workers.map(|workers| workers.to_string())),
            ("worker.accept_log_gap", yes(self.accept_log_gap)),
            ("worker.accept_input_gap", yes(self.accept_input_gap)),
        ];
        self.flags.load(DEFAULTS, &named)
    }
}
