//! The three engines: what they are called, which version, where they listen.

use crate::options::{Options, Ports};

/// Version of Apache Kafka. 4.3.0 to 4.4.0 lose transaction markers when they restart (`docs/adr/0013-not-kafka-4-3.md`).
const KAFKA_VERSION: &str = "4.2.1";
/// Version of Apache Cassandra.
const CASSANDRA_VERSION: &str = "5.0.9";
/// Version of Apicurio Registry; the newest that runs on Java 17.
const APICURIO_VERSION: &str = "3.0.9";

/// Most nodes of Kafka on one machine.
pub const KAFKA_NODES_MAX: u16 = 3;

/// One of the engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Apache Kafka.
    Kafka,
    /// Apicurio Registry.
    Registry,
    /// Apache Cassandra.
    Cassandra,
}

/// One process of an engine. Kafka may have several nodes, counted from 1; the only one of an engine is node 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which engine.
    pub kind: Kind,
    /// Which node of it.
    pub node: u16,
}

impl Member {
    /// The only node of an engine.
    pub const fn only(kind: Kind) -> Self {
        Self { kind, node: 0 }
    }

    /// The nodes of a Kafka of so many.
    pub(crate) fn kafka(nodes: u16) -> Vec<Self> {
        let numbers = if nodes > 1 { 1..=nodes } else { 0..=0 };
        numbers.map(|node| Self { kind: Kind::Kafka, node }).collect()
    }

    /// Every one there may be.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().map(Self::only).chain(Self::kafka(KAFKA_NODES_MAX))
    }

    /// What people call it; also its folder's name.
    pub fn name(self) -> String {
        let Self { kind, node } = self;
        if node == 0 { kind.name().to_owned() } else { format!("{}-{node}", kind.name()) }
    }

    /// The ports it binds; the first is the one clients use.
    pub(crate) fn ports(self, options: &Options) -> Vec<Port> {
        let port = |number, flag| Port { number, flag };
        match self.kind {
            Kind::Kafka => {
                let (kafka, controller) = self.kafka_ports(&options.ports);
                vec![port(kafka, "--kafka-port N"), port(controller, "--controller-port N")]
            }
            Kind::Registry => vec![port(options.ports.registry, "--registry-port N")],
            Kind::Cassandra => vec![port(options.ports.cql, "--cql-port N"), port(options.ports.storage, "--storage-port N")],
        }
    }

    /// Ports of a Kafka node for clients and for controllers: each node's lie two above those of the one before.
    pub(crate) fn kafka_ports(self, ports: &Ports) -> (u16, u16) {
        let above = 2 * self.node.saturating_sub(1);
        (ports.kafka + above, ports.controller + above)
    }
}

/// One port an engine binds on loopback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port {
    pub(crate) number: u16,
    /// How a person chooses another.
    pub(crate) flag: &'static str,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::Registry, Self::Cassandra];

    /// What people call it; also its folder's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Cassandra => "cassandra",
        }
    }

    /// The version that is downloaded.
    pub fn version(self) -> &'static str {
        match self {
            Self::Kafka => KAFKA_VERSION,
            Self::Registry => APICURIO_VERSION,
            Self::Cassandra => CASSANDRA_VERSION,
        }
    }

    /// What its clients are told to use.
    pub(crate) fn address(self, port: u16) -> String {
        match self {
            Self::Kafka | Self::Cassandra => format!("127.0.0.1:{port}"),
            Self::Registry => format!("http://127.0.0.1:{port}/apis/ccompat/v7"),
        }
    }

    /// The flag that uses a running engine at this port instead of starting one.
    pub(crate) fn instead(self, port: u16) -> String {
        let flag = match self {
            Self::Kafka => "--kafka",
            Self::Registry => "--registry",
            Self::Cassandra => "--cql-address",
        };
        format!("{flag} {}", self.address(port))
    }
}
