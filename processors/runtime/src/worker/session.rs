//! One life of consumer, producer and core: from start to shutdown, or to the next start.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use chassis::lifecycle::Stop;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::{Offset, TopicPartitionList};
use state::RowKey;
use tokio::sync::mpsc::UnboundedSender;

use super::Worker;
use super::applier::{self, Job};
use super::gather::{Gather, Writers};
use super::group::GroupContext;
use super::producer::Producer;
use super::recover::Recovery;
use crate::engine::log::WriterId;
use crate::engine::{Action, Core, Event, Failure, Step};
use crate::metrics;
use crate::time::now_us;

/// The applier may take this long to finish when the process stops.
const APPLY_DRAIN: Duration = Duration::from_secs(10);
/// Without an assignment for this long after one was lost: start again.
const LOST_MAX: Duration = Duration::from_secs(20);

/// How a session ended.
pub(crate) enum Ended {
    /// The process stops.
    Shutdown,
    /// Start again, with backoff.
    Restart(String),
    /// Going on would be wrong.
    Stop(String),
}

/// The session's end of the applier.
struct Applier {
    jobs: UnboundedSender<Job>,
    acks: Receiver<(u64, i32, i64)>,
    done: tokio::sync::oneshot::Receiver<()>,
}

pub(crate) struct Session<'w> {
    worker: &'w Worker,
    pub(super) consumer: BaseConsumer<GroupContext>,
    producer: Producer,
    recovery: Recovery,
    core: Core,
    metadata: Option<Arc<ConsumerGroupMetadata>>,
    jobs: Option<UnboundedSender<Job>>,
    acks: Receiver<(u64, i32, i64)>,
    applier_done: tokio::sync::oneshot::Receiver<()>,
    gather: Gather,
    writers: Writers,
    lost_at: Option<Instant>,
}

impl<'w> Session<'w> {
    /// Step 1 of the protocol: the producer first (it aborts what the slot left open), then the group.
    pub(crate) fn start(worker: &'w Worker) -> Result<Self, String> {
        let why = |failure: Failure| failure.why().to_owned();
        let stream = &worker.settings.stream;
        let id = format!("{}forebay.{stream}.{}", worker.options.prefix, worker.options.slot);
        let group = format!("{}forebay.{stream}", worker.options.prefix);
        let producer = worker.blocking(|| Producer::start(&worker.options.kafka, &id)).map_err(why)?;
        let recovery =
            Recovery::new(&worker.options.kafka, worker.topics.log.clone(), worker.options.recovery_deadline).map_err(why)?;
        let consumer: BaseConsumer<GroupContext> = worker
            .options
            .kafka
            .group_consumer(&group, &worker.options.slot)
            .create_with_context(GroupContext::default())
            .map_err(|error| format!("the consumer cannot be created: {error}"))?;
        consumer.subscribe(&[&worker.topics.events]).map_err(|error| format!("subscribe: {error}"))?;
        let Applier { jobs, acks, done: applier_done } = worker.start_applier();
        let core =
            Core::new(worker.settings.clone(), worker.parts.logic.clone(), &worker.options.slot, &host_name(), fresh_writer());
        Ok(Self {
            gather: Gather::new(worker.options.batch_time, worker.settings.limits.batch_bytes),
            writers: Writers::new(&worker.settings, worker.parts.registry.clone(), &worker.parts.ids),
            worker,
            consumer,
            producer,
            recovery,
            core,
            metadata: None,
            jobs: Some(jobs),
            acks,
            applier_done,
            lost_at: None,
        })
    }

    /// Performs what the core asks for, until the process stops or the session is over.
    pub(crate) fn run(mut self, stop: &Stop) -> Ended {
        let mut action = Action::Poll { take: false, inputs_max: 0 };
        loop {
            if stop.requested() && matches!(action, Action::Poll { .. }) {
                return self.shut_down();
            }
            let event = match action {
                Action::Restart { why, .. } => return Ended::Restart(why),
                Action::Stop(why) => return Ended::Stop(why),
                action => self.perform(action).unwrap_or_else(Event::Failed),
            };
            if let Event::Failed(failure) = &event {
                tracing::warn!(stream = %self.worker.settings.stream, ?failure, "a step failed");
                metrics::failed(&self.worker.settings.stream, failure);
            }
            let Step { action: next, committed, tally } = self.core.step(event, now_us());
            if let Some(tally) = tally {
                metrics::committed(&self.worker.settings.stream, tally);
            }
            let at = applier::boot_time();
            for committed in committed {
                let gone = self.jobs.as_ref().is_none_or(|jobs| jobs.send(Job { committed, at }).is_err());
                if gone {
                    return Ended::Stop("the applier is gone".into());
                }
            }
            action = next;
        }
    }

