//! Keyspace, tables and their versions, and what nodes must be set to.
//!
//! Each step is idempotent and harmless when many processes take it at once, so no lock is needed; the version is
//! written with itself as its time, so that the highest one stays.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::cluster::NodeRef;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::response::query_result::QueryResult;
use scylla::statement::unprepared::Statement;
use tokio::time::sleep;

use super::failed;
use super::options::CqlOptions;
use crate::store::Error;

/// Tries of one step: processes that create the same table at once may meet each other's schema change.
const TRIES: u32 = 6;
const RETRY: Duration = Duration::from_millis(300);

/// Steps from each version to the next. Only ever appended to.
const MIGRATIONS: [&[&str]; 1] = [&[
    "CREATE TABLE IF NOT EXISTS {ks}.rows (stream text, shard int, bucket int, subject text, sort text, val blob, \
     expire_at bigint, PRIMARY KEY ((stream, shard, bucket), subject, sort)) WITH gc_grace_seconds = 864000",
    "CREATE TABLE IF NOT EXISTS {ks}.agenda (stream text, shard int, slice bigint, due bigint, id text, subject text, \
     val blob, PRIMARY KEY ((stream, shard, slice), due, id)) WITH gc_grace_seconds = 864000",
    "CREATE TABLE IF NOT EXISTS {ks}.dedupe (stream text, shard int, minute bigint, ts bigint, keys blob, \
     PRIMARY KEY ((stream, shard, minute), ts)) WITH gc_grace_seconds = 864000",
    "CREATE TABLE IF NOT EXISTS {ks}.event_status (key blob, part text, val blob, expire_at bigint, \
     PRIMARY KEY (key, part)) WITH gc_grace_seconds = 864000",
    "CREATE TABLE IF NOT EXISTS {ks}.shards (stream text, shard int, val blob, PRIMARY KEY ((stream, shard))) \
     WITH gc_grace_seconds = 864000",
    "CREATE TABLE IF NOT EXISTS {ks}.streams (stream text PRIMARY KEY, partitions int, buckets int, layout int) \
     WITH gc_grace_seconds = 864000",
]];

/// Brings keyspace and tables to this program's version, or checks that they have it.
pub(super) async fn prepare(session: &Session, options: &CqlOptions, keyspace: &str) -> Result<(), Error> {
    let wanted = MIGRATIONS.len();
    if options.create_schema && !exists(session, keyspace).await? {
        let replication = options.replication_map()?;
        let create =
            format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication} AND durable_writes = true");
        step(session, &create).await?;
    }
    let found = version(session, keyspace).await?;
    if found > wanted {
        return Err(Error::Refused(format!(
            "keyspace {keyspace} has schema version {found}, this program knows {wanted}: run the newer program"
        )));
    }
    if found < wanted && !options.create_schema {
        return Err(Error::Refused(format!(
            "keyspace {keyspace} has schema version {found}, this program needs {wanted}: create the store's schema first, \
             or set `create_schema = true`"
        )));
    }
    for statement in MIGRATIONS[found..].iter().copied().flatten() {
        step(session, &statement.replace("{ks}", keyspace)).await?;
    }
    if found < wanted {
        let table = "CREATE TABLE IF NOT EXISTS {ks}.schema_version (component text PRIMARY KEY, version int)";
        step(session, &table.replace("{ks}", keyspace)).await?;
        let insert = "INSERT INTO {ks}.schema_version (component, version) VALUES ('state', {v}) USING TIMESTAMP {v}";
        step(session, &insert.replace("{ks}", keyspace).replace("{v}", &wanted.to_string())).await?;
        tracing::info!(keyspace, from = found, to = wanted, "store schema migrated");
    }
    Ok(())
}

/// Refuses nodes that acknowledge writes before they are synced (S2), where nodes tell it.
pub(super) async fn check_synced(session: &Session, options: &CqlOptions) -> Result<(), Error> {
    for node in session.get_cluster_state().get_nodes_info() {
        let sync = setting(session, node, "commitlog_sync").await;
        let access = setting(session, node, "commitlog_disk_access_mode").await;
        let problem = match (sync.as_deref(), access.as_deref()) {
            (None, _) => {
                tracing::warn!(node = %node.address, "the node does not show commitlog_sync: it has to be batch or group");
                None
            }
            (Some("batch" | "group"), None | Some("legacy")) => None,
            (Some("batch" | "group"), Some(mode)) => Some(format!("commitlog_disk_access_mode is {mode}, set it to legacy")),
            (Some(sync), _) => Some(format!("commitlog_sync is {sync}, set it to batch or group")),
        };
        match problem {
            None => {}
            Some(problem) if options.allow_unsynced => {
                tracing::warn!(node = %node.address, problem, "a crash of the node may lose acknowledged state");
            }
            Some(problem) => {
                return Err(Error::Refused(format!(
                    "CQL node {} acknowledges writes before they are on disk: {problem} (or accept the loss of state with \
                     `allow_unsynced = true`)",
                    node.address
                )));
            }
        }
    }
    Ok(())
}

/// One setting of one node, from where Cassandra or ScyllaDB show them.
async fn setting(session: &Session, node: NodeRef<'_>, name: &str) -> Option<String> {
    for table in ["system_views.settings", "system.config"] {
        let mut query = Statement::new(format!("SELECT value FROM {table} WHERE name = '{name}'"));
        query.set_consistency(scylla::statement::Consistency::One);
        let target = NodeIdentifier::HostId(node.host_id);
        query.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
        let Ok(answer) = session.query_unpaged(query, ()).await else { continue };
        let value = answer.into_rows_result().ok().and_then(|rows| rows.maybe_first_row::<(Option<String>,)>().ok().flatten());
        if let Some((Some(value),)) = value {
            return Some(value.trim_matches('"').to_owned());
        }
    }
    None
}

async fn exists(session: &Session, keyspace: &str) -> Result<bool, Error> {
    let query = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let answer = session.query_unpaged(query, (keyspace,)).await.map_err(failed)?;
    Ok(answer.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0))
}

/// Version of the schema that is there; 0 when there is none.
async fn version(session: &Session, keyspace: &str) -> Result<usize, Error> {
    let query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_version'";
    let table = session.query_unpaged(query, (keyspace,)).await.map_err(failed)?;
    if !table.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0) {
        return Ok(0);
    }
    let query = format!("SELECT version FROM {keyspace}.schema_version WHERE component = 'state'");
    // a table that another process is just making is in the system's tables before it can be read
    let answer = step(session, &query).await?;
    let row = answer.into_rows_result().ok().and_then(|rows| rows.maybe_first_row::<(i32,)>().ok().flatten());
    Ok(row.map_or(0, |(version,)| usize::try_from(version).unwrap_or(0)))
}

/// One idempotent statement, tried again while other processes change the schema too.
async fn step(session: &Session, statement: &str) -> Result<QueryResult, Error> {
    let mut tries = 1;
    loop {
        match session.query_unpaged(statement, ()).await {
            Ok(answer) => return Ok(answer),
            Err(error) if tries == TRIES => return Err(failed(error)),
            Err(error) => {
                tracing::debug!(%error, tries, "a step of the schema is tried again");
                tries += 1;
                sleep(RETRY).await;
            }
        }
    }
}
