//! Engines of the quick start: given by address, or started on this machine.

use anyhow::{Context, Result};
use local_engines::{Engines, Options, Owner, Ports, Want};

use crate::config::Config;

/// Finds, starts or checks Kafka, the registry and, when the store is CQL, a node of it.
pub(crate) async fn start(config: &Config) -> Result<Engines> {
    some(config, Want { kafka: true, registry: true, cql: config.store.kind == state::config::Kind::Cql }).await
}

/// Finds, starts or checks some of them.
pub(crate) async fn some(config: &Config, want: Want) -> Result<Engines> {
    let given = |address: &str| (!address.is_empty()).then(|| address.to_owned());
    let engines = &config.engines;
    let mut options = Options::new(Owner::Quickstart);
    options.data.clone_from(&engines.dir);
    options.want = want;
    options.kafka = given(&engines.kafka);
    options.registry = given(&engines.registry);
    options.cql = given(&engines.cql);
    options.ports = Ports {
        kafka: engines.kafka_port,
        controller: engines.controller_port,
        registry: engines.registry_port,
        cql: engines.cql_port,
        storage: engines.storage_port,
    };
    options.progress = |line| eprintln!("  {line}");
    local_engines::start(options).await.context("engines")
}
