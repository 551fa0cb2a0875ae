//! Where the engines are.

use clap::Args;

/// Addresses of Kafka, registry and CQL node.
#[derive(Args, Clone, Debug)]
pub(crate) struct Engines {
    /// Kafka, host:port.
    #[arg(long, env = "ENGINE_BENCH_KAFKA", default_value = "127.0.0.1:9092")]
    pub(crate) kafka: String,
    /// Base address of the schema registry.
    #[arg(long, env = "ENGINE_BENCH_REGISTRY", default_value = "http://127.0.0.1:8085/apis/ccompat/v7")]
    pub(crate) registry: String,
    /// CQL node, host:port.
    #[arg(long, env = "ENGINE_BENCH_CQL", default_value = "127.0.0.1:9042")]
    pub(crate) cql: String,
}

impl Engines {
    /// The same as command line arguments, for a child.
    pub(crate) fn arguments(&self) -> [String; 6] {
        let Self { kafka, registry, cql } = self;
        ["--kafka", kafka, "--registry", registry, "--cql", cql].map(str::to_owned)
    }
}
