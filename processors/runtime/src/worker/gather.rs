//! Polling: inputs of a batch, and what the group decided meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use schemas::frame;
use schemas::registry::{self, Registry, SchemaIds};

use super::group::{GroupContext, Rebalance};
use super::recover::headers_of;
use crate::engine::input::{Arrived, Writer};
use crate::engine::settings::Settings;
use crate::engine::{Event, Failure};

/// An empty poll returns after this, so that acks and the stop are seen.
const IDLE: Duration = Duration::from_millis(100);
/// While no inputs are wanted the loop looks this often whether that changed.
const HELD: Duration = Duration::from_millis(10);
/// After the first input of an idle worker its neighbours get this long to arrive.
const LINGER: Duration = Duration::from_millis(2);
/// Between two tries while the registry or the store does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// The group answers a leave within this, or the session time-out does.
const LEAVE: Duration = Duration::from_secs(2);

/// What a poll brought.
pub(super) enum Polled {
    Inputs(Vec<Arrived>),
    Assigned { shards: Vec<i32>, generation: i32, metadata: Arc<ConsumerGroupMetadata> },
    Revoked,
}

impl Polled {
    /// The event of a decision of the group.
    pub(super) fn into_event(self, metadata: &mut Option<Arc<ConsumerGroupMetadata>>) -> Event {
        match self {
            Self::Inputs(inputs) => Event::Polled { inputs, acks: Vec::new() },
            Self::Assigned { shards, generation, metadata: captured } => {
                *metadata = Some(captured);
                Event::Assigned { generation, shards }
            }
            Self::Revoked => {
                *metadata = None;
                Event::Revoked
            }
        }
    }
}

/// Collects batches: at once when idle, one per `batch_time` under load.
pub(super) struct Gather {
    batch_time: Duration,
    batch_bytes: usize,
    last_begin: Option<Instant>,
    running: TopicPartitionList,
    paused: bool,
    /// Records that arrived although none were wanted; the next batch starts with them.
    early: Vec<Arrived>,
}

impl Gather {
    pub(super) fn new(batch_time: Duration, batch_bytes: usize) -> Self {
        Self { batch_time, batch_bytes, last_begin: None, running: TopicPartitionList::new(), paused: false, early: Vec::new() }
    }

    /// A transaction begins now: the next one is at least `batch_time` away.
    pub(super) fn transaction_begins(&mut self) {
        self.last_begin = Some(Instant::now());
    }

    /// These partitions run from now on.
    pub(super) fn assigned(&mut self, partitions: impl Iterator<Item = i32>, topic: &str) {
        self.running = TopicPartitionList::new();
        for partition in partitions {
            self.running.add_partition(topic, partition);
        }
        self.paused = false;
        self.early.clear();
    }

    /// Polls for a batch, or until the group decided something.
    pub(super) fn poll(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
        tokio: &tokio::runtime::Handle,
        take: bool,
        inputs_max: usize,
    ) -> Result<Polled, Failure> {
        self.hold(consumer, !take)?;
        let mut inputs = if take { std::mem::take(&mut self.early) } else { Vec::new() };
        let mut bytes = 0;
        let mut until = Instant::now() + if take || self.running.count() == 0 { IDLE } else { HELD };
        if !inputs.is_empty() {
            until = self.batch_end();
        }
        while inputs.len() < inputs_max.max(1) && bytes < self.batch_bytes {
            let polled = consumer.poll(until.saturating_duration_since(Instant::now()));
            if let Some(decided) = decided(consumer)? {
                return Ok(decided);
            }
            match polled {
                None if Instant::now() >= until => break,
                None => {}
                Some(Err(error)) => on_error(&error)?,
                Some(Ok(message)) => {
                    if inputs.is_empty() && take {
                        until = self.batch_end();
                    }
                    let input = self.arrive(consumer, writers, tokio, &message)?;
                    bytes += input.value.len() + input.headers.size();
                    if take { &mut inputs } else { &mut self.early }.push(input);
                }
            }
        }
        Ok(Polled::Inputs(inputs))
    }

    /// Serves the group for a moment while no inputs can be taken. Paused partitions deliver nothing; a record that
    /// slipped through would be lost to this assignment, so it ends the session, which reads it again.
    pub(super) fn serve(&mut self, consumer: &BaseConsumer<GroupContext>) -> Result<Option<Polled>, Failure> {
        self.hold(consumer, true)?;
        let until = Instant::now() + RETRY;
        while Instant::now() < until {
            let polled = consumer.poll(until.saturating_duration_since(Instant::now()));
            if let Some(decided) = decided(consumer)? {
                return Ok(Some(decided));
            }
            match polled {
                Some(Ok(_)) => return Err(Failure::Restart("a record came from a paused partition".into())),
                Some(Err(error)) => on_error(&error)?,
                None => {}
            }
        }
        Ok(None)
    }

