//! The reader's thread.

use std::sync::mpsc::{Receiver as Added, TryRecvError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::client::{self, Context, Statistics};
use super::positions::Positions;
use super::{Error, Options, Source, Start, TailEvent, TailRecord};
use crate::kafka::{Settings, watermarks};
use crate::lifecycle::Stop;
use crate::metrics::TAIL_REBUILDS;

/// How long one poll waits for records; also how soon additions and the stop are seen.
const POLL: Duration = Duration::from_millis(100);
/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(5);
/// Before the broker is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Everything the thread owns.
pub(super) struct Reader {
    settings: Settings,
    options: Options,
    runtime: Handle,
    out: Sender<TailEvent>,
    consumer: BaseConsumer<Context>,
    positions: Positions,
    /// Statistics whose ends count as soon as the queue was seen empty.
    pending: Option<Statistics>,
}

/// Why the loop ends.
struct Ended;

impl Reader {
    pub(super) fn new(settings: &Settings, options: &Options, out: Sender<TailEvent>) -> Result<Self, Error> {
        Ok(Self {
            settings: settings.clone(),
            options: options.clone(),
            runtime: Handle::current(),
            out,
            consumer: client::create(settings, options)?,
            positions: Positions::default(),
            pending: None,
        })
    }

    /// Runs until the stop, or until nobody listens.
    pub(super) fn run(&mut self, added: &Added<Vec<Source>>, stop: &Stop) -> Result<(), Error> {
        while !stop.requested() && !self.out.is_closed() {
            match added.try_recv() {
                Ok(sources) => self.begin(sources, stop)?,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => break,
            }
            if self.step(stop)?.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Polls once and hands over what came of it.
    fn step(&mut self, stop: &Stop) -> Result<Result<(), Ended>, Error> {
        if self.pending.is_none() {
            self.pending = self.consumer.context().take_statistics();
        }
        let calls = self.consumer.context().calls();
        let wait = if self.pending.is_some() { Duration::ZERO } else { POLL };
        let polled = match self.consumer.poll(wait) {
            Some(Ok(message)) => Polled::Record(read(&message, &mut self.positions)),
            Some(Err(error)) => Polled::Error(error),
            None => Polled::Nothing,
        };
        match polled {
            Polled::Record(None) => Ok(Ok(())),
            Polled::Record(Some(record)) => Ok(self.hand_over(TailEvent::Record(record), stop)),
            Polled::Error(error) => self.handle(&error, stop),
            // a callback ends a poll as well, and then the queue may not be empty
            Polled::Nothing if self.consumer.context().calls() != calls => Ok(Ok(())),
            Polled::Nothing => match self.pending.take() {
                Some(statistics) => self.prove(&statistics, stop),
                None => Ok(Ok(())),
            },
        }
    }

    /// The queue is empty: tells the positions the statistics prove, and looks for standstill.
    fn prove(&mut self, statistics: &Statistics, stop: &Stop) -> Result<Result<(), Ended>, Error> {
        let now = Instant::now();
        for proof in self.positions.prove(statistics, now) {
            let event =
                TailEvent::Position { topic: proof.topic, partition: proof.partition, offset: proof.next, at_ms: proof.at_ms };
            if self.hand_over(event, stop).is_err() {
                return Ok(Err(Ended));
            }
        }
        let standing = self.positions.standing(self.options.standstill, now);
        if standing.is_some() || self.consumer.client().fatal_error().is_some() {
            tracing::warn!(
                tail = self.options.name,
                ?standing,
                "the kafka reader stands still or is beyond repair; replacing it"
            );
            self.rebuild()?;
        }
        Ok(Ok(()))
    }

    fn handle(&mut self, error: &KafkaError, stop: &Stop) -> Result<Result<(), Ended>, Error> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.repair(stop),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                tracing::warn!(tail = self.options.name, %error, "the kafka reader is beyond repair; replacing it");
                self.rebuild().map(Ok)
            }
            // the client goes on by itself; where it does not, the standstill is noticed
            _ => {
                tracing::debug!(tail = self.options.name, %error, "the kafka reader reports an error");
                Ok(Ok(()))
            }
        }
    }

    /// Finds partitions whose next record does not exist, says so, and reads on where there is something.
    fn repair(&mut self, stop: &Stop) -> Result<Result<(), Ended>, Error> {
        let all: Vec<_> = self.positions.iter().map(|(topic, id, position)| (topic.clone(), id, position.next)).collect();
        for (topic, partition, next) in all {
            let Some((low, end)) = self.ask(stop, |consumer| watermarks(consumer, &topic, partition, ANSWER)) else {
                return Ok(Err(Ended));
            };
            let (resumes, reason) = match next {
                next if next < low => (low, format!("records {next} to {} are deleted by retention", low - 1)),
                next if next > end => (end, format!("the log ends at {end}, before {next}: it was cut or made anew")),
                _ => continue,
            };
            tracing::warn!(tail = self.options.name, %topic, partition, reason, "records are lost");
            self.positions.set(&topic, partition, resumes, Instant::now());
            if self.hand_over(TailEvent::Lost { topic, partition, resumes, reason }, stop).is_err() {
                return Ok(Err(Ended));
            }
        }
        self.rebuild().map(Ok)
    }

    /// Finds out where to begin, then reads old and new partitions with a fresh client.
    fn begin(&mut self, sources: Vec<Source>, stop: &Stop) -> Result<(), Error> {
        for source in sources {
            if self.positions.contains(&source.topic, source.partition) {
                continue;
            }
            let Some(next) = self.ask(stop, |consumer| offset(consumer, &source)) else { return Ok(()) };
            self.positions.set(&source.topic, source.partition, next, Instant::now());
        }
        self.open()
    }

    /// Asks the broker until it answers; None at the stop.
    fn ask<T>(&self, stop: &Stop, question: impl Fn(&BaseConsumer<Context>) -> Result<T, KafkaError>) -> Option<T> {
        while !stop.requested() && !self.out.is_closed() {
            match question(&self.consumer) {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    tracing::warn!(tail = self.options.name, %error, "the broker does not tell offsets; asking again");
                    let pause = async {
                        tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = stop.wait() => {} }
                    };
                    self.runtime.block_on(pause);
                }
            }
        }
        None
    }

    /// A client in the place of one that cannot go on.
    fn rebuild(&mut self) -> Result<(), Error> {
        metrics::counter!(TAIL_REBUILDS, "tail" => self.options.name).increment(1);
        self.open()
    }

    /// A new client at the current positions. Ends told by the old one must not be believed any more: records it had fetched but not handed
    /// over are fetched again.
    fn open(&mut self) -> Result<(), Error> {
        self.consumer = client::create(&self.settings, &self.options)?;
        self.pending = None;
        self.positions.excuse(Instant::now());
        let mut list = TopicPartitionList::new();
        for (topic, partition, position) in self.positions.iter() {
            list.add_partition_offset(topic, partition, Offset::Offset(position.next))?;
        }
        Ok(self.consumer.assign(&list)?)
    }

    fn hand_over(&mut self, event: TailEvent, stop: &Stop) -> Result<(), Ended> {
        let event = match self.out.try_send(event) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Ended),
            Err(TrySendError::Full(event)) => event,
        };
        let out = &self.out;
        let sent = self.runtime.block_on(async {
            tokio::select! {
                sent = out.send(event) => sent.is_ok(),
                () = stop.wait() => false,
            }
        });
        self.positions.excuse(Instant::now());
        if sent { Ok(()) } else { Err(Ended) }
    }
}

