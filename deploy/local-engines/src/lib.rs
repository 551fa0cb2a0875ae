//! Kafka, the schema registry and a CQL node on this machine, without Docker.
//!
//! Called by the quick start (`deploy/all-in-one`), by `testkit` and by the command `local-engines`.
//! The engines are ordinary Java programs from Maven Central; `docs/engines.md` says how and why.

mod cassandra;
pub mod control;
mod engine;
pub mod error;
mod folder;
mod java;
mod kafka;
pub mod kind;
pub mod options;
mod process;
mod ready;
mod registry;
mod software;

use tokio::try_join;

use folder::User;
use kind::{Kind, Member};

pub use error::Error;
pub use options::{Options, Owner, Ports, Want};

/// Engines in use by this process. Dropping it gives them back: they stop when nobody uses them for [`Options::linger`].
#[derive(Debug)]
pub struct Engines {
    /// Kafka's address, `host:port`, of several nodes separated by commas; empty when it was not wanted.
    pub kafka: String,
    /// The registry's base URL, ending in `/apis/ccompat/v7` when started here; empty when it was not wanted.
    pub registry: String,
    /// The CQL node's address, `host:port`, when wanted.
    pub cql: Option<String>,
    _users: Vec<User>,
}

impl Engines {
    /// Gives the engines back, as dropping does.
    pub async fn stop(self) {
        drop(self);
    }
}

/// Attaches to running engines or starts them, and returns when each of them answers real requests.
///
/// An engine whose address is given is only checked. The registry of the quick start keeps its schemas in Kafka,
/// so Kafka comes up with it whether it was wanted or not.
///
/// # Errors
/// Any of [`Error`]: each says what to do.
pub async fn start(options: Options) -> Result<Engines, Error> {
    let Want { kafka, registry, cql } = options.want;
    // The quick start's registry keeps its schemas in Kafka.
    let kafka = kafka || (registry && options.registry.is_none() && options.owner == Owner::Quickstart);
    let (kafka, registry, cql) = try_join!(
        nodes(kafka, &options),
        one(registry, &options, Kind::Registry, options.registry.as_deref()),
        one(cql, &options, Kind::Cassandra, options.cql.as_deref()),
    )?;
    Ok(Engines {
        kafka: kafka.address,
        registry: registry.address,
        cql: Some(cql.address).filter(|address| !address.is_empty()),
        _users: [kafka.users, registry.users, cql.users].into_iter().flatten().collect(),
    })
}

/// One engine of the answer; with an empty address when it was not wanted.
#[derive(Default)]
struct Obtained {
    address: String,
    users: Vec<User>,
}

/// Kafka, with as many nodes as are wanted: side by side, as none can do anything before most of them run.
async fn nodes(wanted: bool, options: &Options) -> Result<Obtained, Error> {
    if !wanted || options.kafka.is_some() || options.kafka_nodes <= 1 {
        return one(wanted, options, Kind::Kafka, options.kafka.as_deref()).await;
    }
    let starting = Member::kafka(options.kafka_nodes).into_iter().map(|node| engine::obtain(options, node));
    let engines = futures::future::try_join_all(starting).await?;
    let addresses: Vec<_> = engines.iter().map(|engine| Kind::Kafka.address(engine.port)).collect();
    Ok(Obtained { address: addresses.join(","), users: engines.into_iter().map(|engine| engine.user).collect() })
}

async fn one(wanted: bool, options: &Options, kind: Kind, given: Option<&str>) -> Result<Obtained, Error> {
    match given {
        _ if !wanted => Ok(Obtained::default()),
        Some(address) => {
            engine::check(kind, address).await?;
            Ok(Obtained { address: address.to_owned(), users: Vec::new() })
        }
        None => {
            let engine = engine::obtain(options, Member::only(kind)).await?;
            Ok(Obtained { address: kind.address(engine.port), users: vec![engine.user] })
        }
    }
}