    fn perform(&mut self, action: Action) -> Result<Event, Failure> {
        match action {
            Action::Poll { take, inputs_max } => self.poll(take, inputs_max),
            Action::Recover(shards) => {
                let Worker { settings, parts, tokio, .. } = self.worker;
                let (shards, halted) = self.recovery.run(&shards, settings, &parts.store, tokio)?;
                Ok(Event::Recovered { shards, halted })
            }
            Action::Resume { positions, halted } => self.resume(&positions, &halted),
            Action::Fetch(needs) => self.fetch(needs),
            Action::Begin => {
                self.recycle()?;
                self.gather.transaction_begins();
                self.worker.blocking(|| self.producer.begin()).map(|()| Event::Done)
            }
            Action::Produce(transaction) => {
                let begun = Instant::now();
                let trailers = self.worker.blocking(|| self.producer.produce(&transaction, &self.worker.topics))?;
                metrics::batch(&self.worker.settings.stream, transaction.inputs, begun.elapsed());
                Ok(Event::Drained(trailers))
            }
            Action::SendOffsets(positions) => {
                let metadata = self.metadata.clone().ok_or_else(|| Failure::Ownership("no captured group metadata".into()))?;
                let topic = &self.worker.topics.events;
                self.worker.blocking(|| self.producer.send_offsets(topic, &positions, &metadata)).map(|()| Event::Done)
            }
            Action::Commit => self.worker.blocking(|| self.producer.commit()).map(|()| Event::Done),
            Action::Abort => {
                self.lost_at = Some(Instant::now());
                self.worker.blocking(|| self.producer.abort()).map(|()| Event::Done)
            }
            Action::Restart { why, .. } | Action::Stop(why) => Err(Failure::Restart(why)),
        }
    }

    fn poll(&mut self, take: bool, inputs_max: usize) -> Result<Event, Failure> {
        if self.core.assignment().is_none() && self.lost_at.is_some_and(|at| at.elapsed() > LOST_MAX) {
            return Err(Failure::Restart("no assignment came after one was lost".into()));
        }
        let inputs = match self.gather.poll(&self.consumer, &mut self.writers, &self.worker.tokio, take, inputs_max)? {
            super::gather::Polled::Inputs(inputs) => inputs,
            super::gather::Polled::Assigned { shards, generation, metadata } => {
                self.metadata = Some(metadata);
                self.lost_at = None;
                return Ok(Event::Assigned { generation, shards });
            }
            super::gather::Polled::Revoked => {
                self.metadata = None;
                self.lost_at = Some(Instant::now());
                self.worker.lifecycle.set_ready(self.worker.parts.logic.name(), true, "no shards of its own at the moment");
                return Ok(Event::Revoked);
            }
        };
        Ok(Event::Polled { inputs, acks: self.acks.try_iter().collect() })
    }

    /// Assigns with explicit offsets, never from the group's (F13).
    fn resume(&mut self, positions: &[(i32, i64)], halted: &[i32]) -> Result<Event, Failure> {
        let failed = |error: rdkafka::error::KafkaError| Failure::Restart(format!("assign: {error}"));
        let topic = &self.worker.topics.events;
        let mut all = TopicPartitionList::with_capacity(positions.len() + halted.len());
        let mut paused = TopicPartitionList::new();
        for (partition, offset) in positions {
            all.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(failed)?;
        }
        for partition in halted {
            all.add_partition_offset(topic, *partition, Offset::End).map_err(failed)?;
            paused.add_partition(topic, *partition);
        }
        self.consumer.assign(&all).map_err(failed)?;
        if !halted.is_empty() {
            self.consumer.pause(&paused).map_err(failed)?;
        }
        self.gather.assigned(positions.iter().map(|(partition, _)| *partition), topic);
        let detail = format!("{} shards run, {} are halted", positions.len(), halted.len());
        tracing::info!(stream = %self.worker.settings.stream, slot = self.worker.options.slot, detail, "assigned");
        metrics::owned(&self.worker.settings.stream, positions.len(), halted.len());
        self.worker.lifecycle.set_ready(self.worker.parts.logic.name(), true, detail);
        Ok(Event::Done)
    }

