//! Polling: inputs of a batch, and what the group decided meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::group::{GroupContext, Rebalance};
use super::recover::headers_of;
use super::trace::Traces;
use super::writers::Writers;
use crate::engine::Failure;
use crate::engine::input::{Arrived, Feed, Inlet, Writer};

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
    Assigned {
        shards: Vec<i32>,
        generation: i32,
        metadata: Arc<ConsumerGroupMetadata>,
    },
    /// The shards are asked back.
    Leaving,
    Revoked,
    /// A partition cannot be read on: the client said why, not which.
    Troubled(String),
}

/// Collects batches: at once when idle, one per `batch_time` under load.
pub(super) struct Gather {
    batch_time: Duration,
    batch_bytes: usize,
    /// When the last poll ended.
    polled: Instant,
    /// When the batch of the last transaction was complete.
    last_batch: Option<Instant>,
    inputs: Vec<String>,
    /// Running partitions, and the next offset wanted of each.
    running: BTreeMap<Inlet, i64>,
    /// Records whose writer is being looked up, by partition; such a partition is paused.
    waiting: BTreeMap<Inlet, VecDeque<Arrived>>,
    paused: bool,
    /// Records that arrived although none were wanted; the next batch starts with them.
    early: Vec<Arrived>,
    /// The client said that a partition cannot be read; the next poll tells.
    trouble: Option<String>,
    traces: Traces,
}

impl Gather {
    pub(super) fn new(batch_time: Duration, batch_bytes: usize, inputs: Vec<String>, traces: Traces) -> Self {
        Self {
            batch_time,
            batch_bytes,
            polled: Instant::now(),
            last_batch: None,
            inputs,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            paused: false,
            early: Vec::new(),
            trouble: None,
            traces,
        }
    }

    /// What was polled last goes into a transaction: the next batch ends `batch_time` after that one, whatever it takes to
    /// decide it.
    pub(super) fn transaction_begins(&mut self) {
        self.last_batch = Some(self.polled);
        self.traces.transaction_begins();
    }

    /// Spans of what was gathered.
    pub(super) fn traces(&mut self) -> &mut Traces {
        &mut self.traces
    }

    /// These partitions run from now on, from these offsets.
    pub(super) fn assigned(&mut self, positions: impl Iterator<Item = (Inlet, i64)>) {
        self.dropped();
        self.running = positions.collect();
    }

    /// The assignment is over.
    pub(super) fn dropped(&mut self) {
        self.running.clear();
        self.waiting.clear();
        self.paused = false;
        self.early.clear();
        self.trouble = None;
        self.traces.drop_all();
    }

    /// Running partitions, and the next offset wanted of each.
    pub(super) fn running(&self) -> &BTreeMap<Inlet, i64> {
        &self.running
    }

    /// Partitions that wait for the registry.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Nothing more is read of these shards.
    pub(super) fn halt(&mut self, consumer: &BaseConsumer<GroupContext>, shards: &[i32]) -> Result<(), Failure> {
        let gone: Vec<_> = self.running.keys().copied().filter(|inlet| shards.contains(&inlet.shard)).collect();
        for inlet in &gone {
            self.running.remove(inlet);
            self.waiting.remove(inlet);
        }
        self.early.retain(|input| !shards.contains(&input.shard));
        consumer.pause(&self.list(gone.into_iter())).map_err(on_pause)
    }

    /// Polls for a batch, or until the group decided something.
    pub(super) fn poll(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
        take: bool,
        inputs_max: usize,
    ) -> Result<Polled, Failure> {
        let polled = self.gather(consumer, writers, take, inputs_max);
        self.polled = Instant::now();
        polled
    }

