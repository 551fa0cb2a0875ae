//! From the broker into the rings: finds the results topics, reads all their partitions with committed records only, and keeps
//! positions over holes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::mpsc;

use chassis::kafka::Settings;
use chassis::kafka::tail::{Source, Start, Tail, TailEvent, TailRecord};
use chassis::lifecycle::{Lifecycle, Stop};
use schemas::catalog::Catalog;
use schemas::frame;
use schemas::names::{self, Topics};
use schemas::registry::Registry;

use crate::clock::now_ms;
use crate::hub::Hub;
use crate::pulse::{Meter, Pulse};
use crate::ring::{self, Entry, Origin, Partition, Total};

use writers::Writers;

mod discover;
mod writers;

/// How often new results topics are looked for.
const DISCOVERY: Duration = Duration::from_secs(10);
/// The first discovery is repeated this often until the broker answers.
const DISCOVERY_FIRST: Duration = Duration::from_secs(1);
/// The name of the feed among the components of `/health/ready`.
const COMPONENT: &str = "notifier-feed";

/// A stream as this node holds it.
#[derive(Debug)]
pub struct Stream {
    /// Its name.
    pub name: Arc<str>,
    /// One ring per partition.
    pub partitions: Vec<Partition>,
    /// Its rates and latencies.
    pub meter: Meter,
}

impl Stream {
    /// Whether every partition's position has once reached the stable end.
    fn is_known(&self) -> bool {
        self.partitions.iter().all(|partition| partition.as_of_ms() > 0)
    }
}

/// All streams of the node in the order of their discovery; an index names a stream for good.
#[derive(Debug, Default)]
pub struct Streams {
    all: ArcSwap<Vec<Arc<Stream>>>,
    /// Everything found at the start has once been read to its end.
    ready: AtomicBool,
}

impl Streams {
    /// The streams.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<Arc<Stream>>> {
        self.all.load_full()
    }

    /// The stream of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.all.load().iter().find(|stream| *stream.name == *name).cloned()
    }

    /// Whether subscriptions from now on mean what they say.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn add(&self, stream: &Arc<Stream>) {
        self.all.rcu(|all| all.iter().cloned().chain([Arc::clone(stream)]).collect::<Vec<_>>());
    }
}

/// What the feed works with.
#[derive(Clone)]
pub struct Feed {
    /// The broker.
    pub kafka: Settings,
    /// Names of topics.
    pub topics: Topics,
    /// Declared streams.
    pub catalog: Arc<Catalog>,
    /// Schemas by id.
    pub registry: Arc<Registry>,
    /// Bounds of the rings.
    pub limits: ring::Limits,
    /// Where streams are put.
    pub streams: Arc<Streams>,
    /// Who is woken.
    pub hub: Arc<Hub>,
    /// Where is counted.
    pub pulse: Arc<Pulse>,
    /// Whose tasks they are.
    pub lifecycle: Lifecycle,
}

impl Feed {
    /// Begins: discovery now and every 10 s, one reader per stream.
    pub fn start(self) {
        self.lifecycle.set_ready(COMPONENT, false, "looking for results topics");
        let lifecycle = self.lifecycle.clone();
        let stop = lifecycle.stop();
        lifecycle.spawn_critical("notifier-discovery", self.discover(stop));
    }

    /// Reads `stream`, whose topic has `partitions` partitions, from `start` on.
    fn read(&self, name: &str, partitions: i32, start: Start, total: &Arc<Total>) -> Result<(), chassis::kafka::tail::Error> {
        let count = usize::try_from(partitions).unwrap_or(0);
        let stream = Arc::new(Stream {
            name: name.into(),
            partitions: (0..count).map(|_| Partition::new(self.limits, Arc::clone(total))).collect(),
            meter: self.pulse.meter(name),
        });
        let topic = self.topics.results(name);
        let sources = (0..partitions).map(|partition| Source { topic: topic.clone(), partition, start }).collect();
        let options = chassis::kafka::tail::Options { name: "notifier-tail", ..Default::default() };
        let (tail, events) = Tail::start(&self.kafka, &options, sources, &self.lifecycle)?;
        let writers = Writers::new(name, &self.catalog, Arc::clone(&self.registry));
        self.streams.add(&stream);
        let reader = Reader { stream, writers, hub: Arc::clone(&self.hub) };
        self.lifecycle.spawn_critical("notifier-feed", reader.run(tail, events, self.lifecycle.stop()));
        tracing::info!(stream = name, partitions, "results are read");
        Ok(())
    }
}

