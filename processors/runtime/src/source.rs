//! Records as operators' tools read them: committed, from explicit offsets up to a fixed end. Its calls block.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chassis::kafka;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::engine::headers::HeaderList;
use crate::worker::headers_of;

/// One answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two looks at a stable end.
const PAUSE: Duration = Duration::from_millis(20);
/// A reading without a record or an end for this long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// Twice the transaction time-out: whatever is open longer hangs.
pub(crate) const HANGING: Duration = Duration::from_secs(20);

/// A committed record of any topic of a stream.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, ms.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
    /// Its headers.
    pub headers: HeaderList,
}

impl Record {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The key as text; empty when there is none.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default()
    }
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A client cannot be made.
    #[error("the kafka client cannot start: {0}; check the kafka settings")]
    Client(KafkaError),
    /// The broker did not answer as it should.
    #[error("{what}: {error}")]
    Kafka {
        /// What was asked.
        what: String,
        /// The client's error.
        error: KafkaError,
    },
    /// A partition gives neither records nor its end.
    #[error("{topic}/{partition} gave nothing for {waited:?}; is its leader up?")]
    Stalled {
        /// Topic, prefix included.
        topic: String,
        /// Partition.
        partition: i32,
        /// How long.
        waited: Duration,
    },
}

/// What a partition holds: first offset, and the offset behind the last decided record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Where the partition really ended when that is more: a transaction hangs between.
    pub(crate) undecided: Option<i64>,
}

/// Errors come back from calls.
struct Context;

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "reader");
    }
}

impl ConsumerContext for Context {}

/// The clients of a reading.
pub(crate) struct Source {
    reader: BaseConsumer<Context>,
    barrier: BaseConsumer<Context>,
    /// Asks for the group's offsets; it never joins.
    group: BaseConsumer<Context>,
}

impl Source {
    pub(crate) fn new(kafka: &kafka::Settings, group: &str) -> Result<Self, Error> {
        let create = |config: rdkafka::ClientConfig| config.create_with_context(Context).map_err(Error::Client);
        let mut asking = kafka.barrier();
        asking.set("group.id", group);
        Ok(Self { reader: create(kafka.log_reader())?, barrier: create(kafka.barrier())?, group: create(asking)? })
    }

    /// What the group has committed for a partition. The markers of a transaction reach the group's offsets later than
    /// the topics, and a coordinator that moves may say "none" (F13): below `wanted` it is asked again for `patience`.
    pub(crate) fn committed(&self, topic: &str, partition: i32, wanted: i64, patience: Duration) -> Result<Option<i64>, Error> {
        let failed = |error: KafkaError| Error::Kafka { what: format!("the group's offset for {topic}/{partition}"), error };
        let begun = Instant::now();
        loop {
            let mut asked = TopicPartitionList::with_capacity(1);
            asked.add_partition(topic, partition);
            let answer = self.group.committed_offsets(asked, ANSWER).map_err(failed)?;
            let offset = answer.elements().first().and_then(|element| element.offset().to_raw()).filter(|offset| *offset >= 0);
            if offset.is_some_and(|offset| offset >= wanted) || begun.elapsed() > patience {
                return Ok(offset);
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Start and end of a partition now. Waits until everything below the end is decided, for `patience`.
    pub(crate) fn span(&self, topic: &str, partition: i32, patience: Duration) -> Result<Span, Error> {
        let ends = |consumer: &BaseConsumer<Context>| {
            let answer = kafka::watermarks(consumer, topic, partition, ANSWER);
            answer.map_err(|error| Error::Kafka { what: format!("the ends of {topic}/{partition}"), error })
        };
        let (start, end) = ends(&self.barrier)?;
        let begun = Instant::now();
        loop {
            let (_, stable) = ends(&self.reader)?;
            if stable >= end {
                return Ok(Span { start, end, undecided: None });
            }
            if begun.elapsed() > patience {
                return Ok(Span { start, end: stable, undecided: Some(end) });
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Offset of the first record of `time_ms` or later; `None` when there is none yet.
    pub(crate) fn offset_at(&self, topic: &str, partition: i32, time_ms: i64) -> Result<Option<i64>, Error> {
        let failed = |error: KafkaError| Error::Kafka { what: format!("an offset of {topic}/{partition}"), error };
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition_offset(topic, partition, Offset::Offset(time_ms)).map_err(failed)?;
        let answer = self.reader.offsets_for_times(asked, ANSWER).map_err(failed)?;
        Ok(answer.elements().first().and_then(|element| element.offset().to_raw()).filter(|offset| *offset >= 0))
    }

    /// Hands every committed record with `from <= offset < to` to `take`, in order, until it breaks off.
    pub(crate) fn read(
        &self,
        topic: &str,
        partition: i32,
        (from, to): (i64, i64),
        mut take: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        let failed = |error: KafkaError| Error::Kafka { what: format!("reading {topic}/{partition}"), error };
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(failed)?;
        self.reader.assign(&assignment).map_err(failed)?;
        let mut heard = Instant::now();
        loop {
            match self.reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.offset() >= to => break,
                Some(Ok(message)) => {
                    let copied = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
                    let last = message.offset() + 1 == to;
                    let taken = take(Record {
                        offset: message.offset(),
                        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
                        key: message.key().map(copied),
                        value: message.payload().map(copied).unwrap_or_default(),
                        headers: headers_of(&message),
                    });
                    heard = Instant::now();
                    if last || taken.is_break() {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => return Err(failed(error)),
                None if heard.elapsed() > STALLED => {
                    return Err(Error::Stalled { topic: topic.to_owned(), partition, waited: STALLED });
                }
                None => {}
            }
        }
        self.reader.unassign().map_err(failed)
    }
}
