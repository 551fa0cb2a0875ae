//! Reading shards back: mark, barrier, committed log, dedupe window.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::kafka::watermarks;
use futures::future::try_join_all;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use schemas::catalog::FollowStart;
use state::{Mark, Shard, StateStore, store};

use super::seek::{Seek, moved};
use crate::engine::Failure;
use crate::engine::assignment::{Assignment, ShardState};
use crate::engine::headers::HeaderList;
use crate::engine::input::Inlet;
use crate::engine::recover::{Halt, LogRecord, LogStart};
use crate::engine::settings::Settings;
use crate::metrics;
use crate::restore::{Plan, restore};

/// One look at a partition's ends.
const WATERMARKS: Duration = Duration::from_secs(10);
/// A partition that cannot be read is asked for this long before it counts as gone.
const EXAMINE: Duration = Duration::from_secs(5);
/// Between two looks at the stable end while the barrier holds.
const BARRIER_POLL: Duration = Duration::from_millis(20);

/// What the headers of a record mostly take; more is made room for.
const HEADERS_BYTES: usize = 256;

/// Errors of these clients come back from their calls; ends of partitions are no errors.
struct ReaderContext;

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "log reader");
    }
}

impl ConsumerContext for ReaderContext {}

/// Clients that recovery needs; they live as long as the worker.
pub(crate) struct Recovery {
    /// read_committed, no group: reads logs to their end.
    reader: BaseConsumer<ReaderContext>,
    /// read_uncommitted: the true end of a log (F11).
    barrier: BaseConsumer<ReaderContext>,
    log_topic: String,
    deadline: Duration,
}

/// Running shards, and those that must not run.
pub(crate) type Recovered = (Vec<ShardState>, Vec<(i32, Halt)>);

/// Asks for the group's offsets of these shards.
type Committed<'a> = dyn Fn(&[i32]) -> Option<BTreeMap<i32, i64>> + 'a;

/// What a recovery is told besides the shards.
pub(crate) struct Order<'a> {
    pub(crate) shards: &'a [i32],
    pub(crate) settings: &'a Settings,
    pub(crate) store: &'a Arc<dyn StateStore>,
    pub(crate) tokio: &'a tokio::runtime::Handle,
    /// The group's offsets of the input; none when it did not answer in time.
    pub(crate) committed: &'a Committed<'a>,
    /// Frames that retention removed before they were applied are passed over.
    pub(crate) gap_accepted: bool,
    /// Only this is wanted.
    pub(crate) seek: Option<&'a Seek>,
    /// Topics that shards read.
    pub(crate) inputs: &'a [String],
}

impl Recovery {
    pub(crate) fn new(kafka: &chassis::kafka::Settings, log_topic: String, deadline: Duration) -> Result<Self, Failure> {
        let create = |config: rdkafka::ClientConfig| {
            config.create_with_context(ReaderContext).map_err(|error: KafkaError| Failure::Restart(error.to_string()))
        };
        Ok(Self { reader: create(kafka.log_reader())?, barrier: create(kafka.barrier())?, log_topic, deadline })
    }

    /// Reads shards back and brings the store up to the committed end of each log.
    pub(crate) fn run(&self, order: &Order<'_>) -> Result<Recovered, Failure> {
        let Order { shards, settings, store, tokio, .. } = order;
        let begun = Instant::now();
        let names: Vec<_> = shards.iter().map(|number| Assignment::name(&settings.stream, *number)).collect();
        let marks = tokio.block_on(try_join_all(names.iter().map(|shard| store.mark(shard)))).map_err(unavailable)?;
        let mut plans = Vec::new();
        let mut halted = Vec::new();
        for (shard, mark) in names.into_iter().zip(marks) {
            match self.pass_barrier(&shard, mark.as_ref(), begun)? {
                Ok(offset) => {
                    let log_start = LogStart { offset, group_agrees: false, gap_accepted: order.gap_accepted };
                    plans.push(Plan { shard, mark, log_start });
                }
                Err(halt) => halted.push((shard.number, halt)),
            }
        }
        // not before the barrier: the answer would wait for a dead owner's transaction and not say so
        let committed = (order.committed)(shards);
        for plan in &mut plans {
            plan.log_start.group_agrees = agrees(committed.as_ref(), plan, settings);
        }
        let mut records = self.read(&plans)?;
        let mut running = Vec::new();
        for plan in plans {
            let number = plan.shard.number;
            let records = records.remove(&number).unwrap_or_default();
            match tokio.block_on(restore(plan, &records, settings, &***store)).map_err(unavailable)? {
                Ok(mut shard) => {
                    self.begin_followed(&mut shard, order)?;
                    self.seek(&mut shard, order)?;
                    running.push(shard);
                }
                Err(halt) => halted.push((number, halt)),
            }
        }
        if let Some(seek) = order.seek
            && !running.iter().any(|shard| shard.shard.number == seek.shard)
        {
            let why = halted.iter().find(|(number, _)| *number == seek.shard).map(|(_, halt)| halt.to_string());
            let why = why.unwrap_or_else(|| "another member of the group has it, or there is no such shard".to_owned());
            return Err(Failure::Restart(format!("shard {} of {}: {why}", seek.shard, settings.stream)));
        }
        for (number, halt) in &halted {
            tracing::error!(stream = %settings.stream, shard = number, %halt, "the shard is halted");
        }
        compare(committed.as_ref(), &running, settings);
        metrics::recovered(&settings.stream, begun.elapsed());
        Ok((running, halted))
    }

