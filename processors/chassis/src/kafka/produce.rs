//! The acknowledged producer of the edge: idempotent, all in-sync replicas, one report per record whatever happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig, ThreadedProducer};
use tokio::sync::Notify;

use crate::kafka::{Settings, topics};
use crate::lifecycle::Lifecycle;
use crate::metrics::PRODUCER_REBUILDS;

pub use acks::{Acks, Cause, Outcome};
use context::{Context, cause};
pub use progress::Progress;

mod acks;
mod context;
mod progress;

/// A producer beyond repair is replaced; if that fails it is tried again after this time.
const REBUILD_PAUSE: Duration = Duration::from_millis(500);

/// Sizes and times of the producer.
#[derive(Clone, Debug)]
pub struct Options {
    /// A record without an acknowledgement for this long is given up; its report then says whether it may have been written.
    pub message_timeout: Duration,
    /// How long records wait for company in a batch.
    pub linger: Duration,
    /// Bytes the queue may hold; twice what admission lets in, so that it is never the first to be full.
    pub queue_bytes: usize,
    /// Largest record, bytes.
    pub record_bytes: usize,
    /// How often librdkafka's statistics become metrics.
    pub statistics: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            message_timeout: Duration::from_secs(10),
            linger: Duration::from_millis(1),
            queue_bytes: 512 * 1024 * 1024,
            record_bytes: 1_000_000,
            statistics: Duration::from_secs(5),
        }
    }
}

/// Why the producer cannot start or is not ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong.
    #[error("the kafka producer cannot start: {0}; check the kafka settings")]
    Client(#[from] KafkaError),
    /// A topic is not as the catalog says, or the broker cannot be reached.
    #[error(transparent)]
    Topics(#[from] topics::Error),
    /// Nothing at all was acknowledged.
    #[error("no broker of {bootstrap} acknowledged a record within {waited:?}: {last}")]
    Silent {
        /// Where the broker should be.
        bootstrap: String,
        /// For how long.
        waited: Duration,
        /// The last report.
        last: String,
    },
}

/// A record to send. Its parts are copied.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Name of the topic, prefix included.
    pub topic: &'a str,
    /// The partition; always explicit.
    pub partition: i32,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// Headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Handle to the process's producer; cheap to clone.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    options: Options,
    current: ArcSwap<ThreadedProducer<Context>>,
    progress: Arc<Progress>,
    trouble: Arc<Notify>,
    replacing: AtomicBool,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("bootstrap", &self.inner.settings.bootstrap).finish_non_exhaustive()
    }
}

