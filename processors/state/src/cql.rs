//! State in ScyllaDB or Cassandra, the production store. No lightweight transactions, no client clocks: every write
//! carries its frame's time, and merging is the database's own last-write-wins (S1, S9).

mod options;
mod read;
mod ready;
mod schema;
mod statements;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use self::statements::Statements;
use crate::metrics::Timed;
use crate::store::{Error, StateStore};
use crate::types::{AgendaItem, AgendaKey, Cell, DedupeRow, Frame, Mark, RowKey, RowRange, Shard, StatusCell};

pub use self::options::CqlOptions;
pub use self::ready::wait_ready;

const KIND: &str = "cql";
/// Statements on their way at the same time, per call.
const IN_FLIGHT: usize = 64;
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// The CQL store. Clones share one session.
#[derive(Clone)]
pub struct Cql {
    session: Arc<Session>,
    statements: Arc<Statements>,
    /// Buckets by stream, from [`StateStore::open_stream`] or as stored.
    buckets: Arc<Buckets>,
}

type Buckets = std::sync::RwLock<std::collections::HashMap<Arc<str>, i32>>;

impl Cql {
    /// Connects, brings the schema up to this program's version, and checks that nodes acknowledge only synced writes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no node answers, [`Error::Refused`] when the set-up must be changed first; both say
    /// what to do.
    pub async fn connect(options: &CqlOptions) -> Result<Self, Error> {
        let keyspace = options.keyspace()?;
        let session = open_session(options).await?;
        schema::prepare(&session, options, &keyspace).await?;
        schema::check_synced(&session, options).await?;
        let statements = Statements::prepare(&session, &keyspace, options.consistency()).await?;
        Ok(Self { session: Arc::new(session), statements: Arc::new(statements), buckets: Arc::default() })
    }

    /// The bucket of a subject: its place among the stream's CQL partitions of one shard.
    async fn bucket(&self, shard: &Shard, subject: &str) -> Result<i32, Error> {
        Ok(bucket_of(subject, self.buckets_of(&shard.stream).await?))
    }

    async fn buckets_of(&self, stream: &Arc<str>) -> Result<i32, Error> {
        let known = self.buckets.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(stream).copied();
        if let Some(buckets) = known {
            return Ok(buckets);
        }
        let stored = self.layout_of(stream).await?;
        let [_, buckets, _] = stored.ok_or_else(|| {
            Error::Unavailable(format!("stream {stream} is not in the store yet: its processor has to start first"))
        })?;
        self.remember(stream, buckets);
        Ok(buckets)
    }

    fn remember(&self, stream: &Arc<str>, buckets: i32) {
        self.buckets.write().unwrap_or_else(std::sync::PoisonError::into_inner).insert(stream.clone(), buckets);
    }
}

/// First byte of BLAKE3 of the subject, modulo the stream's buckets. Not murmur2: that would repeat the partition.
fn bucket_of(subject: &str, buckets: i32) -> i32 {
    i32::from(blake3::hash(subject.as_bytes()).as_bytes()[0]) % buckets.max(1)
}

async fn open_session(options: &CqlOptions) -> Result<Session, Error> {
    let profile = ExecutionProfile::builder()
        .consistency(options.consistency())
        .request_timeout(Some(Duration::from_millis(options.request_time_ms)))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&options.nodes)
        .connection_timeout(CONNECT_TIME)
        .default_execution_profile_handle(profile.into_handle());
    if let Some(datacenter) = &options.datacenter {
        builder = builder.prefer_datacenter(datacenter.clone());
    }
    if let Some((user, password)) = options.credentials()? {
        builder = builder.user(user, password);
    }
    builder.build().await.map_err(|error| {
        let nodes = options.nodes.join(", ");
        Error::Unavailable(format!(
            "no CQL node answers at {nodes} ({error}): start one, correct `nodes`, or use the embedded store"
        ))
    })
}

/// Sorts the driver's errors: what a repetition may cure, and what it never will.
fn failed(error: ExecutionError) -> Error {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::SyntaxError | DbError::Invalid | DbError::Unauthorized | DbError::ConfigError | DbError::AuthenticationError,
            text,
        )) => Error::Refused(format!("the CQL node refused a statement: {text}")),
        ExecutionError::BadQuery(error) => Error::Damaged(format!("a statement could not be sent: {error}")),
        other => Error::Unavailable(other.to_string()),
    }
}

#[async_trait]
impl StateStore for Cql {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn open_stream(&self, stream: &str, partitions: i32, buckets: i32) -> Result<(), Error> {
        let _timed = Timed::start(KIND, "open_stream");
        self.settle_layout(stream, &[partitions, buckets, crate::LAYOUT]).await?;
        self.remember(&stream.into(), buckets);
        Ok(())
    }

    async fn apply(&self, frame: &Frame) -> Result<(), Error> {
        let _timed = Timed::start(KIND, "apply");
        self.write_frame(frame).await
    }

    async fn set_marks(&self, marks: &[(Shard, Mark)]) -> Result<(), Error> {
        let _timed = Timed::start(KIND, "set_marks");
        self.write_marks(marks).await
    }

    async fn mark(&self, shard: &Shard) -> Result<Option<Mark>, Error> {
        let _timed = Timed::start(KIND, "mark");
        self.read_mark(shard).await
    }

    async fn rows(&self, shard: &Shard, keys: &[RowKey]) -> Result<Vec<Option<Cell>>, Error> {
        let _timed = Timed::start(KIND, "rows");
        self.read_rows(shard, keys).await
    }

    async fn range(&self, shard: &Shard, range: &RowRange) -> Result<Vec<(RowKey, Cell)>, Error> {
        let _timed = Timed::start(KIND, "range");
        self.read_range(shard, range).await
    }

    async fn subject(&self, shard: &Shard, subject: &str) -> Result<Vec<(RowKey, Cell)>, Error> {
        let _timed = Timed::start(KIND, "subject");
        self.read_subject(shard, subject).await
    }

    async fn subjects(
        &self,
        shard: &Shard,
        prefix: &str,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
        let _timed = Timed::start(KIND, "subjects");
        self.read_subjects(shard, prefix, cursor, limit).await
    }

    async fn agenda(&self, shard: &Shard, from: &AgendaKey, to: &AgendaKey, limit: usize) -> Result<Vec<AgendaItem>, Error> {
        let _timed = Timed::start(KIND, "agenda");
        self.read_agenda(shard, from, to, limit).await
    }

    async fn agenda_item(&self, shard: &Shard, key: &AgendaKey) -> Result<Option<AgendaItem>, Error> {
        let _timed = Timed::start(KIND, "agenda_item");
        self.read_agenda_item(shard, key).await
    }

    async fn dedupe(&self, shard: &Shard, minute: i64) -> Result<Vec<DedupeRow>, Error> {
        let _timed = Timed::start(KIND, "dedupe");
        self.read_dedupe(shard, minute).await
    }

    async fn status(&self, events: &[[u8; 16]]) -> Result<Vec<Vec<StatusCell>>, Error> {
        let _timed = Timed::start(KIND, "status");
        self.read_status(events).await
    }

    async fn ping(&self, within: Duration) -> Result<(), Error> {
        let _timed = Timed::start(KIND, "ping");
        ready::ping(&self.session, within).await
    }
}
