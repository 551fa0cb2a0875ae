//! Reads, page by page, at the same consistency as the writes.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::deserialize::row::DeserializeRow;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::write::{NEVER, slice_of};
use super::{Cql, IN_FLIGHT, bucket_of, failed};
use crate::store::Error;
use crate::types::{AgendaItem, AgendaKey, Cell, DedupeRow, Mark, RowKey, RowRange, Shard, StatusCell};

/// Rows asked for in one statement; ScyllaDB takes no more by default.
const KEYS_PER_READ: usize = 100;
/// Agenda slices (minutes) one read may span: about 69 days.
const SLICES_MAX: i64 = 100_000;
/// Agenda slices read at the same time.
const SLICES_AHEAD: i64 = 16;

type RowColumns = (String, String, Vec<u8>, i64, i64);
type AgendaColumns = (i64, String, String, Vec<u8>);

impl Cql {
    /// All rows of a statement. The paging state says where the end is; a page may be empty.
    async fn fetch<T>(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<Vec<T>, Error>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let mut all = Vec::new();
        let mut state = PagingState::start();
        loop {
            let (page, next) = self.session.execute_single_page(statement, &values, state).await.map_err(failed)?;
            let page = page.into_rows_result().map_err(|error| damaged(&error))?;
            for row in page.rows::<T>().map_err(|error| damaged(&error))? {
                all.push(row.map_err(|error| damaged(&error))?);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(all),
                ControlFlow::Continue(next) => state = next,
            }
        }
    }

    pub(super) async fn layout_of(&self, stream: &str) -> Result<Option<[i32; 3]>, Error> {
        let rows: Vec<(i32, i32, i32)> = self.fetch(&self.statements.stream, (stream,)).await?;
        Ok(rows.first().map(|&(partitions, buckets, layout)| [partitions, buckets, layout]))
    }

    pub(super) async fn read_mark(&self, shard: &Shard) -> Result<Option<Mark>, Error> {
        let rows: Vec<(Vec<u8>,)> = self.fetch(&self.statements.mark, (&*shard.stream, shard.number)).await?;
        let mark = rows.first().map(|(val,)| Mark::decode(val)).transpose();
        mark.map_err(|error| Error::Damaged(format!("the watermark of {shard}: {error}")))
    }

    /// Keys by bucket, up to [`KEYS_PER_READ`] in one statement, so that few keys of one subject are one read.
    pub(super) async fn read_rows(&self, shard: &Shard, keys: &[RowKey]) -> Result<Vec<Option<Cell>>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let buckets = self.buckets_of(&shard.stream).await?;
        let mut sorted: Vec<(i32, &RowKey)> = keys.iter().map(|key| (bucket_of(&key.subject, buckets), key)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let reads = sorted.chunk_by(|(one, _), (two, _)| one == two).flat_map(|bucket| bucket.chunks(KEYS_PER_READ));
        let reads = reads.map(|chunk| {
            let names: Vec<(&str, &str)> = chunk.iter().map(|(_, key)| (&*key.subject, &*key.sort)).collect();
            self.fetch::<RowColumns>(&self.statements.rows, (&*shard.stream, shard.number, chunk[0].0, names))
        });
        let reads: Vec<_> = reads.collect();
        let found: Vec<Vec<RowColumns>> = stream::iter(reads).buffer_unordered(IN_FLIGHT).try_collect().await?;
        let mut cells: HashMap<RowKey, Cell> = found.into_iter().flatten().map(row).collect();
        let once = sorted.len() == keys.len();
        Ok(keys.iter().map(|key| if once { cells.remove(key) } else { cells.get(key).cloned() }).collect())
    }

