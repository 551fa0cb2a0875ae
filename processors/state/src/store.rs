//! The contract of a store.

use std::time::Duration;

use async_trait::async_trait;

use crate::types::{AgendaItem, AgendaKey, Cell, DedupeRow, Frame, Mark, RowKey, RowRange, Shard, StatusCell};

/// Why a store did not answer. Reads and writes may be repeated on every one but [`Error::Refused`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be reached, or did not answer in time.
    #[error("the store did not answer: {0}")]
    Unavailable(String),
    /// The store holds what cannot be: a programming error, a foreign writer or damage on disk.
    #[error("the store holds damaged data: {0}")]
    Damaged(String),
    /// The store must not be used as it is set up; the text says what to change.
    #[error("{0}")]
    Refused(String),
}

/// Last-write-wins state by frame time. Rules S1–S10 of `docs/exactly-once.md`; one conformance suite
/// (`tests/it/conformance.rs`) holds every implementation to them.
///
/// `apply` that failed or was cancelled may have written any subset; the caller repeats the identical call (S3).
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// A short name for logs and metrics: `cql`, `embedded`, `memory`.
    fn kind(&self) -> &'static str;

    /// Checks that the stream was written with this layout, or writes it down for life.
    ///
    /// # Errors
    /// [`Error::Refused`] when partitions or buckets differ from what the store holds.
    async fn open_stream(&self, stream: &str, partitions: i32, buckets: i32) -> Result<(), Error>;

    /// Writes all of the frame with its time. When it returns Ok every later read sees it, and it survives a crash.
    async fn apply(&self, frame: &Frame) -> Result<(), Error>;

    /// Writes watermarks of several shards, after everything they claim was acknowledged; durable against power loss
    /// when Ok (S6). One sync serves them all.
    async fn set_marks(&self, marks: &[(Shard, Mark)]) -> Result<(), Error>;

    /// The watermark with the highest time.
    async fn mark(&self, shard: &Shard) -> Result<Option<Mark>, Error>;

    /// Many rows at once, in the order of `keys`. Absent rows are `None`; tombstones are never returned.
    async fn rows(&self, shard: &Shard, keys: &[RowKey]) -> Result<Vec<Option<Cell>>, Error>;

    /// Live rows of a range in sort order, at most `range.limit`. Fewer than `limit` means the range is at its end.
    async fn range(&self, shard: &Shard, range: &RowRange) -> Result<Vec<(RowKey, Cell)>, Error>;

    /// Every row of one subject in one read, engine rows (`~…`) included, tombstones left out.
    async fn subject(&self, shard: &Shard, subject: &str) -> Result<Vec<(RowKey, Cell)>, Error>;

    /// Subjects of one shard that start with `prefix`, in the store's order, behind `cursor` (opaque, from the last
    /// call). Returns at most `limit` subjects and the next cursor, `None` at the end.
    async fn subjects(
        &self,
        shard: &Shard,
        prefix: &str,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Vec<u8>>), Error>;

    /// Live agenda items with `from <= key < to`, in order, at most `limit`.
    async fn agenda(&self, shard: &Shard, from: &AgendaKey, to: &AgendaKey, limit: usize) -> Result<Vec<AgendaItem>, Error>;

    /// One agenda item.
    async fn agenda_item(&self, shard: &Shard, key: &AgendaKey) -> Result<Option<AgendaItem>, Error>;

    /// Many agenda items at once, in the order of `keys`.
    async fn agenda_items(&self, shard: &Shard, keys: &[AgendaKey]) -> Result<Vec<Option<AgendaItem>>, Error> {
        futures::future::try_join_all(keys.iter().map(|key| self.agenda_item(shard, key))).await
    }

    /// All accepted keys of one minute.
    async fn dedupe(&self, shard: &Shard, minute: i64) -> Result<Vec<DedupeRow>, Error>;

    /// All parts of the status of many events, in the order of `events`; empty where nothing is stored.
    async fn status(&self, events: &[[u8; 16]]) -> Result<Vec<Vec<StatusCell>>, Error>;

    /// A cheap read that proves the store answers.
    async fn ping(&self, within: Duration) -> Result<(), Error>;
}

/// Compares a stream's layout (partitions, buckets, layout version) with what is stored.
pub(crate) fn check_layout(stream: &str, wanted: &[i32; 3], stored: &[i32]) -> Result<(), Error> {
    if stored == wanted {
        return Ok(());
    }
    let [partitions, buckets, layout] = wanted;
    Err(Error::Refused(format!(
        "stream {stream} is to be opened with {partitions} partitions, {buckets} buckets and layout {layout}, but the store \
         was written with {stored:?}: these are fixed for life; set them back or use an empty store"
    )))
}