    /// Moves the positions of the shard that an operator wants moved. The others must be here too: nobody else may run.
    fn seek(&self, shard: &mut ShardState, order: &Order<'_>) -> Result<(), Failure> {
        let Some(seek) = order.seek.filter(|seek| seek.shard == shard.shard.number) else { return Ok(()) };
        if order.shards.len() as i64 != i64::from(order.settings.partitions) {
            return Err(Failure::Restart("another member has joined the group: stop it first".into()));
        }
        let end_of = |feed: usize| Ok(self.ends_of(&self.reader, &order.inputs[feed], seek.shard)?.1);
        moved(shard, seek, order.settings, end_of)?.map_err(Failure::Restart)
    }

    /// Where a followed stream starts that the shard has never read.
    fn begin_followed(&self, shard: &mut ShardState, order: &Order<'_>) -> Result<(), Failure> {
        for feed in shard.unread(order.settings) {
            let Some(follow) = order.settings.followed(feed) else { continue };
            let (first, end) = self.ends_of(&self.reader, &order.inputs[feed.0], shard.shard.number)?;
            let offset = if follow.start == FollowStart::Latest { end } else { first };
            tracing::info!(shard = %shard.shard, topic = %follow.topic, offset, "a followed stream begins");
            shard.begin(&follow.topic, offset);
        }
        Ok(())
    }

    /// Which of these shards cannot be read on at `positions`, and why. Blocks for up to `EXAMINE` and the time of two answers.
    pub(crate) fn examine(&self, inputs: &[String], positions: &BTreeMap<Inlet, i64>) -> Vec<(Inlet, Halt)> {
        let begun = Instant::now();
        let mut halted = Vec::new();
        for (inlet, position) in positions {
            let (topic, position) = (inputs[inlet.feed.0].clone(), *position);
            let halt = loop {
                break match watermarks(&self.barrier, &topic, inlet.shard, WATERMARKS) {
                    Ok((start, _)) if start > position => Some(Halt::EventsGone { topic, position, start }),
                    Ok((_, end)) if end < position => Some(Halt::EventsTruncated { topic, position, end }),
                    Ok(_) => None,
                    // a broker that just started does not know its partitions yet
                    Err(_) if begun.elapsed() < EXAMINE => {
                        std::thread::park_timeout(BARRIER_POLL);
                        continue;
                    }
                    Err(error) => missing(&error).then_some(Halt::EventsMissing { topic }),
                };
            };
            halted.extend(halt.map(|halt| (*inlet, halt)));
        }
        halted
    }

    /// Waits until everything below the log's end is decided (I1), at most until the deadline of the whole recovery has
    /// passed: the group waits for it. Returns the log's first offset.
    fn pass_barrier(&self, shard: &Shard, mark: Option<&Mark>, begun: Instant) -> Result<Result<i64, Halt>, Failure> {
        let ends = |consumer: &BaseConsumer<ReaderContext>| self.ends(consumer, shard.number);
        let (start, end) = ends(&self.barrier)?;
        let applied = mark.map_or(0, |mark| mark.applied);
        if end < applied {
            return Ok(Err(Halt::Truncated { end, applied }));
        }
        loop {
            let (_, stable) = ends(&self.reader)?;
            if stable >= end {
                return Ok(Ok(start));
            }
            if begun.elapsed() > self.deadline {
                return Ok(Err(Halt::HangingTransaction { stable, end }));
            }
            std::thread::park_timeout(BARRIER_POLL);
        }
    }

