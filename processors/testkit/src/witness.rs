//! Who reads results and views while everything breaks, and says afterwards whether it was shown anything that is not so.
//!
//! Results come from a read_committed consumer, views from a `StateReader`, as a subscriber and a caller of the read side
//! have them. At once it checks that nothing goes backwards; in the end, that everything it was shown stands in the
//! committed topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{Offset, TopicPartitionList};

use chassis::kafka::Settings;
use schemas::datum::Datum;
use schemas::engine::{LogData, LogTrailer};
use schemas::names::{HEADER_KIND, HEADER_SEQ, Topics};
use state::reader::{StateReader, Within};
use state::{Shard, StateStore, SubjectRows};

use crate::kafka::{Kafka, Record, record};

/// How long one operation of the end may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// A view may take this long; one that does not answer, because the store is gone, shows nothing.
const VIEW: Duration = Duration::from_secs(2);
/// Between two rounds of views.
const PAUSE: Duration = Duration::from_millis(20);

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
            let mut again = Told { until: told.partitions.clone(), ..Told::default() };
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

/// What a reader of one partition has seen, as a hash over all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    count: u64,
    hash: [u8; 16],
}

/// Results as they were read.
#[derive(Default)]
struct Told {
    partitions: BTreeMap<i32, Seen>,
    last_seq: BTreeMap<Vec<u8>, u64>,
    /// A second reading stops at these counts.
    until: BTreeMap<i32, Seen>,
}

impl Told {
    fn take(&mut self, record: &Record) {
        let seen = self.partitions.entry(record.partition).or_default();
        if self.until.get(&record.partition).is_some_and(|until| seen.count == until.count) {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seen.hash).update(&record.offset.to_be_bytes()).update(&record.key);
        for bytes in record.value.iter().chain(record.headers.iter().map(|(_, value)| value)) {
            hasher.update(&bytes.len().to_be_bytes()).update(bytes);
        }
        seen.hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        seen.count += 1;
        let seq: u64 = record.header(HEADER_SEQ).and_then(|seq| seq.parse().ok()).expect("a result has a seq");
        let last = self.last_seq.insert(record.key.clone(), seq).unwrap_or_default();
        assert_eq!(seq, last + 1, "a reader was shown seq {seq} of {} after {last}", record.subject());
    }

    fn check_repeated(&self, first: &Self) {
        for (partition, seen) in &first.partitions {
            let again = self.partitions.get(partition).copied().unwrap_or_default();
            assert_eq!(*seen, again, "results of partition {partition} as they were shown, and as they stand in the topic");
        }
    }
}

/// Views as they were shown: for each subject and frame time, `seq` and a hash of the rows.
#[derive(Default)]
struct Shown {
    count: u64,
    all: BTreeMap<(String, i64), (i64, [u8; 16])>,
}

async fn poll_views(watched: Watched, over: Arc<AtomicBool>) -> Shown {
    let reader = StateReader::new(watched.store.clone());
    let (mut shown, mut newest) = (Shown::default(), BTreeMap::<String, (i64, i64)>::new());
    while !over.load(Ordering::Relaxed) {
        for subject in &watched.subjects {
            let number = schemas::partition::partition_of(subject, watched.partitions);
            let shard = Shard { stream: watched.stream.as_str().into(), number };
            let Ok(view) = reader.subject(&shard, subject, Within::new(now_us(), VIEW)).await else { continue };
            let last = newest.entry(subject.clone()).or_default();
            let this = (view.newest_ts, view.seq);
            assert!(this.0 >= last.0 && this.1 >= last.1, "a view of {subject} was at (ts, seq) {last:?}, then at {this:?}");
            *last = this;
            shown.count += 1;
            let rows = (view.seq, hash(lasting(&view)));
            let before = shown.all.insert((subject.clone(), view.newest_ts), rows);
            assert!(before.is_none_or(|before| before == rows), "two views of {subject} at {} differ", view.newest_ts);
        }
        tokio::time::sleep(PAUSE).await;
    }
    shown
}

/// Rows that do not expire: those that do may be gone from a view before anything is written.
fn lasting(view: &SubjectRows) -> impl Iterator<Item = (&str, &[u8])> {
    let lasting = view.rows.iter().filter(|(_, cell)| cell.expire_at.is_none());
    lasting.filter_map(|(sort, cell)| Some((sort.as_str(), cell.val.as_deref()?)))
}

fn hash<'a>(rows: impl Iterator<Item = (&'a str, &'a [u8])>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for (sort, val) in rows {
        hasher.update(&sort.len().to_be_bytes()).update(sort.as_bytes());
        hasher.update(&val.len().to_be_bytes()).update(val);
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

/// The log's own idea of each watched subject after every frame.
struct Folds<'a> {
    shown: &'a Shown,
    rows: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// DATA of frames whose trailer has not come, by partition, number and writer.
    open: BTreeMap<(i32, i64, [u8; 8]), Vec<LogData>>,
    missing: BTreeSet<(String, i64)>,
}

impl<'a> Folds<'a> {
    fn new(subjects: &[String], shown: &'a Shown) -> Self {
        let rows = subjects.iter().map(|subject| (subject.clone(), BTreeMap::new())).collect();
        // time 0 is a subject of which nothing was written yet
        let missing = shown.all.keys().filter(|(_, ts)| *ts > 0).cloned().collect();
        Self { shown, rows, open: BTreeMap::new(), missing }
    }