/// Moves one stream from its tail into its rings.
struct Reader {
    stream: Arc<Stream>,
    writers: Writers,
    hub: Arc<Hub>,
}

impl Reader {
    async fn run(
        mut self,
        tail: Tail,
        mut events: mpsc::Receiver<TailEvent>,
        stop: Stop,
    ) -> Result<(), std::convert::Infallible> {
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                event = events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => break,
                },
            }
            // everything that is there, then one wake for all of it
            while let Ok(event) = events.try_recv() {
                self.take(event).await;
            }
            self.hub.wake();
        }
        // the tail reads for as long as its handle lives
        drop(tail);
        Ok(())
    }

    async fn take(&mut self, event: TailEvent) {
        match event {
            TailEvent::Record(record) => self.append(record).await,
            TailEvent::Position { partition, offset, at_ms, .. } => {
                if let Some(ring) = self.ring(partition) {
                    ring.advance(offset, at_ms);
                    self.stream.meter.position(age_ms(&self.stream));
                }
            }
            TailEvent::Lost { partition, resumes, reason, .. } => {
                tracing::warn!(stream = %self.stream.name, partition, resumes, reason, "results are lost to this node");
                if let Some(ring) = self.ring(partition) {
                    ring.restart(resumes);
                }
            }
        }
    }

    fn ring(&self, partition: i32) -> Option<&Partition> {
        usize::try_from(partition).ok().and_then(|index| self.stream.partitions.get(index))
    }

    async fn append(&mut self, record: TailRecord) {
        self.stream.meter.result(record.timestamp_ms, caused_at(&record));
        let value = record.value.unwrap_or_default();
        let (id, datum) = match frame::split(&value) {
            Ok((id, datum)) => (Some(id), value.slice_ref(datum)),
            Err(_) => (None, Bytes::new()),
        };
        let writer = match id {
            Some(id) => self.writers.get(id).await,
            None => None,
        };
        if writer.is_none() {
            self.stream.meter.bad();
        }
        let subject = String::from_utf8_lossy(&record.key);
        let channel = format!("{}/{subject}", self.stream.name).into_boxed_str();
        let entry = Entry::new(record.offset, record.timestamp_ms, channel, origin(record.headers), writer, datum);
        // what the engine tells itself is nobody's channel, but its place in the log counts
        if let Some(ring) = self.ring(record.partition) {
            if subject.starts_with('~') { ring.advance(record.offset + 1, 0) } else { ring.append(entry) }
        }
    }
}

/// Append time of the input, ms.
fn caused_at(record: &TailRecord) -> Option<i64> {
    let (_, value) = record.headers.iter().find(|(name, _)| name == names::HEADER_CAUSED_AT)?;
    let time: jiff::Timestamp = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(time.as_millisecond())
}

fn origin(headers: Vec<(String, Bytes)>) -> Origin {
    let mut origin = Origin::default();
    for (name, value) in headers {
        match name.as_str() {
            names::HEADER_SEQ => origin.seq = seq(&value),
            names::HEADER_CE_ID => origin.eid = Some(value),
            names::HEADER_CE_SOURCE => origin.source = Some(value),
            names::HEADER_CE_TYPE => origin.ce_type = Some(value),
            names::HEADER_CE_TIME => origin.time = Some(value),
            names::HEADER_CAUSE => origin.cause = Some(value),
            names::HEADER_TRACEPARENT => origin.trace = Some(value),
            _ => {}
        }
    }
    origin
}

/// Numbers begin at 1; anything else is no number of ours.
fn seq(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok().filter(|seq| *seq > 0)
}

/// How old the position of a stream's slowest partition is, ms; `None` before all are known.
#[must_use]
pub fn age_ms(stream: &Stream) -> Option<i64> {
    let oldest = stream.partitions.iter().map(Partition::as_of_ms).min()?;
    (oldest > 0).then(|| (now_ms() - oldest).max(0))
}
