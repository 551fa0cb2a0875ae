//! Views as they were shown, and as the log says they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use schemas::datum::Datum;
use schemas::engine::{LogData, LogTrailer};
use schemas::names::HEADER_KIND;
use state::reader::{StateReader, Within};
use state::{Shard, SubjectRows};

use super::Watched;
use crate::kafka::Record;

/// A view may take this long; one that does not answer, because the store is gone, shows nothing.
const VIEW: Duration = Duration::from_secs(2);
/// Between two rounds of views.
const PAUSE: Duration = Duration::from_millis(20);

/// Views as they were shown: for each subject and frame time, `seq` and a hash of the rows.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) count: u64,
    pub(super) all: BTreeMap<(String, i64), (i64, [u8; 16])>,
}

pub(super) async fn poll_views(watched: Watched, over: Arc<AtomicBool>) -> Shown {
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

pub(super) fn hash<'a>(rows: impl Iterator<Item = (&'a str, &'a [u8])>) -> [u8; 16] {
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
pub(super) struct Folds<'a> {
    shown: &'a Shown,
    rows: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// DATA of frames whose trailer has not come, by partition, number and writer.
    open: BTreeMap<(i32, i64, [u8; 8]), Vec<LogData>>,
    missing: BTreeSet<(String, i64)>,
}

impl<'a> Folds<'a> {
    pub(super) fn new(subjects: &[String], shown: &'a Shown) -> Self {
        let rows = subjects.iter().map(|subject| (subject.clone(), BTreeMap::new())).collect();
        // time 0 is a subject of which nothing was written yet
        let missing = shown.all.keys().filter(|(_, ts)| *ts > 0).cloned().collect();
        Self { shown, rows, open: BTreeMap::new(), missing }
    }

    pub(super) fn take(&mut self, record: &Record) {
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

    pub(super) fn check(&self) {
        assert!(self.missing.is_empty(), "views showed frames that the log does not have: {:?}", self.missing);
    }
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_micros() as i64)
}
