//! What tests need around the thing under test: engines, names of their own, patience, plain Kafka clients, processes to
//! kill and stop, a proxy that breaks connections, and checkers.
//!
//! A dev-dependency only. [`engines`] first; everything else takes its addresses from there.

pub mod account;
pub mod checkers;
pub mod follower;
pub mod forgetful;
pub mod kafka;
pub mod name;
pub mod patience;
pub mod pipeline;
pub mod port;
pub mod process;
pub mod proxy;
pub mod scenarios;
pub mod suite;
pub mod transaction;
pub mod witness;

use tokio::sync::OnceCell;

use local_engines::{Options, Owner, Want};

pub use account::Account;
pub use follower::Follower;
pub use forgetful::Forgetful;
pub use kafka::Kafka;
pub use local_engines::Engines;
pub use name::{is_stale, unique};
pub use patience::{eventually, eventually_async};
pub use pipeline::Pipeline;
pub use port::free_port;
pub use process::Process;
pub use proxy::Proxy;
pub use transaction::Transactions;
pub use witness::{Watched, Witness};

/// All engines of this test run; `cql` is always set. Those named by `FOREBAY_TEST_KAFKA`, `FOREBAY_TEST_REGISTRY` and
/// `FOREBAY_TEST_CQL` are used; the others are started, or found running from the test binary before.
///
/// # Panics
/// When they cannot be had, with the sentence that says what to do.
pub async fn engines() -> &'static Engines {
    static ALL: OnceCell<Engines> = OnceCell::const_new();
    ALL.get_or_init(|| obtain(Want { kafka: true, registry: true, cql: true })).await
}

/// A client of Kafka alone, for tests that need no other engine.
///
/// # Panics
/// As [`engines`] does.
pub async fn kafka_only() -> Kafka {
    static KAFKA: OnceCell<Engines> = OnceCell::const_new();
    let engines = KAFKA.get_or_init(|| obtain(Want { kafka: true, registry: false, cql: false })).await;
    Kafka::new(&engines.kafka)
}

async fn obtain(want: Want) -> Engines {
    let mut options = Options::new(Owner::Tests);
    options.want = want;
    options.kafka = address("FOREBAY_TEST_KAFKA");
    options.registry = address("FOREBAY_TEST_REGISTRY");
    options.cql = address("FOREBAY_TEST_CQL");
    let engines = local_engines::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    Kafka::new(&engines.kafka).sweep().await;
    engines
}

fn address(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}
