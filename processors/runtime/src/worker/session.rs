//! One life of consumer, producer and core: from start to shutdown, or to the next start.

mod parting;
mod shards;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use chassis::lifecycle::Stop;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use tokio::sync::mpsc::UnboundedSender;

use self::parting::Parting;
use super::Worker;
use super::applier::{self, Applier, Job};
use super::executor::Executor;
use super::gather::{Gather, Polled};
use super::group::GroupContext;
use super::producer::Producer;
use super::recover::Recovery;
use super::trace::Traces;
use super::writers::Writers;
use crate::engine::input::Inlet;
use crate::engine::log::WriterId;
use crate::engine::{Action, Committed, Core, Event, Failure, Step};
use crate::{fetch, metrics};

/// Without an assignment for this long after one was lost: start again.
const LOST_MAX: Duration = Duration::from_secs(20);

/// Between two settings of the gauges.
const GAUGES: Duration = Duration::from_secs(1);

/// How a session ended.
pub(crate) enum Ended {
    /// The process stops.
    Shutdown,
    /// Start again, with backoff.
    Restart {
        why: String,
        fenced: bool,
        /// See [`Action::Restart`].
        torn: Option<i32>,
    },
    /// Going on would be wrong.
    Stop(String),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Restart { why: failure.why().to_owned(), fenced: matches!(failure, Failure::Fenced(_)), torn: None }
    }
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
    gauges_at: Instant,
    executor: Executor,
    /// Positions of the open transaction.
    moving: Vec<(Inlet, i64)>,
    parting: Parting,
}

impl<'w> Session<'w> {
    /// Step 1 of the protocol: the producer first (it aborts what the slot left open), then the group. Shards in `torn` are
    /// halted when the store shows again what cannot be.
    pub(crate) fn start(worker: &'w Worker, torn: BTreeSet<i32>) -> Result<Self, Failure> {
        let Worker { options, settings, topics, parts, .. } = worker;
        let group = worker.group();
        let producer = worker.blocking(|| Producer::start(&options.kafka, &worker.transactional_id()))?;
        let recovery = Recovery::new(&options.kafka, topics.log.clone(), options.recovery_deadline)?;
        let consumer: BaseConsumer<GroupContext> = options
            .kafka
            .group_consumer(&group, &options.slot)
            .create_with_context(GroupContext::new(worker.place.clone(), topics.inputs.clone()))
            .map_err(|error| Failure::Restart(format!("the consumer cannot be created: {error}")))?;
        let inputs: Vec<&str> = topics.inputs.iter().map(String::as_str).collect();
        consumer.subscribe(&inputs).map_err(|error| Failure::Restart(format!("subscribe: {error}")))?;
        let Applier { jobs, acks, done: applier_done } = applier::start(worker);
        let core = Core::new(settings.clone(), parts.logic.clone(), &options.slot, &host_name(), worker.fresh_writer());
        let core = core.after_torn(torn);
        let traces = Traces::new(settings.stream.clone());
        let (registry, tokio) = (parts.registry.clone(), worker.tokio.clone());
        Ok(Self {
            gather: Gather::new(options.batch_time, settings.limits.batch_bytes, topics.inputs.clone(), traces),
            writers: Writers::new(settings, registry, &parts.ids, worker.lifecycle.clone(), tokio),
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
            gauges_at: Instant::now(),
            executor: Executor::new(
                settings.stream.clone(),
                parts.logic.effects(),
                worker.lifecycle.clone(),
                options.points.clone(),
                worker.http.clone(),
                options.drain,
            ),
            parting: Parting::default(),
            moving: Vec::new(),
        })
    }

    /// Performs what the core asks for, until the process stops or the session is over.
    pub(crate) fn run(mut self, stop: &Stop) -> Ended {
        let ended = self.serve(stop);
        self.part();
        metrics::owned(&self.worker.place, 0, 0);
        metrics::waiting(&self.worker.place, 0, 0);
        if matches!(ended, Ended::Shutdown) {
            self.shut_down();
        }
        ended
    }

    fn serve(&mut self, stop: &Stop) -> Ended {
        let stream = &self.worker.settings.stream;
        let mut action = Action::Poll { take: false, inputs_max: 0 };
        loop {
            let waits = self.lingers(&action, stop);
            if waits == Some(false) && stop.requested() {
                return Ended::Shutdown;
            }
            let event = match action {
                Action::Restart { why, fenced, torn } => {
                    torn.iter().for_each(|_| metrics::torn_view(stream));
                    return Ended::Restart { why, fenced, torn };
                }
                Action::Stop(why) => return Ended::Stop(why),
                // the new positions are committed with the claims
                Action::Resume { .. } if self.worker.options.seek.is_some() => return Ended::Shutdown,
                _ if waits == Some(false) => self.give_back().unwrap_or_else(Event::Failed),
                _ if waits == Some(true) => self.poll(false, 0).unwrap_or_else(Event::Failed),
                action => self.passing(action).unwrap_or_else(Event::Failed),
            };
            if let Event::Failed(failure) = &event {
                tracing::warn!(%stream, ?failure, "a step failed");
                metrics::failed(stream, failure);
                if let Some(ended) = self.consumer_ended() {
                    return ended;
                }
            }
            let Step { action: next, committed, attempts, tally } = self.core.step(event, self.worker.options.clock.now_us());
            if !attempts.is_empty() {
                let _entered = self.worker.tokio.enter();
                attempts.into_iter().for_each(|(assignment, attempt)| self.executor.start(assignment, attempt));
            }
            if let Some(tally) = tally {
                metrics::committed(stream, tally);
                self.gather.traces().committed(&self.moving);
            }
            let at = applier::boot_time();
            if let Err(ended) = self.hand_over(committed, at) {
                return ended;
            }
            self.set_gauges();
            action = next;
        }
    }

