//! The read-only half: what the edge and the notifier may see of the state.
//!
//! Rows are read by the *final-view rule*: the shard's watermark first, the subject's rows with their write times after
//! it; only what is not newer than the watermark is told, else both are read again. Everything below the watermark was
//! in the store before the rows were read, so an answer is the fold of the committed history up to some position and
//! never goes backwards, whatever writes are still on their way.

mod lifecycle;
mod list;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::try_join;
use tokio::time::{Instant, sleep, timeout_at};

use crate::metrics::{FINAL_VIEW_LATE, FINAL_VIEW_RETRIES};
use crate::records::{HEAD_SORT, Head};
use crate::store::{Error, StateStore};
use crate::types::{Cell, Mark, RowKey, RowRange, Shard, StatusCell, SubjectRows};

pub use self::lifecycle::{Answer, Lifecycle, Question, Stage, Tracking};
pub use self::list::{LIST_BYTES_MAX, LIST_MAX, Page};

/// Exact sorts one [`StateReader::rows`] may ask for.
pub const SORTS_MAX: usize = 99;

/// Waits between readings of what is not final yet; the last one repeats.
const WAITS: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(40), Duration::from_millis(50)];

/// The time of a read, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Within {
    /// What is `now` for expiry, µs.
    pub now: i64,
    /// Past it a read is [`Error::Unavailable`].
    pub deadline: Instant,
}

impl Within {
    /// A read at `now` (µs) that may take `budget` from here on.
    #[must_use]
    pub fn new(now: i64, budget: Duration) -> Self {
        Self { now, deadline: Instant::now() + budget }
    }

    async fn hold<T>(&self, read: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = |_| Err(Error::Unavailable("no answer before the deadline".to_owned()));
        timeout_at(self.deadline, read).await.unwrap_or_else(late)
    }

    /// Waits before reading number `tries + 1`, or fails when that would be past the deadline.
    async fn wait(&self, tries: usize, read: &'static str) -> Result<(), Error> {
        let wait = WAITS[tries.min(WAITS.len() - 1)];
        if Instant::now() + wait >= self.deadline {
            metrics::counter!(FINAL_VIEW_LATE, "read" => read).increment(1);
            return Err(Error::Unavailable("what was read is newer than the watermark".to_owned()));
        }
        metrics::counter!(FINAL_VIEW_RETRIES, "read" => read).increment(1);
        sleep(wait).await;
        Ok(())
    }
}

/// Reads rows by the final-view rule and tells the lifecycle of an event by the one rule there is. Clones share what
/// they know of the watermarks.
#[derive(Clone)]
pub struct StateReader {
    store: Arc<dyn StateStore>,
    /// The newest watermark seen per shard; there are as many shards as partitions. An old one may only say yes.
    covered: Arc<Mutex<HashMap<Shard, Mark>>>,
}

