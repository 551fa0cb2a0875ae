//! Settings of `forebay-processor`; units and defaults stand in `default.toml`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use chassis::config::{Kafka, Listener, Registry};

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// Everything `forebay-processor` can be told.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The cluster.
    pub kafka: Kafka,
    /// The making of topics.
    pub topics: Topics,
    /// The schema registry.
    pub registry: Registry,
    /// Where state goes.
    pub store: state::Config,
    /// The worker.
    pub worker: Worker,
    /// Work outside.
    pub effects: Effects,
    /// Health and metrics.
    pub admin: Listener,
    /// Logs and traces.
    pub telemetry: chassis::telemetry::Config,
}

/// The making of topics.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Topics {
    /// Make missing topics at start.
    pub create: bool,
    /// Replicas of topics made here.
    pub replication: i16,
}

/// The worker.
#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    /// Stable name of the place; empty = host name.
    pub slot: String,
    /// Workers per processor, each with a thread and a share of the shards.
    pub workers: usize,
    /// Pass over frames that retention removed from a log before the store had them.
    pub accept_log_gap: bool,
    /// Pass over events that were deleted before they were processed.
    pub accept_input_gap: bool,
    /// Between two commits under load, ms.
    pub batch_ms: u64,
    /// Inputs of a transaction.
    pub batch_inputs: usize,
    /// Deadline of a recovery, s.
    pub recovery_deadline_s: u64,
    /// Dedupe window, s.
    pub dedupe_window_s: u64,
}

/// Work outside.
#[derive(Clone, Debug, Deserialize)]
pub struct Effects {
    /// A PEM file of authorities that are trusted beside the system's; empty = none.
    pub ca_file: PathBuf,
}

impl Effects {
    /// The file, where there is one.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        (!self.ca_file.as_os_str().is_empty()).then(|| self.ca_file.clone())
    }
}

impl Worker {
    /// The engine's options.
    #[must_use]
    pub fn options(&self, kafka: &Kafka) -> runtime::Options {
        let slot = if self.slot.is_empty() { host_name() } else { self.slot.clone() };
        let mut options = runtime::Options::new(kafka.settings(), &kafka.topic_prefix, &slot);
        options.workers = self.workers;
        options.accept_log_gap = self.accept_log_gap;
        options.accept_input_gap = self.accept_input_gap;
        options.batch_time = Duration::from_millis(self.batch_ms);
        options.recovery_deadline = Duration::from_secs(self.recovery_deadline_s);
        options.limits.batch_inputs = self.batch_inputs;
        options.limits.dedupe_window = Duration::from_secs(self.dedupe_window_s);
        options
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