    /// Rows of a batch from the store. While it does not answer the group is served and nothing is lost.
    fn fetch(&mut self, needs: Vec<(i32, RowKey)>) -> Result<Event, Failure> {
        let Worker { settings, parts, tokio, .. } = self.worker;
        let mut by_shard = std::collections::BTreeMap::<i32, Vec<RowKey>>::new();
        for (shard, key) in needs {
            by_shard.entry(shard).or_default().push(key);
        }
        loop {
            let read = by_shard.iter().map(|(number, keys)| {
                let shard = crate::engine::assignment::Assignment::name(&settings.stream, *number);
                async move { parts.store.rows(&shard, keys).await.map(|cells| (*number, keys, cells)) }
            });
            match tokio.block_on(futures::future::try_join_all(read)) {
                Ok(shards) => {
                    let rows = shards.into_iter().flat_map(|(number, keys, cells)| {
                        keys.iter().cloned().zip(cells).map(move |(key, cell)| (number, key, cell))
                    });
                    return Ok(Event::Fetched(rows.collect()));
                }
                Err(state::Error::Unavailable(error)) => {
                    tracing::warn!(error, "the store does not answer reads; inputs wait");
                    if let Some(event) = self.gather.serve(&self.consumer)? {
                        return Ok(event.into_event(&mut self.metadata));
                    }
                }
                Err(error) => return Err(Failure::Restart(format!("the store: {error}"))),
            }
        }
    }

    /// A producer whose last EndTxn may have been sent twice is replaced: the epoch's bump kills the copy (F4).
    fn recycle(&mut self) -> Result<(), Failure> {
        while self.producer.is_suspect() {
            let stream = &self.worker.settings.stream;
            tracing::info!(%stream, "the producer is recycled");
            metrics::recycled(stream);
            let id = format!("{}forebay.{stream}.{}", self.worker.options.prefix, self.worker.options.slot);
            self.producer = self.worker.blocking(|| Producer::start(&self.worker.options.kafka, &id))?;
        }
        Ok(())
    }

    fn shut_down(mut self) -> Ended {
        self.jobs = None;
        let drained = self.worker.tokio.block_on(async { tokio::time::timeout(APPLY_DRAIN, &mut self.applier_done).await });
        if drained.is_err() {
            tracing::warn!("the store did not take all frames; the next start reads them back from the log");
        }
        self.consumer.unsubscribe();
        super::gather::leave(&self.consumer);
        Ended::Shutdown
    }
}

impl Worker {
    /// Runs a blocking transactional call under the watchdog.
    pub(super) fn blocking<T>(&self, call: impl FnOnce() -> T) -> T {
        self.blocked_since.store((applier::boot_time().as_millis() as i64).max(1), Ordering::Release);
        let result = call();
        self.blocked_since.store(0, Ordering::Release);
        result
    }

    fn start_applier(&self) -> Applier {
        let (jobs, jobs_out) = tokio::sync::mpsc::unbounded_channel();
        let (acks_in, acks) = std::sync::mpsc::channel();
        let (done_in, done) = tokio::sync::oneshot::channel();
        let (store, age) = (self.parts.store.clone(), self.settings.limits.apply_age);
        let _entered = self.tokio.enter();
        self.lifecycle.spawn("applier", async move {
            let result = applier::run(store, jobs_out, acks_in, age).await;
            // nobody waits for it after a restart of the worker
            let _ = done_in.send(());
            result
        });
        Applier { jobs, acks, done }
    }
}

fn fresh_writer() -> WriterId {
    let mut writer = [0; 8];
    writer.copy_from_slice(&uuid::Uuid::now_v7().as_bytes()[8..]);
    writer
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
