//! What tests need around the thing under test: engines, names of their own, patience, plain Kafka clients.
//!
//! A dev-dependency only. `engines()` first; everything else takes the addresses from there.

pub mod kafka;
pub mod patience;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::OnceCell;

use local_engines::{Options, Owner};

pub use local_engines::Engines;
pub use patience::{eventually, eventually_async};

static ENGINES: OnceCell<Engines> = OnceCell::const_new();

/// The engines of this test run: those named by `FOREBAY_TEST_KAFKA`, `FOREBAY_TEST_REGISTRY` and `FOREBAY_TEST_CQL`,
/// the others started, or found running from the test binary before. `cql` is always set.
///
/// # Panics
/// When they cannot be had, with the sentence that says what to do.
pub async fn engines() -> &'static Engines {
    let start = || async {
        let mut options = Options::new(Owner::Tests);
        options.kafka = address("FOREBAY_TEST_KAFKA");
        options.registry = address("FOREBAY_TEST_REGISTRY");
        options.cql = address("FOREBAY_TEST_CQL");
        match local_engines::start(options).await {
            Ok(engines) => engines,
            Err(error) => panic!("{error}"),
        }
    };
    ENGINES.get_or_init(start).await
}

/// A name no other test, run or machine has: `<prefix>_t<unix seconds>_<pid>_<n>`, fit for topics and keyspaces.
/// The time in it lets [`kafka::sweep`] find what is stale.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    format!("{prefix}_t{seconds}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn address(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
