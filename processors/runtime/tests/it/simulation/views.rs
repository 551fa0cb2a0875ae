//! Readers of views: `StateReader` over the lossy store, as edge and notifier use it.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{future::Future, pin::Pin};

use state::reader::{StateReader, Within};
use state::{Shard, StateStore, SubjectRows};

use super::plan::{Mutant, stream};
use super::random::Random;
use super::store::Store;
use super::workload::{SHARDS, shown};
use super::world::Shared;

/// Readers at once.
const READERS: usize = 3;
/// Looks at a reader before it gives up: what it found is not final, and time stands still for it.
const LOOKS: usize = 12;

/// What a reader was told.
#[derive(Debug)]
pub(super) struct View {
    pub(super) subject: Arc<str>,
    /// Clock when it was asked for; rows that end before it are not shown.
    pub(super) now: i64,
    /// Newest write time the same subject was shown with before this reader began.
    pub(super) after: i64,
    pub(super) rows: SubjectRows,
}

struct Reading {
    subject: Arc<str>,
    now: i64,
    after: i64,
    looks: usize,
    answer: Pin<Box<dyn Future<Output = Option<SubjectRows>>>>,
}

/// Readers, and what they saw.
pub(super) struct Views {
    reader: StateReader,
    reading: Vec<Reading>,
    newest: HashMap<Arc<str>, i64>,
    pub(super) seen: Vec<View>,
}

impl Views {
    pub(super) fn new(store: &Store) -> Self {
        Self { reader: StateReader::new(Arc::new(store.clone())), reading: Vec::new(), newest: HashMap::new(), seen: Vec::new() }
    }

    /// Newest write time that the subject was shown with.
    pub(super) fn newest(&self, subject: &str) -> i64 {
        self.newest.get(subject).copied().unwrap_or(0)
    }

    /// A reader begins, goes on or comes to its answer.
    pub(super) fn step(&mut self, shared: &Shared, random: &mut Random) {
        if self.reading.len() < READERS {
            self.begin(shared, random);
        }
        let at = random.below(self.reading.len());
        let reading = &mut self.reading[at];
        reading.looks += 1;
        match reading.answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending if reading.looks < LOOKS => {}
            Poll::Pending | Poll::Ready(None) => drop(self.reading.swap_remove(at)),
            Poll::Ready(Some(rows)) => {
                let Reading { subject, now, after, .. } = self.reading.swap_remove(at);
                let newest = self.newest.entry(subject.clone()).or_default();
                *newest = rows.newest_ts.max(*newest);
                self.seen.push(View { subject, now, after, rows });
            }
        }
    }

    fn begin(&mut self, shared: &Shared, random: &mut Random) {
        let number = random.below(SHARDS as usize) as i32;
        let subject = random.pick(&shown(number)).clone();
        let shard = Shard { stream: stream(), number };
        let now = shared.clock_us.get();
        // real time stands still for the reader: what it waits for never comes
        let within = Within::new(now, Duration::from_secs(3_600));
        let (reader, store, name) = (self.reader.clone(), shared.store.clone(), subject.clone());
        let answer: Pin<Box<dyn Future<Output = _>>> = match shared.plan.mutant {
            Some(Mutant::AnyView) => Box::pin(async move { any_view(&store, &shard, &name, now).await }),
            Some(Mutant::MarkAfterRows) => Box::pin(async move {
                let view = any_view(&store, &shard, &name, now).await?;
                let mark = store.mark(&shard).await.ok()??;
                (view.newest_ts <= mark.ts).then_some(view)
            }),
            _ => Box::pin(async move { reader.subject(&shard, &name, within).await.ok() }),
        };
        let after = self.newest(&subject);
        self.reading.push(Reading { subject, now, after, looks: 0, answer });
    }
}

/// Without the final-view rule: whatever two replicas say.
async fn any_view(store: &Store, shard: &Shard, subject: &str, now: i64) -> Option<SubjectRows> {
    let cells = store.subject(shard, subject).await.ok()?;
    let mut rows = SubjectRows::default();
    for (key, cell) in cells {
        rows.newest_ts = rows.newest_ts.max(cell.ts);
        if &*key.sort == state::records::HEAD_SORT {
            rows.seq = state::records::Head::decode(cell.val.as_deref()?).ok()?.seq;
        } else if cell.expire_at.is_none_or(|at| at > now) {
            rows.rows.insert(key.sort.to_string(), cell);
        }
    }
    Some(rows)
}
