//! The three engines: what they are called, which version, where they listen.

use crate::options::Options;

/// Version of Apache Kafka. A newer one counts when broker, tools and clients of it all resolve.
const KAFKA_VERSION: &str = "4.3.1";
/// Version of Apache Cassandra.
const CASSANDRA_VERSION: &str = "5.0.9";
/// Version of Apicurio Registry; the newest that runs on Java 17.
const APICURIO_VERSION: &str = "3.0.9";

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

    /// The ports it binds; the first is the one clients use.
    pub(crate) fn ports(self, options: &Options) -> Vec<Port> {
        let port = |number, flag| Port { number, flag };
        match self {
            Self::Kafka => {
                vec![port(options.ports.kafka, "--kafka-port N"), port(options.ports.controller, "--controller-port N")]
            }
            Self::Registry => vec![port(options.ports.registry, "--registry-port N")],
            Self::Cassandra => vec![port(options.ports.cql, "--cql-port N"), port(options.ports.storage, "--storage-port N")],
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
