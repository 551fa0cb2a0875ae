//! A frame as CQL: one unlogged batch per CQL partition, which a replica takes as one mutation.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt, stream};
use scylla::errors::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::{Cql, IN_FLIGHT, bucket_of, failed};
use crate::store::{Error, check_layout};
use crate::types::{AgendaKey, Frame, Mark, RowWrite, Shard};

/// Bytes behind which a batch ends, before the next subject.
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// What a statement weighs beside its value.
const STATEMENT_BYTES: usize = 128;
/// Expired rows stay this long for the database, so that expiry itself is never its decision, seconds.
const EXPIRED_LIFE: i64 = 3_600;
/// Longest time to live that is told to the database, seconds (5 years); what expires later is not cleaned up.
const TTL_MAX: i64 = 5 * 365 * 86_400;
/// `expire_at` of a row that does not expire.
pub(super) const NEVER: i64 = i64::MAX;
/// A layout's write time is this minus the clock: the first one written stays.
const FIRST_WINS: i64 = 3_000_000_000_000_000;

/// Slice of the agenda: the minute.
pub(super) fn slice_of(due: i64) -> i64 {
    due.div_euclid(60_000_000)
}

/// One statement's values.
enum Values<'a> {
    PutRow((&'a str, i32, i32, &'a str, &'a str, &'a [u8], i64, i64, i32)),
    DeleteRow((i64, &'a str, i32, i32, &'a str, &'a str)),
    PutAgenda((&'a str, i32, i64, i64, &'a str, &'a str, &'a [u8], i64)),
    DeleteAgenda((i64, &'a str, i32, i64, i64, &'a str)),
    PutStatus((&'a [u8], &'a str, &'a [u8], i64, i64, i32)),
    PutDedupe((&'a str, i32, i64, i64, &'a [u8], i64)),
    EndMinute((i64, &'a str, i32, i64)),
}

impl SerializeRow for Values<'_> {
    fn serialize(&self, ctx: &RowSerializationContext<'_>, writer: &mut RowWriter<'_>) -> Result<(), SerializationError> {
        match self {
            Self::PutRow(values) => values.serialize(ctx, writer),
            Self::DeleteRow(values) => values.serialize(ctx, writer),
            Self::PutAgenda(values) => values.serialize(ctx, writer),
            Self::DeleteAgenda(values) => values.serialize(ctx, writer),
            Self::PutStatus(values) => values.serialize(ctx, writer),
            Self::PutDedupe(values) => values.serialize(ctx, writer),
            Self::EndMinute(values) => values.serialize(ctx, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Statements of one CQL partition that go together.
#[derive(Default)]
struct Group<'a> {
    values: Vec<Values<'a>>,
    bytes: usize,
}

impl<'a> Group<'a> {
    fn push(&mut self, values: Values<'a>, bytes: usize) {
        self.values.push(values);
        self.bytes += STATEMENT_BYTES + bytes;
    }
}

impl Cql {
    pub(super) async fn write_frame(&self, frame: &Frame) -> Result<(), Error> {
        let buckets = if frame.rows.is_empty() { 1 } else { self.buckets_of(&frame.shard.stream).await? };
        let now = now_us();
        let mut groups = row_groups(frame, buckets, now);
        groups.extend(agenda_groups(frame));
        groups.extend(status_groups(frame, now));
        groups.extend(dedupe_groups(frame));
        let writes: Vec<_> = groups.into_iter().map(|group| self.write_group(group)).collect();
        stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    async fn write_group(&self, group: Group<'_>) -> Result<(), Error> {
        if let [only] = &group.values[..] {
            return self.session.execute_unpaged(self.statement(only), only).await.map(drop).map_err(failed);
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        for values in &group.values {
            batch.append_statement(self.statement(values).clone());
        }
        batch.set_consistency(self.statements.put_row.get_consistency().unwrap_or_default());
        batch.set_is_idempotent(true);
        self.session.batch(&batch, &group.values).await.map(drop).map_err(failed)
    }

    fn statement(&self, values: &Values<'_>) -> &PreparedStatement {
        match values {
            Values::PutRow(_) => &self.statements.put_row,
            Values::DeleteRow(_) => &self.statements.delete_row,
            Values::PutAgenda(_) => &self.statements.put_agenda,
            Values::DeleteAgenda(_) => &self.statements.delete_agenda,
            Values::PutStatus(_) => &self.statements.put_status,
            Values::PutDedupe(_) => &self.statements.put_dedupe,
            Values::EndMinute(_) => &self.statements.end_minute,
        }
    }

    pub(super) async fn write_marks(&self, marks: &[(Shard, Mark)]) -> Result<(), Error> {
        let writes: Vec<_> = marks.iter().map(|(shard, mark)| self.write_mark(shard, mark)).collect();
        stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    async fn write_mark(&self, shard: &Shard, mark: &Mark) -> Result<(), Error> {
        let values = (&*shard.stream, shard.number, mark.encode().to_vec(), mark.ts);
        self.session.execute_unpaged(&self.statements.put_mark, values).await.map(drop).map_err(failed)
    }

    /// Compares a stream's layout with what is stored, or stores it. Of two processes that store different ones at
    /// once the earlier clock wins; the other is refused here or at its next start.
    pub(super) async fn settle_layout(&self, stream: &str, wanted: &[i32; 3]) -> Result<(), Error> {
        if self.layout_of(stream).await?.is_none() {
            let [partitions, buckets, layout] = *wanted;
            let values = (stream, partitions, buckets, layout, FIRST_WINS - now_us());
            self.session.execute_unpaged(&self.statements.put_stream, values).await.map_err(failed)?;
        }
        let stored = self.layout_of(stream).await?.unwrap_or_default();
        check_layout(stream, wanted, &stored)
    }
}

/// Rows by bucket; a subject's rows never part.
fn row_groups(frame: &Frame, buckets: i32, now: i64) -> Vec<Group<'_>> {
    let mut rows: Vec<(i32, &RowWrite)> = frame.rows.iter().map(|row| (bucket_of(&row.key.subject, buckets), row)).collect();
    rows.sort_by(|(one, first), (two, second)| (one, &first.key.subject).cmp(&(two, &second.key.subject)));
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut last_bucket = None;
    for subject_rows in rows.chunk_by(|(_, first), (_, second)| first.key.subject == second.key.subject) {
        let bucket = subject_rows[0].0;
        let bytes: usize = subject_rows.iter().map(|(_, row)| STATEMENT_BYTES + row_bytes(row)).sum();
        let full = groups.last().is_none_or(|group| group.bytes + bytes > BATCH_BYTES_MAX);
        if full || last_bucket != Some(bucket) {
            groups.push(Group::default());
            last_bucket = Some(bucket);
        }
        if let Some(group) = groups.last_mut() {
            for (_, row) in subject_rows {
                group.push(row_values(frame, bucket, row, now), row_bytes(row));
            }
        }
    }
    groups
}

fn row_bytes(row: &RowWrite) -> usize {
    row.key.subject.len() + row.key.sort.len() + row.val.as_ref().map_or(0, bytes::Bytes::len)
}

fn row_values<'a>(frame: &'a Frame, bucket: i32, row: &'a RowWrite, now: i64) -> Values<'a> {
    let (stream, shard, key) = (&*frame.shard.stream, frame.shard.number, &row.key);
    match &row.val {
        None => Values::DeleteRow((frame.ts, stream, shard, bucket, &key.subject, &key.sort)),
        Some(val) => {
            let expire_at = row.expire_at.unwrap_or(NEVER);
            Values::PutRow((stream, shard, bucket, &key.subject, &key.sort, val, expire_at, frame.ts, ttl(row.expire_at, now)))
        }
    }
}

/// Agenda items by slice.
fn agenda_groups(frame: &Frame) -> Vec<Group<'_>> {
    let (stream, shard) = (&*frame.shard.stream, frame.shard.number);
    let mut items: Vec<_> = frame.agenda.iter().collect();
    items.sort_by_key(|item| slice_of(item.key.due));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for slice_items in items.chunk_by(|one, two| slice_of(one.key.due) == slice_of(two.key.due)) {
        let mut group = Group::default();
        for item in slice_items {
            let AgendaKey { due, id } = &item.key;
            let slice = slice_of(*due);
            let (values, bytes) = match &item.val {
                None => (Values::DeleteAgenda((frame.ts, stream, shard, slice, *due, id)), 0),
                Some(val) => (Values::PutAgenda((stream, shard, slice, *due, id, &item.subject, val, frame.ts)), val.len()),
            };
            if group.bytes + bytes > BATCH_BYTES_MAX {
                groups.push(std::mem::take(&mut group));
            }
            group.push(values, bytes + id.len() + item.subject.len());
        }
        groups.push(group);
    }
    groups
}

/// Parts of one event's status go together.
fn status_groups(frame: &Frame, now: i64) -> Vec<Group<'_>> {
    let mut parts: Vec<_> = frame.status.iter().collect();
    parts.sort_by_key(|part| part.key.event);
    parts
        .chunk_by(|one, two| one.key.event == two.key.event)
        .map(|parts| {
            let mut group = Group::default();
            for part in parts {
                let (expire_at, ttl) = (part.expire_at.unwrap_or(NEVER), ttl(part.expire_at, now));
                group.push(
                    Values::PutStatus((&part.key.event, &part.key.part, &part.val, expire_at, frame.ts, ttl)),
                    part.val.len(),
                );
            }
            group
        })
        .collect()
}

/// Each minute is a partition of its own.
fn dedupe_groups(frame: &Frame) -> Vec<Group<'_>> {
    let (stream, shard) = (&*frame.shard.stream, frame.shard.number);
    let puts = frame.dedupe.iter().map(|row| Values::PutDedupe((stream, shard, row.minute, row.ts, &row.keys, row.ts)));
    let ends = frame.dedupe_ended.iter().map(|minute| Values::EndMinute((frame.ts, stream, shard, *minute)));
    puts.chain(ends).map(|values| Group { values: vec![values], bytes: 0 }).collect()
}

/// Seconds until the database may forget a value; 0 = never. A value that has expired already gets none: only the
/// clock of this process says so, and the watermark's replay must not depend on it.
fn ttl(expire_at: Option<i64>, now: i64) -> i32 {
    let Some(left) = expire_at.map(|at| at.saturating_sub(now)).filter(|left| *left > 0) else { return 0 };
    let seconds = left / 1_000_000 + EXPIRED_LIFE;
    if seconds > TTL_MAX { 0 } else { i32::try_from(seconds).unwrap_or(0) }
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX))
}
