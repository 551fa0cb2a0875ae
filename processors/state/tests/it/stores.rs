//! The stores under test.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scylla::client::session_builder::SessionBuilder;
use state::{Cql, CqlOptions, Embedded, Memory, StateStore};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// A store, and what must live as long as it.
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn StateStore>,
    _folder: Option<tempfile::TempDir>,
}

/// Keyspaces of runs older than this are dropped.
const STALE: Duration = Duration::from_secs(3_600);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static CQL: OnceCell<Cql> = OnceCell::const_new();

/// Runs a test on the runtime all tests share: a session lives on the runtime that made it.
pub(crate) fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(test);
}

/// Waits for `work` on a thread that is no worker of the runtime.
pub(crate) fn wait<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

pub(crate) fn memory() -> Fixture {
    Fixture { store: Arc::new(Memory::new()), _folder: None }
}

pub(crate) async fn embedded() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    Fixture { store: Arc::new(Embedded::open(folder.path()).await.unwrap()), _folder: Some(folder) }
}

pub(crate) async fn cql() -> Fixture {
    let connect = || async {
        sweep().await;
        Cql::connect(&cql_options("suite").await).await.unwrap()
    };
    Fixture { store: Arc::new(CQL.get_or_init(connect).await.clone()), _folder: None }
}

/// Options for a keyspace of this run.
pub(crate) async fn cql_options(name: &str) -> CqlOptions {
    CqlOptions {
        nodes: vec![cql_address().await],
        keyspace: name.to_owned(),
        prefix: format!("fbt_{}_{}_", now().as_secs(), std::process::id()),
        replication: 1,
        request_time_ms: 30_000,
        ..CqlOptions::default()
    }
}

/// The node named by the environment, else one that is started for the run.
pub(crate) async fn cql_address() -> String {
    match std::env::var("FOREBAY_TEST_CQL") {
        Ok(address) if !address.is_empty() => address,
        _ => testkit::engines().await.cql.clone().unwrap(),
    }
}

/// A name no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{prefix}-{}-{next}", std::process::id())
}

pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Drops what earlier runs left behind.
async fn sweep() {
    let session = SessionBuilder::new().known_node(cql_address().await).build().await.unwrap();
    let answer = session.query_unpaged("SELECT keyspace_name FROM system_schema.keyspaces", ()).await.unwrap();
    for name in answer.into_rows_result().unwrap().rows::<(String,)>().unwrap() {
        let (name,) = name.unwrap();
        let made = name.strip_prefix("fbt_").and_then(|rest| rest.split('_').next()).and_then(|secs| secs.parse().ok());
        if made.is_some_and(|secs: u64| Duration::from_secs(secs) + STALE < now()) {
            session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {name}"), ()).await.unwrap();
        }
    }
}
