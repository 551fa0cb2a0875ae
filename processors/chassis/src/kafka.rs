//! Kafka clients of a process: one place for their settings, the acknowledged producer, the assign-only reader and topics.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use serde::Deserialize;

pub mod produce;
pub mod tail;
pub mod topics;

/// Largest record a transactional producer takes, bytes: a dead letter is an input with its headers.
pub const DEAD_LETTER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How to reach the cluster; the settings of every client follow from it.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// Addresses to begin with, `host:port`, separated by commas.
    pub bootstrap: String,
    /// Name in the broker's logs and quotas.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// Further settings of librdkafka for every client, e.g. `security.protocol`. They win over those set here.
    #[serde(default)]
    pub client: BTreeMap<String, String>,
}

fn default_client_id() -> String {
    "forebay".to_owned()
}

impl Settings {
    /// A cluster without further settings.
    pub fn new(bootstrap: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), client_id: client_id.into(), client: BTreeMap::new() }
    }

    /// What every client has in common.
    pub fn client_config(&self) -> ClientConfig {
        self.with(&[])
    }

    /// The transactional producer of a worker. A transaction the worker leaves open is aborted by the broker after 10 s (F16).
    ///
    /// Idle connections are closed after 4 to 6 s, because librdkafka waits for a state of some connection to change when positions
    /// are to go to a group coordinator that has left the cluster; nothing else would make it look for the new one (F18).
    pub fn transactional(&self, transactional_id: &str) -> ClientConfig {
        self.with(&[
            ("transactional.id", transactional_id),
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("transaction.timeout.ms", "10000"),
            ("connections.max.idle.ms", "6000"),
            ("linger.ms", "5"),
            ("compression.type", "lz4"),
            ("retry.backoff.ms", "10"),
            ("message.max.bytes", &DEAD_LETTER_BYTES_MAX.to_string()),
            ("batch.num.messages", "10000"),
            ("batch.size", "1000000"),
        ])
    }

    /// The consumer of a worker: classic protocol, eager assignment (F3, F17), static member `slot`, nothing committed by itself.
    pub fn group_consumer(&self, group: &str, slot: &str) -> ClientConfig {
        self.with(&[
            ("group.id", group),
            ("group.instance.id", slot),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "2000"),
            ("max.poll.interval.ms", "300000"),
            // gauges of lag come from here
            ("statistics.interval.ms", "5000"),
            ("fetch.wait.max.ms", "20"),
            ("fetch.queue.backoff.ms", "5"),
            // behind a backlog more would only be memory: a transaction takes a few MiB
            ("queued.max.messages.kbytes", "4096"),
            ("fetch.max.bytes", "1048576"),
            ("fetch.message.max.bytes", "131072"),
        ])
    }

    /// A reader of logs from explicit offsets that sees committed records only and tells the end of a partition.
    pub fn log_reader(&self) -> ClientConfig {
        self.reader("read_committed", "true")
    }

    /// The client that asks for ends of partitions as they are, uncommitted records included (F11).
    pub fn barrier(&self) -> ClientConfig {
        self.reader("read_uncommitted", "false")
    }

    fn reader(&self, isolation: &str, tell_end: &str) -> ClientConfig {
        self.with(&[
            // never joined and never committed to; librdkafka wants a name before it assigns anything
            ("group.id", "forebay.readers"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("isolation.level", isolation),
            ("enable.partition.eof", tell_end),
            ("fetch.wait.max.ms", "20"),
            ("fetch.queue.backoff.ms", "5"),
        ])
    }

    fn with(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.client_id)
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        for (key, value) in &self.client {
            config.set(key, value);
        }
        config
    }
}

/// librdkafka's log lines, as everybody else's.
pub(crate) fn log(client: &'static str, level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            tracing::error!(client, facility, "{text}");
        }
        RDKafkaLogLevel::Warning => tracing::warn!(client, facility, "{text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(client, facility, "{text}"),
        RDKafkaLogLevel::Debug => tracing::debug!(client, facility, "{text}"),
    }
}

/// First offset and end of a partition as `consumer` sees them, within `timeout`. The client asks the leader it knows, also when
/// that has left the cluster, and would do so until its metadata is old: after an error this looks who leads now, for as long again,
/// so that a second try can succeed.
///
/// # Errors
/// What the client says; a partition may be without leader for a moment.
pub fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<(i64, i64)> {
    consumer.fetch_watermarks(topic, partition, timeout).inspect_err(|_| {
        // what it learns is for the next question
        let _leaders = consumer.fetch_metadata(Some(topic), timeout);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_deployment_win() {
        let mut settings = Settings::new("127.0.0.1:9092", "test");
        settings.client.insert("session.timeout.ms".into(), "6000".into());
        let consumer = settings.group_consumer("g", "slot-1");
        assert_eq!(consumer.get("session.timeout.ms"), Some("6000"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert_eq!(settings.log_reader().get("isolation.level"), Some("read_committed"));
        assert_eq!(settings.barrier().get("isolation.level"), Some("read_uncommitted"));
    }
}