    fn take(&mut self, record: &Record) {
        let value = record.value.as_deref().unwrap_or_default();
        let (_, datum) = schemas::frame::split(value).expect("a log record in the registry's format");
        match record.header(HEADER_KIND) {
            None => {
                let data = LogData::decode(datum).expect("DATA");
                if self.rows.contains_key(&data.subject) {
                    self.open.entry((record.partition, data.n, data.writer)).or_default().push(data);
                }
            }
            Some("T") => {
                let trailer = LogTrailer::decode(datum).expect("a trailer");
                let frame = self.open.remove(&(record.partition, trailer.n, trailer.writer)).unwrap_or_default();
                self.apply(frame, trailer.ts);
            }
            Some(_) => {}
        }
    }

    fn apply(&mut self, frame: Vec<LogData>, ts: i64) {
        let subjects: BTreeSet<String> = frame.iter().map(|data| data.subject.clone()).collect();
        for data in frame {
            let rows = self.rows.entry(data.subject).or_default();
            for row in data.rows.into_iter().filter(|row| !row.sort.starts_with('~')) {
                match row.val.filter(|_| row.expire_at.is_none()) {
                    Some(val) => rows.insert(row.sort, val.to_vec()),
                    None => rows.remove(&row.sort),
                };
            }
        }
        for place in subjects.into_iter().map(|subject| (subject, ts)) {
            let Some((_, seen)) = self.shown.all.get(&place) else { continue };
            let fold = self.rows[&place.0].iter().map(|(sort, val)| (sort.as_str(), val.as_slice()));
            assert_eq!(*seen, hash(fold), "a view of {} at {ts} showed other rows than the log has", place.0);
            self.missing.remove(&place);
        }
    }

    fn check(&self) {
        assert!(self.missing.is_empty(), "views showed frames that the log does not have: {:?}", self.missing);
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

fn now_us() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use schemas::engine::LogRow;
    use schemas::names::HEADER_V;

    use super::*;

    fn result(seq: u64, value: &[u8]) -> Record {
        let headers = vec![(HEADER_SEQ.to_owned(), seq.to_string().into_bytes())];
        Record { partition: 0, offset: seq as i64, timestamp_ms: -1, key: b"a".to_vec(), value: Some(value.to_vec()), headers }
    }

    fn told(records: &[Record], until: BTreeMap<i32, Seen>) -> Told {
        let mut told = Told { until, ..Told::default() };
        records.iter().for_each(|record| told.take(record));
        told
    }

    #[test]
    fn results_that_stand_in_the_topic_as_they_were_shown_pass() {
        let first = told(&[result(1, b"x")], BTreeMap::new());
        told(&[result(1, b"x"), result(2, b"y")], first.partitions.clone()).check_repeated(&first);
    }

    #[test]
    #[should_panic(expected = "as they were shown, and as they stand in the topic")]
    fn a_result_that_was_shown_and_is_another_one_now_is_found() {
        let first = told(&[result(1, b"x")], BTreeMap::new());
        told(&[result(1, b"z"), result(2, b"y")], first.partitions.clone()).check_repeated(&first);
    }

    #[test]
    #[should_panic(expected = "shown seq 1 of a after 1")]
    fn a_result_shown_twice_is_found() {
        told(&[result(1, b"x"), result(1, b"x")], BTreeMap::new());
    }

    /// A log of one frame at time 7, which writes `val` into the root row of `a`.
    fn log(val: &[u8]) -> Vec<Record> {
        let row = LogRow { sort: String::new(), val: Some(val.to_vec().into()), expire_at: None };
        let (writer, subject) = ([0; 8], "a".to_owned());
        let data = LogData { n: 1, writer, subject, rows: vec![row], agenda: Vec::new(), status: Vec::new() };
        let trailer = LogTrailer {
            n: 1,
            writer,
            ts: 7,
            prev_ts: 0,
            count: 1,
            digest: [0; 16],
            positions: BTreeMap::new(),
            accepted: Vec::new(),
            horizon: 0,
            agenda_floor: 0,
        };
        vec![log_record(&data, &[]), log_record(&trailer, &[(HEADER_KIND, "T"), (HEADER_V, "1")])]
    }

    fn log_record<T: Datum>(datum: &T, headers: &[(&str, &str)]) -> Record {
        let mut value = Vec::new();
        schemas::frame::begin(1, &mut value);
        datum.encode(&mut value);
        let headers = headers.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        Record { partition: 0, offset: 0, timestamp_ms: -1, key: b"a".to_vec(), value: Some(value), headers }
    }

    /// Checks a view of `a` at `ts` that showed `val`, against that log.
    fn check(val: &[u8], ts: i64) {
        let mut shown = Shown::default();
        shown.all.insert(("a".to_owned(), ts), (0, hash([("", val)].into_iter())));
        let mut folds = Folds::new(&["a".to_owned()], &shown);
        log(b"true").iter().for_each(|record| folds.take(record));
        folds.check();
    }

    #[test]
    fn a_view_of_a_committed_frame_passes() {
        check(b"true", 7);
    }

    #[test]
    #[should_panic(expected = "showed other rows than the log has")]
    fn a_view_of_other_rows_is_found() {
        check(b"false", 7);
    }

    #[test]
    #[should_panic(expected = "views showed frames that the log does not have")]
    fn a_view_of_a_frame_that_was_never_committed_is_found() {
        check(b"true", 8);
    }
}