impl StateReader {
    /// A reader over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>) -> Self {
        Self { store, covered: Arc::default() }
    }

    /// The kind of store behind it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.store.kind()
    }

    /// All rows of a subject, `~` rows and expired rows left out, with the subject's `seq`. Empty when there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer, or the answer is not final, before the deadline;
    /// [`Error::Refused`] for the engine's own subjects.
    pub async fn subject(&self, shard: &Shard, subject: &str, within: Within) -> Result<SubjectRows, Error> {
        refuse_reserved(subject)?;
        self.final_rows(shard, &Wanted::All(subject), within).await
    }

    /// Some rows of a subject, named by their sorts (at most [`SORTS_MAX`]), with the subject's `seq`.
    ///
    /// # Errors
    /// Those of [`StateReader::subject`]; [`Error::Refused`] when too many sorts are asked for.
    pub async fn rows(&self, shard: &Shard, subject: &str, sorts: &[&str], within: Within) -> Result<SubjectRows, Error> {
        refuse_reserved(subject)?;
        if sorts.len() > SORTS_MAX {
            return Err(Error::Refused(format!("{} rows are asked for at once, {SORTS_MAX} are allowed", sorts.len())));
        }
        let subject: Arc<str> = subject.into();
        let head = std::iter::once(HEAD_SORT);
        let keys = head.chain(sorts.iter().copied()).map(|sort| RowKey { subject: subject.clone(), sort: sort.into() });
        self.final_rows(shard, &Wanted::Some(keys.collect()), within).await
    }

    /// Rows of a range, `~` rows and expired rows left out, with the subject's `seq`; and the sort behind which the range
    /// goes on when `range.limit` ended it.
    ///
    /// # Errors
    /// Those of [`StateReader::subject`].
    pub async fn range(&self, shard: &Shard, range: &RowRange, within: Within) -> Result<(SubjectRows, Option<String>), Error> {
        refuse_reserved(&range.subject)?;
        let (cells, newest_ts) = self.final_cells(shard, &Wanted::Range(range), within).await?;
        let mut sorts = cells.iter().map(|(key, _)| &*key.sort).filter(|sort| *sort != HEAD_SORT);
        let last = sorts.nth(range.limit.saturating_sub(1)).map(str::to_owned);
        Ok((visible(cells, newest_ts, within.now)?, last))
    }

    /// The shard's watermark, and never an older one than this reader has told before: what was written to one replica
    /// may be read once, and not again. `None` before its first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer before the deadline.
    pub async fn watermark(&self, shard: &Shard, within: Within) -> Result<Option<Mark>, Error> {
        let mark = within.hold(self.store.mark(shard)).await?;
        let mut covered = self.covered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = mark
            && covered.get(shard).is_none_or(|known| known.ts < mark.ts)
        {
            covered.insert(shard.clone(), mark);
        }
        Ok(covered.get(shard).cloned())
    }

    /// The stored status of many events in one multi-get, in the order of `events`, expired parts left out. Says only
    /// whether something was written; for people there is [`StateReader::lifecycle`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer before the deadline.
    pub async fn status(&self, events: &[[u8; 16]], within: Within) -> Result<Vec<Vec<StatusCell>>, Error> {
        let mut all = within.hold(self.store.status(events)).await?;
        for parts in &mut all {
            parts.retain(|part| !expired(&part.cell, within.now));
        }
        Ok(all)
    }

    /// The newest watermark this reader knows of.
    fn known(&self, shard: &Shard) -> Option<i64> {
        self.covered.lock().unwrap_or_else(PoisonError::into_inner).get(shard).map(|mark| mark.ts)
    }

    /// The watermark must be older than the reading it judges: frames of a subject reach the store in any order, and one
    /// that was still on its way when the rows were read may be below a watermark that is asked for afterwards.
    async fn final_cells(&self, shard: &Shard, wanted: &Wanted<'_>, within: Within) -> Result<Cells, Error> {
        let mut covered = self.known(shard);
        for tries in 0.. {
            let cells = within.hold(self.read(shard, wanted)).await?;
            let newest = cells.iter().map(|(_, cell)| cell.ts).max();
            if newest.is_none_or(|newest| covered.is_some_and(|covered| newest <= covered)) {
                return Ok((cells, newest.unwrap_or(0)));
            }
            // what was known may just be old: the first look at the watermark costs no wait
            if let Some(tries) = usize::checked_sub(tries, 1) {
                within.wait(tries, "rows").await?;
            }
            covered = self.watermark(shard, within).await?.map(|mark| mark.ts);
        }
        unreachable!("the loop ends by the deadline")
    }

    async fn final_rows(&self, shard: &Shard, wanted: &Wanted<'_>, within: Within) -> Result<SubjectRows, Error> {
        let (cells, newest_ts) = self.final_cells(shard, wanted, within).await?;
        visible(cells, newest_ts, within.now)
    }

    async fn read(&self, shard: &Shard, wanted: &Wanted<'_>) -> Result<Vec<(RowKey, Cell)>, Error> {
        match wanted {
            Wanted::All(subject) => self.store.subject(shard, subject).await,
            Wanted::Some(keys) => {
                let cells = self.store.rows(shard, keys).await?;
                Ok(keys.iter().cloned().zip(cells).filter_map(|(key, cell)| Some((key, cell?))).collect())
            }
            Wanted::Range(range) => {
                let head = [RowKey { subject: range.subject.clone(), sort: HEAD_SORT.into() }];
                let (mut cells, heads) = try_join(self.store.range(shard, range), self.store.rows(shard, &head)).await?;
                cells.extend(head.into_iter().zip(heads).filter_map(|(key, cell)| Some((key, cell?))));
                Ok(cells)
            }
        }
    }
}

/// Rows as the store has them, and the newest of their times.
type Cells = (Vec<(RowKey, Cell)>, i64);

/// Rows of shards are for their inputs alone.
fn refuse_reserved(subject: &str) -> Result<(), Error> {
    let reserved = subject.starts_with('~').then(|| Error::Refused(format!("{subject} is a subject of the engine")));
    reserved.map_or(Ok(()), Err)
}

/// Which rows of a subject; the head is always among them.
enum Wanted<'a> {
    All(&'a str),
    Some(Vec<RowKey>),
    Range(&'a RowRange),
}

fn visible(cells: Vec<(RowKey, Cell)>, newest_ts: i64, now: i64) -> Result<SubjectRows, Error> {
    let mut rows = BTreeMap::new();
    let mut seq = 0;
    for (key, cell) in cells {
        if &*key.sort == HEAD_SORT {
            let head = cell.val.as_deref().map(Head::decode).transpose();
            let damaged = |error| Error::Damaged(format!("head of {}: {error}", key.subject));
            seq = head.map_err(damaged)?.map_or(0, |head| head.seq);
        } else if !key.sort.starts_with('~') && !expired(&cell, now) {
            rows.insert(key.sort.to_string(), cell);
        }
    }
    Ok(SubjectRows { rows, seq, newest_ts })
}

fn expired(cell: &Cell, now: i64) -> bool {
    cell.expire_at.is_some_and(|at| at <= now)
}