    /// First offset and end of a log, as `consumer` sees them. A partition without leader is asked again.
    fn ends(&self, consumer: &BaseConsumer<ReaderContext>, partition: i32) -> Result<(i64, i64), Failure> {
        self.ends_of(consumer, &self.log_topic, partition)
    }

    fn ends_of(&self, consumer: &BaseConsumer<ReaderContext>, topic: &str, partition: i32) -> Result<(i64, i64), Failure> {
        let begun = Instant::now();
        loop {
            match watermarks(consumer, topic, partition, WATERMARKS) {
                Ok(ends) => return Ok(ends),
                Err(error) if begun.elapsed() > self.deadline => {
                    return Err(Failure::Restart(format!("the ends of {topic}/{partition}: {error}")));
                }
                Err(error) => {
                    tracing::debug!(%error, partition, "the ends of the log are not known yet");
                    std::thread::park_timeout(BARRIER_POLL);
                }
            }
        }
    }

    /// Committed records of every log from its plan's offset to its end.
    fn read(&self, plans: &[Plan]) -> Result<HashMap<i32, Vec<LogRecord>>, Failure> {
        let failed = |error: KafkaError| Failure::Restart(format!("reading {}: {error}", self.log_topic));
        let mut partitions = TopicPartitionList::with_capacity(plans.len());
        let mut open: BTreeMap<i32, ()> = BTreeMap::new();
        for plan in plans {
            partitions.add_partition_offset(&self.log_topic, plan.shard.number, Offset::Offset(plan.from())).map_err(failed)?;
            open.insert(plan.shard.number, ());
        }
        let mut records: HashMap<i32, Vec<LogRecord>> = HashMap::new();
        self.reader.assign(&partitions).map_err(failed)?;
        let begun = Instant::now();
        while !open.is_empty() {
            match self.reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let record = LogRecord {
                        offset: message.offset(),
                        headers: headers_of(&message),
                        value: bytes::Bytes::copy_from_slice(message.payload().unwrap_or_default()),
                    };
                    records.entry(message.partition()).or_default().push(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => return Err(failed(error)),
                None if begun.elapsed() > self.deadline => {
                    let left: Vec<_> = open.into_keys().collect();
                    return Err(Failure::Restart(format!(
                        "{} partitions {left:?} could not be read to their end",
                        self.log_topic
                    )));
                }
                None => {}
            }
        }
        self.reader.unassign().map_err(failed)?;
        Ok(records)
    }
}

/// Does the group know the shard exactly where the mark does?
fn agrees(committed: Option<&BTreeMap<i32, i64>>, plan: &Plan, settings: &Settings) -> bool {
    let position = plan.mark.as_ref().and_then(|mark| mark.positions.get(&*settings.events).copied());
    position.is_some() && position == committed.and_then(|offsets| offsets.get(&plan.shard.number).copied())
}

/// The trailer wins over the group's offsets, whatever they say; but somebody should know that they differ.
fn compare(committed: Option<&BTreeMap<i32, i64>>, running: &[ShardState], settings: &Settings) {
    let Some(committed) = committed else {
        tracing::warn!(stream = %settings.stream, "the group's offsets are not known; the log's positions are used as always");
        metrics::offsets_differ(&settings.stream);
        return;
    };
    for shard in running {
        let number = shard.shard.number;
        let (position, group) = (shard.position(&settings.events), committed.get(&number).copied());
        if group.unwrap_or(0) != position {
            tracing::error!(shard = %shard.shard, position, group, "the group's offset is not the log's position; the log wins");
            metrics::offsets_differ(&settings.stream);
        }
    }
}

fn missing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn unavailable(error: store::Error) -> Failure {
    Failure::Restart(format!("the store during recovery: {error}"))
}

/// Copies the headers of a record.
pub(crate) fn headers_of(message: &impl Message) -> HeaderList {
    let Some(headers) = message.headers() else { return HeaderList::default() };
    let mut list = HeaderList::builder(HEADERS_BYTES);
    for header in headers.iter() {
        list.push(header.key, header.value.unwrap_or_default());
    }
    list.finish()
}
