//! Reads all records of given partitions from given offsets, outside any consumer group: one librdkafka client and one OS thread.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::kafka::Settings;
use crate::lifecycle::Lifecycle;

use reader::Reader;

mod client;
mod positions;
mod reader;

/// Where to begin in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record there is.
    Beginning,
    /// The stable end as of now: only what is committed later.
    End,
    /// This offset.
    Offset(i64),
    /// The first record at or after this time, ms since the Unix epoch; the end if there is none.
    At(i64),
}

/// A partition to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name of the topic, prefix included.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where to begin.
    pub start: Start,
}

/// One committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailRecord {
    /// Name of the topic, prefix included.
    pub topic: std::sync::Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, ms since the Unix epoch.
    pub timestamp_ms: i64,
    /// The key; empty if there is none.
    pub key: Bytes,
    /// The value; None is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<(String, Bytes)>,
}

/// What a [`Tail`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailEvent {
    /// A record; per partition in the order of the log.
    Record(TailRecord),
    /// Everything below `offset` has been handed over; there may be no record just below it, since control and aborted records are skipped.
    Position {
        /// Name of the topic.
        topic: std::sync::Arc<str>,
        /// The partition.
        partition: i32,
        /// The next offset to read.
        offset: i64,
        /// When this was the stable end, ms since the Unix epoch.
        at_ms: i64,
    },
    /// The next record to read does not exist (any more). Reading goes on at `resumes`.
    Lost {
        /// Name of the topic.
        topic: std::sync::Arc<str>,
        /// The partition.
        partition: i32,
        /// The next offset that will be read.
        resumes: i64,
        /// Why, for logs.
        reason: String,
    },
}

/// Sizes and times of a [`Tail`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The reader's name in tasks, metrics and logs.
    pub name: &'static str,
    /// Events between the reader's thread and the receiver.
    pub queue: usize,
    /// Bytes librdkafka fetches ahead.
    pub ahead_bytes: usize,
    /// How often positions are proved without records.
    pub statistics: Duration,
    /// Stable end ahead of the position without progress for this long: the client is rebuilt.
    pub standstill: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "tail",
            queue: 4096,
            ahead_bytes: 16 * 1024 * 1024,
            statistics: Duration::from_millis(500),
            standstill: Duration::from_secs(30),
        }
    }
}

/// Why a [`Tail`] cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting librdkafka refuses.
    #[error("the kafka reader cannot start: {0}; check the kafka settings")]
    Client(#[from] rdkafka::error::KafkaError),
    /// No thread left.
    #[error(transparent)]
    Thread(#[from] crate::lifecycle::Error),
}

/// A running reader; it ends when this handle or the receiver is dropped, or when the lifecycle stops it.
#[derive(Debug)]
#[must_use = "the reader ends when the handle is dropped"]
pub struct Tail {
    sources: std::sync::mpsc::Sender<Vec<Source>>,
}

impl Tail {
    /// Starts reading `sources`. Broker trouble is not an error here: the reader waits for the broker, also for finding out where to begin.
    /// A full channel makes the reader wait, which in turn stops fetching.
    ///
    /// Must be called inside a tokio runtime. The handle of `lifecycle` decides when it stops: what connections lean on belongs to the core.
    ///
    /// # Errors
    /// Wrong settings, or no thread left.
    pub fn start(
        settings: &Settings,
        options: &Options,
        sources: Vec<Source>,
        lifecycle: &Lifecycle,
    ) -> Result<(Self, mpsc::Receiver<TailEvent>), Error> {
        let (out, events) = mpsc::channel(options.queue);
        let (more, added) = std::sync::mpsc::channel();
        let mut reader = Reader::new(settings, options, out)?;
        // a send to a channel whose receiver is here cannot fail
        let _ = more.send(sources);
        lifecycle.thread(options.name, move |stop| reader.run(&added, &stop))?;
        Ok((Self { sources: more }, events))
    }

    /// Reads these partitions too; those already read are left as they are.
    pub fn add(&self, sources: Vec<Source>) {
        // an ended reader has told its receiver already
        let _ = self.sources.send(sources);
    }
}
