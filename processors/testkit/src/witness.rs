//! Who reads results and views while everything breaks, and says afterwards whether it was shown anything that is not so.
//!
//! Results come from a read_committed consumer, views from a `StateReader`, as a subscriber and a caller of the read side
//! have them. At once it checks that nothing goes backwards; in the end, that everything it was shown stands in the
//! committed topics.

mod results;
#[cfg(test)]
mod tests;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use chassis::kafka::Settings;
use schemas::names::Topics;
use state::StateStore;

use self::results::Told;
use self::views::{Folds, Shown, poll_views};
use crate::kafka::{Kafka, Record, record};

/// How long one operation of the end may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is watched.
#[derive(Clone)]
pub struct Watched {
    /// Stream name.
    pub stream: String,
    /// Topic names of the deployment.
    pub topics: Topics,
    /// Its store.
    pub store: Arc<dyn StateStore>,
    /// Partitions of the stream.
    pub partitions: i32,
    /// Subjects whose views are asked for.
    pub subjects: Vec<String>,
}

/// A running witness; [`Witness::finish`] asks it for what it saw.
pub struct Witness {
    watched: Watched,
    settings: Settings,
    over: Over,
    results: JoinHandle<Told>,
    views: JoinHandle<Shown>,
}

/// How much was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// Results read while they were made.
    pub results: u64,
    /// Final views.
    pub views: u64,
    /// … of so many different frames.
    pub frames: usize,
}

impl Witness {
    /// Begins to watch. The topics must be there.
    #[must_use]
    pub fn start(kafka: &Kafka, watched: Watched) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let settings = kafka.settings().clone();
        let reading = (settings.clone(), watched.topics.results(&watched.stream), Arc::clone(&over));
        let results = tokio::task::spawn_blocking(move || {
            let (settings, topic, over) = reading;
            let mut told = Told::default();
            read(&settings, &topic, |ended| ended && over.load(Ordering::Relaxed), |record| told.take(record));
            told
        });
        let (tokio, polling) = (Handle::current(), poll_views(watched.clone(), Arc::clone(&over)));
        let views = tokio::task::spawn_blocking(move || tokio.block_on(polling));
        Self { watched, settings, over: Over(over), results, views }
    }

    /// Ends the watching and compares what was seen with what is committed.
    ///
    /// # Panics
    /// When something was seen that is not in the topics, or went backwards; the text says what.
    pub async fn finish(self) -> Testimony {
        self.over.tell();
        let told = self.results.await.expect("the reader of results panicked");
        let shown = self.views.await.expect("the reader of views panicked");
        let testimony = Testimony {
            results: told.partitions.values().map(|seen| seen.count).sum(),
            views: shown.count,
            frames: shown.all.len(),
        };
        let checking = tokio::task::spawn_blocking(move || {
            let mut again = Told::again(told.partitions.clone());
            read(&self.settings, &self.watched.topics.results(&self.watched.stream), |ended| ended, |record| again.take(record));
            again.check_repeated(&told);
            let mut folds = Folds::new(&self.watched.subjects, &shown);
            read(&self.settings, &self.watched.topics.log(&self.watched.stream), |ended| ended, |record| folds.take(record));
            folds.check();
        });
        checking.await.expect("a witness was shown what is not so");
        testimony
    }
}

/// Ends the watching when it is dropped too: a test that fails would wait for its readers for ever.
struct Over(Arc<AtomicBool>);

impl Over {
    fn tell(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Reads a topic from its beginning until `over` says so, which is told whether all of it up to its present end was read.
fn read(settings: &Settings, topic: &str, over: impl Fn(bool) -> bool, mut take: impl FnMut(&Record)) {
    let consumer: BaseConsumer = settings.log_reader().create().expect("settings of a reader");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the topic is there");
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id) {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset that can be used");
    }
    consumer.assign(&assignment).expect("an assignment");
    let (partitions, mut ended) = (assignment.count(), BTreeSet::new());
    let mut heard = Instant::now();
    while !over(ended.len() == partitions) {
        assert!(ended.len() == partitions || heard.elapsed() < PATIENCE, "{topic}: nothing was heard of it for {PATIENCE:?}");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                ended.remove(&message.partition());
                take(&record(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            // brokers come and go while a witness watches
            None | Some(Err(_)) => {}
        }
    }
}