    /// Gives committed frames to the applier.
    fn hand_over(&self, committed: Vec<Committed>, at: Duration) -> Result<(), Ended> {
        if committed.is_empty() {
            return Ok(());
        }
        let points = &self.worker.options.points;
        points.pass("hand_over", false)?;
        for committed in committed {
            let gone = self.jobs.as_ref().is_none_or(|jobs| jobs.send(Job { committed, at }).is_err());
            if gone {
                return Err(Ended::Stop("the applier is gone".into()));
            }
        }
        Ok(points.pass("hand_over", true)?)
    }

    /// Performs an action between its two points.
    fn passing(&mut self, action: Action) -> Result<Event, Failure> {
        let step = match &action {
            Action::Recover(_) => "recover",
            Action::Resume { .. } => "resume",
            Action::Scan(_) => "scan",
            Action::Fetch(_) => "fetch",
            Action::Begin => "begin",
            Action::Produce(_) => "produce",
            Action::SendOffsets(_) => "send_offsets",
            Action::Commit => "commit",
            Action::Abort => "abort",
            _ => return self.timed(action),
        };
        let worker = self.worker;
        worker.options.points.pass(step, false)?;
        let event = self.timed(action)?;
        worker.options.points.pass(step, true)?;
        Ok(event)
    }

    /// Performs an action and tells how long a step of a transaction took.
    fn timed(&mut self, action: Action) -> Result<Event, Failure> {
        let step = match &action {
            Action::Fetch(_) => "fetch",
            Action::Begin => "begin",
            Action::Produce(_) => "produce",
            Action::SendOffsets(_) => "send_offsets",
            Action::Commit => "commit",
            Action::Abort => "abort",
            _ => return self.perform(action),
        };
        let begun = Instant::now();
        let event = self.perform(action);
        metrics::step(&self.worker.settings.stream, step, begun.elapsed());
        event
    }

    fn perform(&mut self, action: Action) -> Result<Event, Failure> {
        match action {
            Action::Poll { take, inputs_max } => self.poll(take, inputs_max),
            Action::Recover(shards) => self.recover(&shards),
            Action::Resume { positions, .. } => self.resume(&positions),
            Action::Fetch(needs) => {
                metrics::fetched(&self.worker.settings.stream, needs.rows.len());
                self.ask(async |worker| {
                    waiting(fetch::fetch(&needs, &worker.settings, &*worker.parts.store).await, Event::Fetched)
                })
            }
            Action::Learn(ids) => self.learn(&ids),
            Action::Scan(scans) => self
                .ask(async |worker| waiting(fetch::scan(&scans, &worker.settings, &*worker.parts.store).await, Event::Scanned)),
            Action::Begin => {
                if let Some(writer) = self.recycle()? {
                    return Ok(Event::Recycled(writer));
                }
                self.gather.transaction_begins();
                self.worker.blocking(|| self.producer.begin()).map(|()| Event::Done)
            }
            Action::Produce(transaction) => {
                let trailers = self.worker.blocking(|| self.producer.produce(&transaction, &self.worker.topics))?;
                metrics::produced(&self.worker.place, &transaction, &trailers, self.worker.options.clock.now_us());
                self.gather.traces().produced(transaction.inputs);
                Ok(Event::Drained(trailers))
            }
            Action::SendOffsets(positions) => {
                let metadata = self.metadata.clone().ok_or_else(|| Failure::Ownership("no captured group metadata".into()))?;
                let inputs = &self.worker.topics.inputs;
                let sent = self.worker.blocking(|| self.producer.send_offsets(inputs, &positions, &metadata));
                self.moving = positions;
                sent.map(|()| Event::Done)
            }
            Action::Commit => self.worker.blocking(|| self.producer.commit()).map(|()| Event::Done),
            Action::Abort => {
                self.lost_at = Some(Instant::now());
                self.worker.blocking(|| self.producer.abort()).map(|()| Event::Done)
            }
            Action::Halt(shard, halt) => {
                metrics::torn_view(&self.worker.settings.stream);
                self.let_go(vec![(shard, halt)])
            }
            Action::Restart { why, .. } | Action::Stop(why) => Err(Failure::Restart(why)),
        }
    }

