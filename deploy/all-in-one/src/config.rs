//! Settings of `forebay`; units and defaults stand in `default.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use local_engines::options::{default_folder, target_folder};

/// The commented defaults.
pub(crate) const DEFAULTS: &str = include_str!("../default.toml");

/// Everything `forebay` can be told.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    /// Producers, subscribers, console.
    pub(crate) http: Address,
    /// Health and metrics.
    pub(crate) admin: Address,
    /// Folder of state and key files.
    pub(crate) data_dir: PathBuf,
    /// Kafka, registry, CQL node.
    pub(crate) engines: Engines,
    /// Topic names.
    pub(crate) kafka: Kafka,
    /// Where state goes.
    pub(crate) store: Store,
    /// The workers.
    pub(crate) worker: Worker,
    /// Work outside.
    pub(crate) effects: host::config::Effects,
    /// The sample feed.
    pub(crate) sample: Sample,
    /// Logs and traces.
    pub(crate) telemetry: chassis::telemetry::Config,
}

impl Config {
    /// Reads the effective settings. Folders left empty lie in the cargo target folder, where `local-engines` looks too.
    ///
    /// # Errors
    /// As [`chassis::config::load`].
    pub(crate) fn load(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self, chassis::config::Error> {
        let mut config: Self = chassis::config::load(DEFAULTS, file, flags)?;
        if config.data_dir.as_os_str().is_empty() {
            config.data_dir = target_folder().join("forebay");
        }
        if config.engines.dir.as_os_str().is_empty() {
            config.engines.dir = default_folder();
        }
        Ok(config)
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Address {
    /// Address and port.
    pub(crate) addr: SocketAddr,
}

/// Kafka, registry, CQL node: addresses, or empty to start them here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Engines {
    /// Folder of jars and data of engines started here.
    pub(crate) dir: PathBuf,
    /// `host:port`.
    pub(crate) kafka: String,
    /// Base address.
    pub(crate) registry: String,
    /// `host:port`.
    pub(crate) cql: String,
    /// Port of a Kafka started here.
    pub(crate) kafka_port: u16,
    /// Port of its controller.
    pub(crate) controller_port: u16,
    /// Port of a registry started here.
    pub(crate) registry_port: u16,
    /// Port of a CQL node started here.
    pub(crate) cql_port: u16,
    /// Its port for other nodes.
    pub(crate) storage_port: u16,
}

/// Topic names.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Kafka {
    /// Put before every topic name.
    pub(crate) topic_prefix: String,
}

/// Where state goes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Store {
    /// `embedded`, `cql` or `memory`.
    pub(crate) kind: state::config::Kind,
    /// How to use a CQL cluster; its first nodes are `engines.cql`.
    #[serde(default)]
    pub(crate) cql: state::CqlOptions,
}

/// The workers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Worker {
    /// Workers per processor.
    pub(crate) workers: usize,
    /// Between two commits under load, ms.
    pub(crate) batch_ms: u64,
    /// Dedupe window, s.
    pub(crate) dedupe_window_s: u64,
}

/// The sample feed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Sample {
    /// 0 = none.
    pub(crate) events_per_second: u32,
}