    fn gather(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
        take: bool,
        inputs_max: usize,
    ) -> Result<Polled, Failure> {
        self.hold(consumer, !take)?;
        let mut inputs = if take { std::mem::take(&mut self.early) } else { Vec::new() };
        if take {
            self.release(consumer, writers, &mut inputs)?;
        }
        let mut bytes = inputs.iter().map(size).sum::<usize>();
        let mut until = Instant::now() + if take || self.running.is_empty() { IDLE } else { HELD };
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
                Some(Err(error)) => self.on_error(consumer, &error)?,
                Some(Ok(message)) => {
                    if inputs.is_empty() && take {
                        until = self.batch_end();
                    }
                    let input = self.arrived(&message);
                    bytes += size(&input);
                    self.admit(consumer, writers, input, take.then_some(&mut inputs))?;
                }
            }
            if let Some(why) = self.trouble.take() {
                self.early.append(&mut inputs);
                return Ok(Polled::Troubled(why));
            }
        }
        Ok(Polled::Inputs(inputs))
    }

    /// Serves the group for a moment while no inputs can be taken. Paused partitions deliver nothing; a record that
    /// slipped through is kept for the next batch.
    pub(super) fn serve(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
    ) -> Result<Option<Polled>, Failure> {
        self.hold(consumer, true)?;
        let until = Instant::now() + RETRY;
        while Instant::now() < until {
            let polled = consumer.poll(until.saturating_duration_since(Instant::now()));
            if let Some(decided) = decided(consumer)? {
                return Ok(Some(decided));
            }
            match polled {
                Some(Ok(message)) => self.admit(consumer, writers, self.arrived(&message), None)?,
                Some(Err(error)) => self.on_error(consumer, &error)?,
                None => {}
            }
        }
        Ok(None)
    }

    /// When the batch that starts now is over.
    fn batch_end(&self) -> Instant {
        let soon = Instant::now() + LINGER.min(self.batch_time);
        self.last_batch.map_or(soon, |last| (last + self.batch_time).max(soon))
    }

    fn hold(&mut self, consumer: &BaseConsumer<GroupContext>, hold: bool) -> Result<(), Failure> {
        let going: Vec<_> = self.running.keys().copied().filter(|partition| !self.waiting.contains_key(partition)).collect();
        if self.paused == hold || self.running.is_empty() {
            return Ok(());
        }
        let list = self.list(going.into_iter());
        let done = if hold { consumer.pause(&list) } else { consumer.resume(&list) };
        done.map_err(on_pause)?;
        self.paused = hold;
        Ok(())
    }

    fn list(&self, inlets: impl Iterator<Item = Inlet>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for Inlet { feed, shard } in inlets {
            list.add_partition(&self.inputs[feed.0], shard);
        }
        list
    }

    fn arrived(&self, message: &BorrowedMessage<'_>) -> Arrived {
        let topic = message.topic();
        Arrived {
            // what is not subscribed does not come
            feed: Feed(self.inputs.iter().position(|input| input == topic).unwrap_or_default()),
            shard: message.partition(),
            offset: message.offset(),
            appended_ms: message.timestamp().to_millis().unwrap_or_default(),
            key: message.key().map(bytes::Bytes::copy_from_slice),
            value: bytes::Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            headers: headers_of(message),
            // looked up before the engine sees the record
            writer: Writer::Unframed,
        }
    }

    /// Takes a record over when its writer is known; else its partition waits, and no other.
    fn admit(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
        mut input: Arrived,
        taken: Option<&mut Vec<Arrived>>,
    ) -> Result<(), Failure> {
        let inlet = Inlet { feed: input.feed, shard: input.shard };
        let Some(next) = self.running.get_mut(&inlet) else { return Ok(()) };
        *next = input.offset + 1;
        self.traces.arrived(&mut input);
        if let Some(queue) = self.waiting.get_mut(&inlet) {
            queue.push_back(input);
            return Ok(());
        }
        if let Some(writer) = writers.of(&input.value) {
            input.writer = writer;
            taken.unwrap_or(&mut self.early).push(input);
            return Ok(());
        }
        self.waiting.entry(inlet).or_default().push_back(input);
        consumer.pause(&self.list([inlet].into_iter())).map_err(on_pause)
    }

    /// Takes what waited for an answer of the registry that is there now.
    fn release(
        &mut self,
        consumer: &BaseConsumer<GroupContext>,
        writers: &mut Writers,
        inputs: &mut Vec<Arrived>,
    ) -> Result<(), Failure> {
        if self.waiting.is_empty() || !writers.learn() {
            return Ok(());
        }
        let mut free = Vec::new();
        for (inlet, queue) in &mut self.waiting {
            while let Some(writer) = queue.front().and_then(|input| writers.of(&input.value)) {
                inputs.extend(queue.pop_front().map(|input| Arrived { writer, ..input }));
            }
            if queue.is_empty() {
                free.push(*inlet);
            }
        }
        writers.forget_unknown();
        self.waiting.retain(|_, queue| !queue.is_empty());
        consumer.resume(&self.list(free.into_iter())).map_err(on_pause)
    }

    /// Errors of the consumer: those the client mends by itself are only logged.
    fn on_error(&mut self, consumer: &BaseConsumer<GroupContext>, error: &KafkaError) -> Result<(), Failure> {
        use rdkafka::error::RDKafkaErrorCode as Code;
        if consumer.client().fatal_error().is_some() {
            return Err(Failure::Restart(format!("consume: {error}")));
        }
        match error.rdkafka_error_code() {
            Some(
                Code::OffsetOutOfRange
                | Code::AutoOffsetReset
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition,
            ) => self.trouble = Some(error.to_string()),
            _ => tracing::debug!(%error, "consume"),
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn on_pause(error: KafkaError) -> Failure {
    Failure::Restart(format!("pause or resume: {error}"))
}

fn size(input: &Arrived) -> usize {
    input.value.len() + input.headers.size()
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
        Some(Rebalance::Assigned { shards, generation, metadata }) => Some(Polled::Assigned { shards, generation, metadata }),
        Some(Rebalance::Leaving) => Some(Polled::Leaving),
        Some(Rebalance::Revoked) => Some(Polled::Revoked),
        Some(Rebalance::Unproven) => {
            return Err(Failure::Restart("an assignment came without generation and member id".into()));
        }
    })
}