    /// When the batch that starts now is over.
    fn batch_end(&self) -> Instant {
        let soon = Instant::now() + LINGER.min(self.batch_time);
        self.last_begin.map_or(soon, |last| (last + self.batch_time).max(soon))
    }

    fn hold(&mut self, consumer: &BaseConsumer<GroupContext>, hold: bool) -> Result<(), Failure> {
        if self.paused == hold || self.running.count() == 0 {
            return Ok(());
        }
        let done = if hold { consumer.pause(&self.running) } else { consumer.resume(&self.running) };
        done.map_err(|error| Failure::Restart(format!("pause or resume: {error}")))?;
        self.paused = hold;
        Ok(())
    }

    /// Takes a record over; waits with everything paused while the registry does not answer.
    fn arrive(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
        tokio: &tokio::runtime::Handle,
        message: &BorrowedMessage<'_>,
    ) -> Result<Arrived, Failure> {
        let value = message.payload().unwrap_or_default();
        let writer = loop {
            match writers.of(value, tokio) {
                Ok(writer) => break writer,
                Err(error) => {
                    tracing::warn!(error, "the registry does not answer; the shards wait");
                    if self.serve(consumer)?.is_some() {
                        return Err(Failure::Restart("the group moved while the registry did not answer".into()));
                    }
                    self.hold(consumer, false)?;
                }
            }
        };
        Ok(Arrived {
            shard: message.partition(),
            offset: message.offset(),
            appended_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(bytes::Bytes::copy_from_slice),
            value: bytes::Bytes::copy_from_slice(value),
            headers: headers_of(message),
            writer,
        })
    }
}

/// Serves the revoke that follows an unsubscribe.
pub(super) fn leave(consumer: &BaseConsumer<GroupContext>) {
    let until = Instant::now() + LEAVE;
    while Instant::now() < until {
        let polled = consumer.poll(Duration::from_millis(50));
        if matches!(consumer.context().take(), Some(Rebalance::Revoked)) {
            return;
        }
        drop(polled);
    }
}

fn decided(consumer: &BaseConsumer<GroupContext>) -> Result<Option<Polled>, Failure> {
    Ok(match consumer.context().take() {
        None => None,
        Some(Rebalance::Assigned { partitions, generation, metadata }) => {
            Some(Polled::Assigned { shards: partitions, generation, metadata })
        }
        Some(Rebalance::Revoked) => Some(Polled::Revoked),
        Some(Rebalance::Unproven) => {
            return Err(Failure::Restart("an assignment came without generation and member id".into()));
        }
    })
}

/// Errors of the consumer: those the client mends by itself are logged by its context.
fn on_error(error: &KafkaError) -> Result<(), Failure> {
    use rdkafka::error::RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::UnknownTopicOrPartition | Code::Fatal | Code::FencedInstanceId,
        ) => Err(Failure::Restart(format!("consume: {error}"))),
        _ => {
            tracing::debug!(%error, "consume");
            Ok(())
        }
    }
}

/// Writer schemas by id.
pub(super) struct Writers {
    registry: Arc<Registry>,
    known: HashMap<i32, Writer>,
}

/// Ids remembered at the most.
const KNOWN_MAX: usize = 10_000;

impl Writers {
    pub(super) fn new(settings: &Settings, registry: Arc<Registry>, ids: &SchemaIds) -> Self {
        let current = settings.event_types.values().filter_map(|event| {
            let name: &str = &event.reader.full_name;
            Some((ids.id_of(name)?, Writer::Current(name.into())))
        });
        Self { registry, known: current.collect() }
    }

    /// Who wrote `value`; an error when the registry does not answer.
    fn of(&mut self, value: &[u8], tokio: &tokio::runtime::Handle) -> Result<Writer, String> {
        let Ok((id, _)) = frame::split(value) else { return Ok(Writer::Unframed) };
        if let Some(writer) = self.known.get(&id) {
            return Ok(writer.clone());
        }
        match tokio.block_on(self.registry.schema_by_id(id)) {
            Ok(schema) => {
                if self.known.len() < KNOWN_MAX {
                    self.known.insert(id, Writer::Other(schema.clone()));
                }
                Ok(Writer::Other(schema))
            }
            Err(registry::Error::NotFound(_) | registry::Error::Unusable { .. }) => Ok(Writer::Unknown(id)),
            Err(error) => Err(error.to_string()),
        }
    }
}
