//! What to start and where: the inputs of [`start`](crate::start).

use std::path::{Path, PathBuf};
use std::time::Duration;

/// On whose behalf the engines run. Decides the defaults of [`Options::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A person's process: fixed ports, data and schema ids survive, engines stop with their last user.
    Quickstart,
    /// Test binaries: other ports (any free one when taken), engines linger so that the next binary finds them warm.
    Tests,
}

/// Which engines are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Apache Kafka.
    pub kafka: bool,
    /// The schema registry (Apicurio).
    pub registry: bool,
    /// A CQL node (Apache Cassandra, standing in for ScyllaDB).
    pub cql: bool,
}

/// Loopback ports of the engines started here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Kafka's listener for clients.
    pub kafka: u16,
    /// Kafka's controller.
    pub controller: u16,
    /// The registry's HTTP port.
    pub registry: u16,
    /// CQL clients.
    pub cql: u16,
    /// Cassandra's node to node port (unused with one node, but it is bound).
    pub storage: u16,
}

/// Inputs of [`start`](crate::start).
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of everything that is downloaded, configured or stored; may be deleted at any time. Default [`default_folder`].
    pub data: PathBuf,
    /// On whose behalf the engines run; also the name of the folder of their data below `data`.
    pub owner: Owner,
    /// Which engines are needed.
    pub want: Want,
    /// Address (`host:port`) of a Kafka to use instead of starting one.
    pub kafka: Option<String>,
    /// Base URL of a Confluent-compatible registry to use instead of starting one.
    pub registry: Option<String>,
    /// Address (`host:port`) of a CQL node to use instead of starting one.
    pub cql: Option<String>,
    /// Ports of the engines started here.
    pub ports: Ports,
    /// Nodes of Kafka: 1, or 3 with three replicas of everything, of which two must be in sync. Nodes 2 and 3 have the ports
    /// two and four above those of `ports`, none of which is searched for.
    pub kafka_nodes: u16,
    /// The ports on which the nodes of Kafka, in their order, tell clients and each other to reach them: those of proxies before
    /// them. Nodes without one tell their own.
    pub kafka_advertised: Vec<u16>,
    /// How long engines outlive their last user.
    pub linger: Duration,
    /// Receives one line at a time, for people: what is being downloaded or waited for.
    pub progress: fn(&str),
}

impl Options {
    /// The defaults for an owner: all engines for tests, Kafka and the registry for the quick start.
    pub fn new(owner: Owner) -> Self {
        let quick = owner == Owner::Quickstart;
        Self {
            data: default_folder(),
            owner,
            want: Want { kafka: true, registry: true, cql: !quick },
            kafka: None,
            registry: None,
            cql: None,
            ports: if quick { Ports::QUICKSTART } else { Ports::TESTS },
            kafka_nodes: 1,
            kafka_advertised: Vec::new(),
            linger: if quick { Duration::ZERO } else { Duration::from_secs(60) },
            progress: |line| eprintln!("{line}"),
        }
    }
}

impl Ports {
    /// Defaults of the quick start.
    pub const QUICKSTART: Self = Self { kafka: 9092, controller: 9093, registry: 8085, cql: 9042, storage: 7000 };
    /// Defaults of tests: a running quick start is not disturbed.
    pub const TESTS: Self = Self { kafka: 29092, controller: 29093, registry: 28085, cql: 29042, storage: 27000 };
}

impl Owner {
    /// Folder of this owner's engines below [`Options::data`].
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Quickstart => "quickstart",
            Self::Tests => "tests",
        }
    }
}

/// `engines` in the [`target_folder`]. So all programs of one build share one set of engines.
pub fn default_folder() -> PathBuf {
    target_folder().join("engines")
}

/// The cargo target folder this executable lies in (found by cargo's `CACHEDIR.TAG`), else `target` below the working
/// folder. So what a program of a build keeps is found again from any working folder.
pub fn target_folder() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    let target = executable.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(Path::new("target")).to_owned()
}