enum Polled {
    Record(Option<TailRecord>),
    Error(KafkaError),
    Nothing,
}

/// The offset a source begins at.
fn offset(consumer: &BaseConsumer<Context>, source: &Source) -> Result<i64, KafkaError> {
    // a client with read_committed is told the stable end
    let watermarks = || watermarks(consumer, &source.topic, source.partition, ANSWER);
    Ok(match source.start {
        Start::Offset(offset) => offset,
        Start::Beginning => watermarks()?.0,
        Start::End => watermarks()?.1,
        Start::At(time_ms) => {
            let mut times = TopicPartitionList::new();
            times.add_partition_offset(&source.topic, source.partition, Offset::Offset(time_ms))?;
            let found = consumer.offsets_for_times(times, ANSWER)?;
            match found.find_partition(&source.topic, source.partition).map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => watermarks()?.1,
            }
        }
    })
}

/// Copies a record out of librdkafka's memory, with one allocation for all its bytes; None if it is not to be handed over.
fn read(message: &BorrowedMessage<'_>, positions: &mut Positions) -> Option<TailRecord> {
    let topic = positions.deliver(message.topic(), message.partition(), message.offset(), Instant::now())?;
    let headers = message.headers();
    let header_values = headers.into_iter().flat_map(Headers::iter).map(|header| header.value.unwrap_or_default());
    let length = message.key_len() + message.payload_len() + header_values.map(<[u8]>::len).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(length);
    let mut part = |from: &[u8]| -> Bytes {
        bytes.extend_from_slice(from);
        bytes.split().freeze()
    };
    Some(TailRecord {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: part(message.key().unwrap_or_default()),
        value: message.payload().map(&mut part),
        headers: headers
            .into_iter()
            .flat_map(Headers::iter)
            .map(|header| (header.key.to_owned(), part(header.value.unwrap_or_default())))
            .collect(),
    })
}