impl Producer {
    /// Starts the client; it connects in the background. It lives until the core of `lifecycle` stops: what is unsent then is purged and
    /// reported.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn start(settings: &Settings, options: &Options, lifecycle: &Lifecycle) -> Result<Self, Error> {
        let (progress, trouble) = (Arc::new(Progress::default()), Arc::new(Notify::new()));
        let first = create(settings, options, &progress, &trouble)?;
        let inner = Inner {
            settings: settings.clone(),
            options: options.clone(),
            current: ArcSwap::from_pointee(first),
            progress,
            trouble,
            replacing: AtomicBool::new(false),
        };
        let producer = Self { inner: Arc::new(inner) };
        let (core, kept) = (lifecycle.core(), producer.clone());
        let stop = core.stop();
        core.spawn("kafka producer", async move {
            loop {
                tokio::select! {
                    () = kept.inner.trouble.notified() => kept.replace_if_broken().await,
                    () = stop.wait() => break,
                }
            }
            let last = kept.inner.current.load_full();
            // reports of purged records are served by the client's own thread
            last.purge(PurgeConfig::default().queue().inflight());
            Ok::<(), Error>(())
        });
        Ok(producer)
    }

    /// Gives a record to the client. Never blocks and never fails: what goes wrong at once is put into slot `index` of `acks`, everything
    /// else comes with the report.
    pub fn send(&self, record: Record<'_>, acks: &Arc<Acks>, index: usize) {
        let Ok(slot) = u32::try_from(index) else {
            acks.set(index, Outcome::NotPersisted(Cause::Other("too many records in one request".to_owned())));
            return;
        };
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let full = BaseRecord::with_opaque_to(record.topic, Box::new((Arc::clone(acks), slot)))
            .partition(record.partition)
            .key(record.key)
            .payload(record.value)
            .headers(headers);
        self.inner.progress.sent(record.topic, record.partition);
        if let Err((error, _)) = self.inner.current.load().send(full) {
            self.inner.progress.failed(record.topic, record.partition);
            acks.set(index, at_once(&error));
        }
    }

    /// What is in flight and when it last moved, per partition.
    pub fn progress(&self) -> &Progress {
        &self.inner.progress
    }

    /// Records waiting in the client or on their way, and those whose reports are being served right now.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.inner.current.load().in_flight_count()).unwrap_or_default()
    }

    /// The client is beyond repair and being replaced.
    pub fn is_broken(&self) -> bool {
        self.inner.replacing.load(Ordering::Relaxed)
    }

    /// Fetches what the first requests would otherwise wait for: every topic's metadata, a producer id, and an acknowledgement of every
    /// partition of `canary`. Returns the partitions of `topics` that have no leader. After `deadline` one acknowledgement is enough.
    ///
    /// # Errors
    /// A topic is missing or has another number of partitions, the broker cannot be reached, or nothing at all was acknowledged.
    pub async fn warm_up(&self, topics: &[(String, i32)], canary: &str, deadline: Duration) -> Result<Vec<(String, i32)>, Error> {
        let begun = Instant::now();
        self.inner.progress.follow(topics);
        let found = topics::describe(&self.inner.settings, deadline).await?;
        let mut leaderless = Vec::new();
        for (name, partitions) in topics {
            let topic = found.expect(name, *partitions)?;
            leaderless.extend(topic.leaderless.iter().map(|partition| (name.clone(), *partition)));
        }
        let partitions = found.partitions(canary)?;
        self.know(topics.iter().map(|(name, _)| name.clone()).collect(), deadline).await;
        let last = self.probe_all(canary, partitions, deadline.saturating_sub(begun.elapsed())).await;
        match last {
            Ok(()) => Ok(leaderless),
            Err(last) => Err(Error::Silent { bootstrap: self.inner.settings.bootstrap.clone(), waited: begun.elapsed(), last }),
        }
    }

    /// Makes the client itself know the topics, so that a first record finds its broker at once.
    async fn know(&self, names: Vec<String>, limit: Duration) {
        let client = self.inner.current.load_full();
        let asked = tokio::task::spawn_blocking(move || {
            for name in names {
                if let Err(error) = client.client().fetch_metadata(Some(&name), limit) {
                    tracing::warn!(topic = name, %error, "metadata did not come; the first record will fetch it");
                }
            }
        });
        if asked.await.is_err() {
            tracing::warn!("fetching metadata panicked");
        }
    }

    /// Ok when all partitions acknowledged, or at least one until `limit`.
    async fn probe_all(&self, canary: &str, partitions: i32, limit: Duration) -> Result<(), String> {
        let count = usize::try_from(partitions).unwrap_or_default();
        let acks = Acks::new(count);
        for (index, partition) in (0..partitions).enumerate() {
            self.send(Record { topic: canary, partition, key: b"warm-up", value: b"", headers: &[] }, &acks, index);
        }
        // a timeout is judged like a partial success: one acknowledgement proves the way
        let _ = tokio::time::timeout(limit, acks.wait()).await;
        let mut last = "no report".to_owned();
        for index in 0..count {
            match acks.outcome(index) {
                Outcome::Acked { .. } => return Ok(()),
                Outcome::Pending => {}
                Outcome::TooLarge => last = "too large".to_owned(),
                Outcome::NotPersisted(cause) | Outcome::PossiblyPersisted(cause) => last = cause.to_string(),
            }
        }
        Err(last)
    }

    /// Puts a new client into the place of one beyond repair; the old one's records are purged and reported.
    async fn replace_if_broken(&self) {
        let Some((_, reason)) = self.inner.current.load().client().fatal_error() else { return };
        self.inner.replacing.store(true, Ordering::Relaxed);
        metrics::counter!(PRODUCER_REBUILDS).increment(1);
        let next = loop {
            match create(&self.inner.settings, &self.inner.options, &self.inner.progress, &self.inner.trouble) {
                Ok(next) => break next,
                Err(error) => {
                    tracing::error!(%error, "the kafka producer could not be replaced; trying again");
                    tokio::time::sleep(REBUILD_PAUSE).await;
                }
            }
        };
        let old = self.inner.current.swap(Arc::new(next));
        // dropping a client waits for its threads
        let dropped = tokio::task::spawn_blocking(move || {
            old.purge(PurgeConfig::default().queue().inflight());
            drop(old);
        });
        if dropped.await.is_err() {
            tracing::error!("dropping the broken producer panicked");
        }
        self.inner.replacing.store(false, Ordering::Relaxed);
        tracing::warn!(reason, "the kafka producer was replaced after a fatal error");
    }
}

fn create(
    settings: &Settings,
    options: &Options,
    progress: &Arc<Progress>,
    trouble: &Arc<Notify>,
) -> Result<ThreadedProducer<Context>, KafkaError> {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    settings
        .with(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", &milliseconds(options.linger)),
            ("batch.num.messages", "10000"),
            ("batch.size", "1000000"),
            ("compression.type", "lz4"),
            ("message.timeout.ms", &milliseconds(options.message_timeout)),
            ("request.timeout.ms", "4000"),
            ("socket.timeout.ms", "5000"),
            ("statistics.interval.ms", &milliseconds(options.statistics)),
            ("queue.buffering.max.kbytes", &(options.queue_bytes / 1024).clamp(1, 2_000_000).to_string()),
            ("queue.buffering.max.messages", "0"),
            ("message.max.bytes", &options.record_bytes.to_string()),
        ])
        .create_with_context(Context::new(Arc::clone(progress), Arc::clone(trouble)))
}

/// The outcome of a record the client did not take.
fn at_once(error: &KafkaError) -> Outcome {
    match cause(error) {
        None => Outcome::TooLarge,
        Some(cause) => Outcome::NotPersisted(cause),
    }
}
