//! The limit: what the bare client does with the same records in transactions of the same length, without any state.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chassis::ffi;
use clap::Args;
use hdrhistogram::Histogram;
use loadtest::machine;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::figures::Figures;
use crate::model::STREAM;
use crate::plain::Plain;
use crate::reader::{Counted, Moment, histogram};
use crate::stream::Deployment;

/// Longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(30);

/// A run of the bare client.
#[derive(Args, Clone, Debug)]
pub(crate) struct Raw {
    #[command(flatten)]
    input: Plain,
    /// Length of a transaction, ms.
    #[arg(long, default_value_t = 100)]
    commit_ms: u64,
    /// Name of the run in tables.
    #[arg(long, default_value = "bare client")]
    name: String,
}

/// Counts reports.
#[derive(Default)]
struct Reports {
    failed: AtomicU64,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Clients {
    consumer: BaseConsumer,
    producer: ThreadedProducer<Reports>,
    input: String,
    output: String,
    commits: Histogram<u64>,
}

impl Raw {
    /// Runs it and prints its figures.
    pub(crate) fn run(&self) -> Result<()> {
        let (tokio, deployment) = self.input.fed()?;
        let mut clients = Clients::start(&deployment)?;
        let (counted, begun) = clients.copy(self.input.events, Duration::from_millis(self.commit_ms))?;
        let mut figures =
            Figures::of(&self.name, &counted, begun, clients.producer.context().failed.load(Ordering::Relaxed) == 0);
        let memory = machine::memory(std::process::id())?;
        (figures.rss_mib, figures.peak_mib) = (memory.now_mib, memory.peak_mib);
        let ms = |quantile| clients.commits.value_at_quantile(quantile) as f64 / 1e3;
        (figures.commits, figures.commit_p50_ms, figures.commit_p99_ms) = (clients.commits.len(), ms(0.5), ms(0.99));
        figures.print();
        drop(clients);
        tokio.block_on(deployment.delete())
    }
}

impl Clients {
    fn start(deployment: &Deployment) -> Result<Self> {
        let id = format!("{}raw", deployment.prefix);
        let mut config = deployment.kafka.group_consumer(&id, "raw");
        config
            .set("auto.offset.reset", "earliest")
            .set("queued.min.messages", "200000")
            .set("queued.max.messages.kbytes", "65536");
        let consumer: BaseConsumer = config.create().context("the consumer")?;
        let mut config = deployment.kafka.transactional(&id);
        config.set("queue.buffering.max.messages", "500000").set("transaction.timeout.ms", "60000");
        let producer: ThreadedProducer<Reports> = config.create_with_context(Reports::default()).context("the producer")?;
        producer.init_transactions(ANSWER)?;
        let (input, output) = (deployment.topics.events(STREAM), deployment.topics.results(STREAM));
        consumer.subscribe(&[&input])?;
        Ok(Self { consumer, producer, input, output, commits: histogram()? })
    }

    /// Copies `events` records, each with its last byte changed.
    fn copy(&mut self, events: u64, every: Duration) -> Result<(Counted, Moment)> {
        let (mut done, mut first, mut half) = (0, None, None);
        let mut positions = std::collections::BTreeMap::new();
        let mut open: Option<Instant> = None;
        let mut value = Vec::new();
        let last = loop {
            if let Some(message) = self.consumer.poll(Duration::from_millis(if open.is_some() { 1 } else { 100 })).transpose()? {
                first.get_or_insert(moment(0)?);
                if open.is_none() {
                    open = Some(Instant::now());
                    self.producer.begin_transaction()?;
                }
                value.clear();
                value.extend_from_slice(message.payload().unwrap_or_default());
                if let Some(last) = value.last_mut() {
                    *last ^= 1;
                }
                let record = BaseRecord::to(&self.output).key(message.key().unwrap_or_default()).payload(&value);
                send(&self.producer, record.partition(message.partition()))?;
                positions.insert(message.partition(), message.offset() + 1);
                done += 1;
            }
            if open.is_some_and(|begun| begun.elapsed() >= every || done == events) {
                open = None;
                self.commit(std::mem::take(&mut positions))?;
                if half.is_none() && done >= events / 2 {
                    half = Some(moment(done)?);
                }
                if done == events {
                    break moment(done)?;
                }
            }
        };
        let (first, half) = (first.unwrap_or(last), half.unwrap_or(last));
        Ok((Counted { first, half, last, sum: 0, latency: histogram()? }, first))
    }

    fn commit(&mut self, positions: std::collections::BTreeMap<i32, i64>) -> Result<()> {
        let begun = Instant::now();
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in positions {
            offsets.add_partition_offset(&self.input, partition, Offset::Offset(offset))?;
        }
        // librdkafka's own flush, without the wrapper's slices of 100 ms
        ensure!(ffi::flush(&self.producer, ANSWER), "the records were not acknowledged within {ANSWER:?}");
        let metadata = self.consumer.group_metadata().context("the consumer has no group")?;
        self.producer.send_offsets_to_transaction(&offsets, &metadata, ANSWER)?;
        self.producer.commit_transaction(ANSWER)?;
        self.commits.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
        Ok(())
    }
}

fn moment(records: u64) -> Result<Moment> {
    Ok(Moment { at: Instant::now(), cpu: machine::cpu_time(std::process::id())?, reader_cpu: Duration::ZERO, records })
}

fn send(producer: &ThreadedProducer<Reports>, mut record: BaseRecord<'_, [u8], Vec<u8>>) -> Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                ffi::flush(producer, Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error).context("a record"),
        }
    }
}
