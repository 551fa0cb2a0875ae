//! Settings. The commented defaults are in `default.toml`; every key of it is a field here.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use chassis::config::quantity::{bytes, duration};
use chassis::config::{Kafka, Listener};
use chassis::{auth, telemetry};

/// The compiled-in, commented defaults of `forebay-notifier`.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// Everything `forebay-notifier` can be told. A process that runs several rooms takes [`Options`] alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The public listener.
    pub http: Listener,
    /// The admin endpoint.
    pub admin: Listener,
    /// The broker.
    pub kafka: Kafka,
    /// The schema registry.
    pub registry: Registry,
    /// The store that views and lifecycles are read from.
    pub store: state::Config,
    /// Logs and traces.
    pub telemetry: telemetry::Config,
    /// Who may do what.
    pub access: auth::Config,
    /// Shutting down.
    pub drain: Drain,
    /// See [`Options::data_dir`].
    pub data_dir: PathBuf,
    /// See [`Options::hub`].
    pub hub: Hub,
    /// See [`Options::ring`].
    pub ring: Ring,
    /// See [`Options::socket`].
    pub socket: Socket,
    /// See [`Options::queue`].
    pub queue: Queue,
    /// See [`Options::connection`].
    pub connection: Connection,
    /// See [`Options::process`].
    pub process: Process,
    /// See [`Options::result`].
    pub result: ResultLimits,
    /// See [`Options::views`].
    pub views: Views,
}

impl Config {
    /// The part that the room itself needs.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            data_dir: self.data_dir.clone(),
            hub: self.hub,
            ring: self.ring,
            socket: self.socket,
            queue: self.queue,
            connection: self.connection,
            process: self.process,
            result: self.result,
            views: self.views,
        }
    }
}

/// What the room itself needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The key that tags receipts is kept in it.
    pub data_dir: PathBuf,
    /// Threads.
    pub hub: Hub,
    /// What stays in memory.
    pub ring: Ring,
    /// Bounds of a WebSocket.
    pub socket: Socket,
    /// Bounds of what waits for a connection.
    pub queue: Queue,
    /// Bounds of what a connection may ask.
    pub connection: Connection,
    /// Bounds of the process.
    pub process: Process,
    /// Bounds of a result.
    pub result: ResultLimits,
    /// Bounds of reads.
    pub views: Views,
}

impl Options {
    /// The documented defaults with the keys in `data_dir`.
    ///
    /// # Errors
    /// The process's environment overrides a setting with something unreadable.
    pub fn defaults(data_dir: PathBuf) -> Result<Self, chassis::config::Error> {
        let config: Config = chassis::config::load(DEFAULTS, None, &[])?;
        Ok(Self { data_dir, ..config.options() })
    }
}

/// How to reach the schema registry.
#[derive(Clone, Debug, Deserialize)]
pub struct Registry {
    /// Base address.
    pub url: String,
}

/// Shutting down.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Drain {
    /// Longest time.
    #[serde(deserialize_with = "duration")]
    pub budget: Duration,
}

/// Threads.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Hub {
    /// Lanes; 0 = one per core.
    pub lanes: usize,
}

/// What stays in memory.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ring {
    /// Wanted age of the oldest result.
    #[serde(deserialize_with = "duration")]
    pub age: Duration,
    /// Bytes of the process.
    #[serde(deserialize_with = "bytes")]
    pub bytes: usize,
    /// Bytes of one partition.
    #[serde(deserialize_with = "bytes")]
    pub partition_bytes: usize,
    /// Newest results of a partition that stay whatever their age.
    pub keep: usize,
}

/// Bounds of a WebSocket.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Socket {
    /// Until the first message.
    #[serde(deserialize_with = "duration")]
    pub hello_timeout: Duration,
    /// Bytes of an inbound message.
    #[serde(deserialize_with = "bytes")]
    pub message_max: usize,
    /// Without a byte accepted.
    #[serde(deserialize_with = "duration")]
    pub stall_timeout: Duration,
}

/// Bounds of what waits for a connection.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Queue {
    /// Bytes.
    #[serde(deserialize_with = "bytes")]
    pub bytes: usize,
    /// Pieces: chunks of results, or single messages.
    pub pieces: usize,
}

/// Bounds of what a connection may ask.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Connection {
    /// Open subscriptions.
    pub subscriptions: usize,
    /// Messages per second.
    pub messages: u32,
    /// Messages at once.
    pub burst: u32,
}

/// Bounds of the process.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Process {
    /// Open live connections.
    pub connections: usize,
}

/// Bounds of a result.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ResultLimits {
    /// Bytes of the JSON of its data.
    #[serde(deserialize_with = "bytes")]
    pub json_bytes_max: usize,
}

/// Bounds of reads.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Views {
    /// For rows that are final.
    #[serde(deserialize_with = "duration")]
    pub deadline: Duration,
    /// Of a lifecycle that is waited for.
    #[serde(deserialize_with = "duration")]
    pub wait_max: Duration,
    /// Requests that wait at the same time.
    pub waits: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_defaults_are_complete() {
        let config: Config = chassis::config::load(DEFAULTS, None, &[]).unwrap();
        assert_eq!(config.http.addr.port(), 8081);
        assert_eq!(config.options().queue.bytes, 256 * 1024);
    }

    #[test]
    fn a_section_that_no_setting_has_is_refused() {
        let flags = [("rings.age".to_owned(), "5s".to_owned())];
        let error = chassis::config::load::<Config>(DEFAULTS, None, &flags).unwrap_err().to_string();
        assert!(error.contains("unknown configuration key rings"), "{error}");
    }
}
