//! The reader's librdkafka client and what its callbacks leave behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use serde::Deserialize;

use super::Options;
use crate::kafka::{self, Settings};

/// The callbacks of one client. They run on the reader's thread, inside `poll`.
#[derive(Default)]
pub(super) struct Context {
    latest: Mutex<Option<Statistics>>,
    calls: AtomicU64,
}

/// The part of librdkafka's statistics the position rule needs.
#[derive(Debug, Deserialize)]
pub(super) struct Statistics {
    /// Wall time of their arrival, ms since the Unix epoch.
    #[serde(skip)]
    pub(super) at_ms: i64,
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Debug, Deserialize)]
struct Broker {
    nodeid: i32,
    /// Microseconds since the last answer; −1 before the first.
    rxidle: i64,
}

#[derive(Debug, Deserialize)]
struct Topic {
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    broker: i32,
    eof_offset: i64,
    ls_offset: i64,
}

/// What the statistics say about one partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct End {
    /// The client had fetched everything below this offset and reached the stable end there; below 0: never yet.
    pub(super) reached: i64,
    /// The last stable offset the broker told; below 0: none yet.
    pub(super) stable: i64,
    /// When the broker was last heard of, ms since the Unix epoch.
    pub(super) heard_ms: i64,
}

impl Statistics {
    fn parse(json: &[u8]) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut statistics: Self = serde_json::from_slice(json).ok()?;
        statistics.at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        Some(statistics)
    }

    /// None if the partition is not there or its broker was never heard of.
    pub(super) fn end(&self, topic: &str, partition: i32) -> Option<End> {
        let partition = self.topics.get(topic)?.partitions.get(&partition)?;
        let broker = self.brokers.values().find(|broker| broker.nodeid == partition.broker && broker.rxidle >= 0)?;
        let heard_ms = self.at_ms - broker.rxidle / 1000;
        Some(End { reached: partition.eof_offset, stable: partition.ls_offset, heard_ms })
    }
}

impl Context {
    /// The newest statistics that were not taken yet.
    pub(super) fn take_statistics(&self) -> Option<Statistics> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Number of callbacks so far. A poll that returns nothing proves an empty queue only if it ran no callback.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.called();
        kafka::log("tail", level, facility, text);
    }

    fn stats_raw(&self, json: &[u8]) {
        self.called();
        let statistics = Statistics::parse(json);
        if statistics.is_none() {
            tracing::error!("librdkafka's statistics cannot be read; positions of idle partitions stand still");
        }
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = statistics;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.called();
        tracing::debug!(%error, reason, "a kafka reader reports an error");
    }
}

impl ConsumerContext for Context {}

/// A client that reads nothing yet.
pub(super) fn create(settings: &Settings, options: &Options) -> Result<BaseConsumer<Context>, KafkaError> {
    let statistics = options.statistics.as_millis().to_string();
    let ahead = (options.ahead_bytes / 1024).clamp(1, 2_000_000).to_string();
    let mut config = settings.reader("read_committed", "false");
    config
        .set("statistics.interval.ms", statistics)
        .set("queued.max.messages.kbytes", ahead)
        .set("fetch.min.bytes", "1")
        // an idle fetch is answered at least this often, which is how the broker is heard of
        .set("fetch.wait.max.ms", "250")
        // there is no group to be thrown out of, however long the receiver takes
        .set("max.poll.interval.ms", "86400000");
    config.create_with_context(Context::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_partition_is_as_old_as_its_brokers_last_answer() {
        let json = br#"{"name":"x","brokers":{"a:1/0":{"nodeid":0,"rxidle":250000,"state":"UP"},"b":{"nodeid":-1,"rxidle":-1}},
            "topics":{"t":{"topic":"t","partitions":{"3":{"partition":3,"broker":0,"eof_offset":7,"ls_offset":9,"hi_offset":9},
            "-1":{"partition":-1,"broker":-1,"eof_offset":-1001,"ls_offset":-1001}}}}}"#;
        let statistics = Statistics::parse(json).unwrap();
        let end = statistics.end("t", 3).unwrap();
        assert_eq!((end.reached, end.stable, statistics.at_ms - end.heard_ms), (7, 9, 250));
        assert_eq!(statistics.end("t", -1), None);
        assert_eq!(statistics.end("u", 0), None);
    }
}
