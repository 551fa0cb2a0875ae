//! All statements, prepared once.

use futures::future::try_join_all;
use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

use crate::store::Error;

/// Rows per page of a read.
const PAGE_ROWS: i32 = 200;

macro_rules! statements {
    ($($name:ident: $text:expr;)*) => {
        /// The statements, by name.
        pub(super) struct Statements { $(pub(super) $name: PreparedStatement,)* }

        impl Statements {
            /// Prepares all of them in `keyspace`.
            pub(super) async fn prepare(session: &Session, keyspace: &str, consistency: Consistency) -> Result<Self, Error> {
                let texts = [$($text,)*];
                let all = texts.map(|text| prepare_one(session, text.replace("{ks}", keyspace), consistency));
                let mut all = try_join_all(all).await?.into_iter();
                Ok(Self { $($name: all.next().ok_or_else(|| Error::Damaged("a statement is missing".to_owned()))?,)* })
            }
        }
    };
}

statements! {
    put_row: "INSERT INTO {ks}.rows (stream, shard, bucket, subject, sort, val, expire_at) VALUES (?, ?, ?, ?, ?, ?, ?) \
              USING TIMESTAMP ? AND TTL ?";
    delete_row: "DELETE FROM {ks}.rows USING TIMESTAMP ? WHERE stream = ? AND shard = ? AND bucket = ? AND subject = ? AND sort = ?";
    put_agenda: "INSERT INTO {ks}.agenda (stream, shard, slice, due, id, subject, val) VALUES (?, ?, ?, ?, ?, ?, ?) \
                 USING TIMESTAMP ?";
    delete_agenda: "DELETE FROM {ks}.agenda USING TIMESTAMP ? WHERE stream = ? AND shard = ? AND slice = ? AND due = ? AND id = ?";
    put_status: "INSERT INTO {ks}.event_status (key, part, val, expire_at) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
    put_dedupe: "INSERT INTO {ks}.dedupe (stream, shard, minute, ts, keys) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    end_minute: "DELETE FROM {ks}.dedupe USING TIMESTAMP ? WHERE stream = ? AND shard = ? AND minute = ?";
    put_mark: "INSERT INTO {ks}.shards (stream, shard, val) VALUES (?, ?, ?) USING TIMESTAMP ?";
    put_stream: "INSERT INTO {ks}.streams (stream, partitions, buckets, layout) VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
    stream: "SELECT partitions, buckets, layout FROM {ks}.streams WHERE stream = ?";
    mark: "SELECT val FROM {ks}.shards WHERE stream = ? AND shard = ?";
    rows: "SELECT subject, sort, val, expire_at, WRITETIME(val) FROM {ks}.rows \
           WHERE stream = ? AND shard = ? AND bucket = ? AND (subject, sort) IN ?";
    range: "SELECT subject, sort, val, expire_at, WRITETIME(val) FROM {ks}.rows \
            WHERE stream = ? AND shard = ? AND bucket = ? AND subject = ? AND sort >= ? LIMIT ?";
    range_between: "SELECT subject, sort, val, expire_at, WRITETIME(val) FROM {ks}.rows \
                    WHERE stream = ? AND shard = ? AND bucket = ? AND subject = ? AND sort >= ? AND sort < ? LIMIT ?";
    subject: "SELECT subject, sort, val, expire_at, WRITETIME(val) FROM {ks}.rows \
              WHERE stream = ? AND shard = ? AND bucket = ? AND subject = ?";
    subjects: "SELECT subject FROM {ks}.rows \
               WHERE stream = ? AND shard = ? AND bucket = ? AND subject >= ? GROUP BY subject LIMIT ?";
    subjects_between: "SELECT subject FROM {ks}.rows \
                       WHERE stream = ? AND shard = ? AND bucket = ? AND subject >= ? AND subject < ? GROUP BY subject LIMIT ?";
    agenda: "SELECT due, id, subject, val FROM {ks}.agenda \
             WHERE stream = ? AND shard = ? AND slice = ? AND (due, id) >= (?, ?) AND (due, id) < (?, ?) LIMIT ?";
    agenda_item: "SELECT due, id, subject, val FROM {ks}.agenda \
                  WHERE stream = ? AND shard = ? AND slice = ? AND due = ? AND id = ?";
    dedupe: "SELECT ts, keys FROM {ks}.dedupe WHERE stream = ? AND shard = ? AND minute = ?";
    status: "SELECT part, val, expire_at, WRITETIME(val) FROM {ks}.event_status WHERE key = ?";
}

/// All are idempotent: a write carries its time, so the driver may send it twice.
async fn prepare_one(session: &Session, text: String, consistency: Consistency) -> Result<PreparedStatement, Error> {
    let prepared = session.prepare(text).await;
    let mut prepared = prepared.map_err(|error| Error::Unavailable(format!("a statement could not be prepared: {error}")))?;
    prepared.set_consistency(consistency);
    prepared.set_is_idempotent(true);
    prepared.set_page_size(PAGE_ROWS);
    Ok(prepared)
}