    /// A consumer beyond repair: another member took its place, or the process must not go on.
    fn consumer_ended(&self) -> Option<Ended> {
        let (code, why) = self.consumer.client().fatal_error()?;
        if matches!(code, rdkafka::types::RDKafkaErrorCode::FencedInstanceId) {
            return Some(Ended::Restart { why: format!("the consumer was fenced: {why}"), fenced: true, torn: None });
        }
        Some(Ended::Stop(format!("the consumer cannot go on ({code}): {why}")))
    }

    fn poll(&mut self, take: bool, inputs_max: usize) -> Result<Event, Failure> {
        if self.core.assignment().is_none() && self.lost_at.is_some_and(|at| at.elapsed() > LOST_MAX) {
            return Err(Failure::Restart("no assignment came after one was lost".into()));
        }
        let polled = self.gather.poll(&self.consumer, &mut self.writers, take, inputs_max)?;
        self.told(polled)
    }

    fn told(&mut self, polled: Polled) -> Result<Event, Failure> {
        match polled {
            Polled::Inputs(inputs) => {
                Ok(Event::Polled { inputs, acks: self.acks.try_iter().collect(), ended: self.executor.ended() })
            }
            Polled::Assigned { shards, generation, metadata } => {
                self.metadata = Some(metadata);
                self.lost_at = None;
                Ok(Event::Assigned { generation, shards })
            }
            Polled::Leaving => Ok(self.leave()),
            Polled::Revoked => {
                self.parting = Parting::default();
                self.metadata = None;
                self.lost_at = Some(Instant::now());
                self.gather.dropped();
                self.worker.ready(true, "no shards of its own at the moment");
                metrics::owned(&self.worker.place, 0, 0);
                Ok(Event::Revoked)
            }
            Polled::Troubled(why) => self.halt(&why),
        }
    }

    fn set_gauges(&mut self) {
        if self.gauges_at.elapsed() < GAUGES {
            return;
        }
        self.gauges_at = Instant::now();
        let shards = self.core.assignment().into_iter().flat_map(|assignment| assignment.shards.values());
        let frames = shards.clone().map(|shard| shard.backlog().0).sum();
        metrics::targets(&self.worker.place, self.core.targets());
        let held = shards.clone().flat_map(|shard| shard.held.values().copied());
        metrics::held(&self.worker.place, held.clone().count(), held.max().unwrap_or(0));
        metrics::single(&self.worker.place, shards.clone().filter(|shard| shard.single.is_some()).count());
        metrics::agenda(&self.worker.place, shards.clone().map(|shard| shard.agenda.len()).sum());
        if let Some(reach) = shards.map(|shard| shard.dedupe.reach_ms(shard.tip.horizon)).min() {
            metrics::dedupe_window(&self.worker.place, reach);
        }
        metrics::waiting(&self.worker.place, frames, self.gather.waiting());
    }

    /// Asks until there is an answer. While there is none the group is served and nothing is lost.
    fn ask(&mut self, ask: impl AsyncFn(&'w Worker) -> Result<Result<Event, String>, Failure>) -> Result<Event, Failure> {
        loop {
            match self.worker.tokio.block_on(ask(self.worker))? {
                Ok(event) => return Ok(event),
                Err(error) => {
                    tracing::warn!(error, "no answer; inputs wait");
                    if let Some(polled) = self.gather.serve(&self.consumer, &mut self.writers)? {
                        // nobody knows when there is an answer
                        return if matches!(polled, Polled::Leaving) { self.give_back() } else { self.told(polled) };
                    }
                    if self.parting.owed {
                        return self.give_back();
                    }
                }
            }
        }
    }

    /// Schemas of other writers. One that the registry does not know is waited for: the row is there, so it was
    /// registered once.
    fn learn(&mut self, ids: &[i32]) -> Result<Event, Failure> {
        self.ask(async |worker| {
            let asked = ids.iter().map(|id| worker.parts.registry.schema_by_id(*id));
            Ok(futures::future::try_join_all(asked).await.map(Event::Learnt).map_err(|error| error.to_string()))
        })
    }

    /// A producer whose last EndTxn may have been sent twice is replaced: the epoch's bump kills the copy (F4).
    fn recycle(&mut self) -> Result<Option<WriterId>, Failure> {
        if !self.producer.is_suspect() {
            return Ok(None);
        }
        while self.producer.is_suspect() {
            let stream = &self.worker.settings.stream;
            tracing::info!(%stream, "the producer is recycled");
            metrics::recycled(stream);
            let id = self.worker.transactional_id();
            self.producer = self.worker.blocking(|| Producer::start(&self.worker.options.kafka, &id))?;
        }
        Ok(Some(self.worker.fresh_writer()))
    }
}

/// A store that does not answer is waited for; one that refuses is not.
fn waiting<T>(answer: Result<T, state::Error>, event: fn(T) -> Event) -> Result<Result<Event, String>, Failure> {
    match answer {
        Ok(answer) => Ok(Ok(event(answer))),
        Err(state::Error::Unavailable(error)) => Ok(Err(error)),
        Err(error) => Err(Failure::Restart(format!("the store: {error}"))),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
