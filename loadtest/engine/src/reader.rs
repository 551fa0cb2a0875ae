//! Results as a stranger sees them: read_committed, from the beginning, counted and added up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chassis::kafka::Settings;
use hdrhistogram::Histogram;
use loadtest::machine;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

/// Nothing came for this long: something is broken.
const STALLED: Duration = Duration::from_secs(60);
/// Who reads a topic that is not there yet waits this long.
const METADATA: Duration = Duration::from_secs(20);

/// Reads a topic; its threads are known, so that their CPU time can be told apart.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    threads: Vec<u32>,
}

/// A point in time on the way.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) cpu: Duration,
    pub(crate) reader_cpu: Duration,
    pub(crate) records: u64,
}

/// What was read.
pub(crate) struct Counted {
    pub(crate) first: Moment,
    pub(crate) half: Moment,
    pub(crate) last: Moment,
    pub(crate) sum: u64,
    /// From what `latency` of a record said to the reader's clock, µs.
    pub(crate) latency: Histogram<u64>,
}

/// A histogram of times in µs, up to an hour.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000, 3)?)
}

impl Reader {
    /// Assigns all partitions from their beginnings. To be called while no other threads are being started.
    pub(crate) fn start(kafka: &Settings, topic: &str) -> Result<Self> {
        let before = machine::thread_times()?;
        let mut config = kafka.log_reader();
        config.set("enable.partition.eof", "false").set("fetch.wait.max.ms", "50").set("queued.max.messages.kbytes", "8192");
        let consumer: BaseConsumer = config.create().context("the reader")?;
        let metadata = consumer.fetch_metadata(Some(topic), METADATA)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, i32::try_from(partition)?, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        // the first fetches connect to brokers, which starts the last threads
        let _nothing = consumer.poll(Duration::from_millis(500));
        let threads = machine::thread_times()?.into_keys().filter(|thread| !before.contains_key(thread)).collect();
        Ok(Self { consumer, threads })
    }

    /// The next record, if one comes in time.
    pub(crate) fn poll(&self, within: Duration) -> Result<Option<BorrowedMessage<'_>>> {
        self.consumer.poll(within).transpose().context("reading results")
    }

    fn moment(&self, records: u64) -> Result<Moment> {
        let mut times: BTreeMap<_, _> = machine::thread_times()?;
        // the thread that polls is this one, the main thread
        let own = std::process::id();
        times.retain(|thread, _| *thread == own || self.threads.contains(thread));
        let cpu = machine::cpu_time(std::process::id())?;
        Ok(Moment { at: Instant::now(), cpu, reader_cpu: times.values().sum(), records })
    }

    /// Reads `expected` records, then looks whether more come than there may be.
    pub(crate) fn count(
        &self,
        expected: u64,
        value: impl Fn(&[u8]) -> Option<u64>,
        mut latency: impl FnMut(&BorrowedMessage<'_>) -> Option<u64>,
    ) -> Result<Counted> {
        let mut records = 0;
        let (mut sum, mut first, mut half) = (0, None, None);
        let mut histogram = histogram()?;
        let mut seen = Instant::now();
        let last = loop {
            let Some(message) = self.poll(Duration::from_millis(100))? else {
                if seen.elapsed() > STALLED {
                    bail!("no result for {STALLED:?} after {records} of {expected}");
                }
                continue;
            };
            seen = Instant::now();
            records += 1;
            sum += message.payload().and_then(&value).context("a result that cannot be read")?;
            if let Some(late) = latency(&message) {
                histogram.saturating_record(late);
            }
            if first.is_none() {
                first = Some(self.moment(records)?);
            }
            if half.is_none() && records >= expected / 2 {
                half = Some(self.moment(records)?);
            }
            if records == expected {
                break self.moment(records)?;
            }
        };
        if self.poll(Duration::from_secs(1))?.is_some() {
            bail!("more than the {expected} results there may be");
        }
        let (first, half) = (first.unwrap_or(last), half.unwrap_or(last));
        Ok(Counted { first, half, last, sum, latency: histogram })
    }
}