    pub(super) async fn read_range(&self, shard: &Shard, range: &RowRange) -> Result<Vec<(RowKey, Cell)>, Error> {
        let bucket = self.bucket(shard, &range.subject).await?;
        let (stream, shard, subject) = (&*shard.stream, shard.number, &*range.subject);
        let start = range.start.as_deref().unwrap_or_default().max(&range.prefix);
        let limit = i32::try_from(range.limit).unwrap_or(i32::MAX);
        let rows = match behind(&range.prefix) {
            Some(end) if *start >= *end => Vec::new(),
            Some(end) => {
                let values = (stream, shard, bucket, subject, start, end, limit);
                self.fetch::<RowColumns>(&self.statements.range_between, values).await?
            }
            None => self.fetch::<RowColumns>(&self.statements.range, (stream, shard, bucket, subject, start, limit)).await?,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    pub(super) async fn read_subject(&self, shard: &Shard, subject: &str) -> Result<Vec<(RowKey, Cell)>, Error> {
        let bucket = self.bucket(shard, subject).await?;
        let values = (&*shard.stream, shard.number, bucket, subject);
        let rows: Vec<RowColumns> = self.fetch(&self.statements.subject, values).await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Bucket by bucket; all buckets are asked at once, because most listings end in few of them. The cursor is the
    /// bucket and the last subject.
    pub(super) async fn read_subjects(
        &self,
        shard: &Shard,
        prefix: &str,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
        let buckets = self.buckets_of(&shard.stream).await?;
        let (first, after) = cursor.map_or(Ok((0, None)), read_cursor)?;
        let reads = (first..buckets).map(|bucket| {
            let from = match &after {
                Some(after) if bucket == first => format!("{after}\0"),
                _ => prefix.to_owned(),
            };
            async move { Ok((bucket, self.subjects_of(shard, bucket, from, prefix, limit).await?)) }
        });
        let reads: Vec<_> = reads.collect();
        let mut reads = stream::iter(reads).buffered(IN_FLIGHT);
        let mut found = Vec::new();
        while let Some((bucket, subjects)) = reads.try_next().await? {
            for subject in subjects {
                found.push(subject);
                if found.len() == limit {
                    let cursor = found.last().map(|last| write_cursor(bucket, last));
                    return Ok((found, cursor));
                }
            }
        }
        Ok((found, None))
    }

    async fn subjects_of(
        &self,
        shard: &Shard,
        bucket: i32,
        from: String,
        prefix: &str,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let (stream, shard) = (&*shard.stream, shard.number);
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let rows: Vec<(String,)> = match behind(prefix) {
            Some(end) if from >= end => Vec::new(),
            Some(end) => self.fetch(&self.statements.subjects_between, (stream, shard, bucket, from, end, limit)).await?,
            None => self.fetch(&self.statements.subjects, (stream, shard, bucket, from, limit)).await?,
        };
        Ok(rows.into_iter().map(|(subject,)| subject).collect())
    }

    pub(super) async fn read_agenda(
        &self,
        shard: &Shard,
        from: &AgendaKey,
        to: &AgendaKey,
        limit: usize,
    ) -> Result<Vec<AgendaItem>, Error> {
        let (first, last) = (slice_of(from.due), slice_of(to.due));
        if last.saturating_sub(first) >= SLICES_MAX {
            return Err(Error::Refused(format!("an agenda read spans {} minutes, {SLICES_MAX} are allowed", last - first)));
        }
        let rows = i32::try_from(limit).unwrap_or(i32::MAX);
        let mut items = Vec::new();
        let mut slice = first;
        while slice <= last && items.len() < limit {
            let ahead = slice..=last.min(slice + SLICES_AHEAD - 1);
            let reads = ahead.map(|slice| {
                let values = (&*shard.stream, shard.number, slice, from.due, &*from.id, to.due, &*to.id, rows);
                self.fetch::<AgendaColumns>(&self.statements.agenda, values)
            });
            items.extend(try_join_all(reads).await?.into_iter().flatten().map(item));
            slice += SLICES_AHEAD;
        }
        items.truncate(limit);
        Ok(items)
    }

    pub(super) async fn read_agenda_item(&self, shard: &Shard, key: &AgendaKey) -> Result<Option<AgendaItem>, Error> {
        let values = (&*shard.stream, shard.number, slice_of(key.due), key.due, &*key.id);
        let rows: Vec<AgendaColumns> = self.fetch(&self.statements.agenda_item, values).await?;
        Ok(rows.into_iter().next().map(item))
    }

    pub(super) async fn read_dedupe(&self, shard: &Shard, minute: i64) -> Result<Vec<DedupeRow>, Error> {
        let values = (&*shard.stream, shard.number, minute);
        let rows: Vec<(i64, Vec<u8>)> = self.fetch(&self.statements.dedupe, values).await?;
        Ok(rows.into_iter().map(|(ts, keys)| DedupeRow { minute, ts, keys: keys.into() }).collect())
    }

    pub(super) async fn read_status(&self, events: &[[u8; 16]]) -> Result<Vec<Vec<StatusCell>>, Error> {
        let reads: Vec<_> = events.iter().map(|event| self.parts_of(event)).collect();
        stream::iter(reads).buffered(IN_FLIGHT).try_collect().await
    }

    async fn parts_of(&self, event: &[u8; 16]) -> Result<Vec<StatusCell>, Error> {
        let rows: Vec<(String, Vec<u8>, i64, i64)> = self.fetch(&self.statements.status, (&event[..],)).await?;
        let part = |(part, val, expire_at, ts): (String, Vec<u8>, i64, i64)| StatusCell {
            part: part.into(),
            cell: cell(val, expire_at, ts),
        };
        Ok(rows.into_iter().map(part).collect())
    }
}

fn row((subject, sort, val, expire_at, ts): RowColumns) -> (RowKey, Cell) {
    (RowKey { subject: subject.into(), sort: sort.into() }, cell(val, expire_at, ts))
}

fn cell(val: Vec<u8>, expire_at: i64, ts: i64) -> Cell {
    Cell { ts, val: Some(val.into()), expire_at: Some(expire_at).filter(|at| *at != NEVER) }
}

fn item((due, id, subject, val): AgendaColumns) -> AgendaItem {
    AgendaItem { key: AgendaKey { due, id: id.into() }, subject: subject.into(), val: val.into() }
}

/// The first text behind everything that starts with `prefix`; `None` when there is none. Text sorts by its bytes, and
/// these sort as its characters do.
fn behind(prefix: &str) -> Option<String> {
    let mut kept = prefix.to_owned();
    while let Some(last) = kept.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

fn write_cursor(bucket: i32, subject: &str) -> Vec<u8> {
    [&bucket.to_be_bytes()[..], subject.as_bytes()].concat()
}

fn read_cursor(cursor: &[u8]) -> Result<(i32, Option<Arc<str>>), Error> {
    let parse = || {
        let (bucket, subject) = cursor.split_first_chunk::<4>()?;
        let bucket = i32::from_be_bytes(*bucket);
        (bucket >= 0).then_some((bucket, Some(std::str::from_utf8(subject).ok()?.into())))
    };
    parse().ok_or_else(|| Error::Refused("the cursor is none of this store; begin again without one".to_owned()))
}

fn damaged(error: &dyn std::error::Error) -> Error {
    Error::Damaged(error.to_string())
}
