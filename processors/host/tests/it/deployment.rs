//! The stream `flights` of one test on given engines: its names, the command line of its processes, its audit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::audit::{self, Report};
use schemas::catalog::Catalog;
use schemas::datum::Datum;
use schemas::flights::FlightDeparted;
use schemas::names::Topics;
use schemas::registry::Registry;
use testkit::{Engines, Kafka, Process};

/// Sessions and transactions that end soon, so that a test sees the end of them.
const SHORT: &str = "[kafka.client]\n\"session.timeout.ms\" = \"6000\"\n\"transaction.timeout.ms\" = \"5000\"\n";

pub(crate) struct Deployment {
    pub(crate) kafka: Kafka,
    pub(crate) topics: Topics,
    /// Other than the default.
    dedupe_window: Option<Duration>,
    prefix: String,
    store: state::Config,
    schema: i32,
    arguments: Vec<String>,
}

impl Deployment {
    /// Names nobody else has. Topics and tables are made by the first process.
    pub(crate) async fn new(engines: &Engines, name: &str) -> Self {
        let unique = testkit::unique(name);
        let prefix = format!("{unique}.");
        let (topics, catalog) = (Topics::new(&prefix), Catalog::embedded().unwrap());
        let registry = Registry::new(&engines.registry, None).unwrap();
        let ids = registry.resolve(&topics, &catalog, true).await.unwrap();
        let cql = engines.cql.as_deref().expect("tests have a CQL node");
        let settings = [
            format!("kafka.topic_prefix={prefix}"),
            format!("store.cql.keyspace={unique}"),
            "store.kind=cql".to_owned(),
            "topics.create=true".to_owned(),
            // as many as there are nodes
            format!("topics.replication={}", engines.kafka.split(',').count()),
            "telemetry.format=json".to_owned(),
        ];
        let mut arguments = vec!["flights".to_owned(), "--config".to_owned(), config(&unique).display().to_string()];
        let flags = [("--kafka", &*engines.kafka), ("--registry", &engines.registry), ("--cql", cql), ("--admin", "127.0.0.1:0")];
        arguments.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]));
        arguments.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        let mut store = state::Config { kind: state::Kind::Cql, ..state::Config::default() };
        (store.cql.nodes, store.cql.keyspace) = (vec![cql.to_owned()], unique);
        let schema = ids.id_of(FlightDeparted::RECORD).unwrap();
        Self { kafka: Kafka::new(&engines.kafka), topics, prefix, store, schema, arguments, dedupe_window: None }
    }

    /// Duplicates are found within this span: every new owner of a shard reads it back.
    pub(crate) fn with_dedupe_window(mut self, window: Duration) -> Self {
        self.arguments.extend(["--set".to_owned(), format!("worker.dedupe_window_s={}", window.as_secs())]);
        self.dedupe_window = Some(window);
        self
    }

    /// Starts a process in a slot.
    pub(crate) fn spawn(&self, slot: usize) -> Process {
        self.spawn_with(slot, &[])
    }

    /// The same with further arguments.
    pub(crate) fn spawn_with(&self, slot: usize, further: &[&str]) -> Process {
        // the second process has two workers: they share its fate, and a store that is far away
        let workers = if slot == 1 { "2" } else { "1" };
        let place = ["--slot".to_owned(), format!("slot-{slot}"), "--workers".to_owned(), workers.to_owned()];
        let arguments = self.arguments.iter().chain(&place).map(String::as_str).chain(further.iter().copied());
        Process::spawn(Path::new(env!("CARGO_BIN_EXE_forebay-processor")), arguments)
    }

    /// The value of an event's record.
    pub(crate) fn value(&self, flight: &FlightDeparted) -> Vec<u8> {
        let mut value = Vec::new();
        schemas::frame::begin(self.schema, &mut value);
        flight.encode(&mut value);
        value
    }

    /// Compares log, events, results, dead letters and store of the stopped deployment.
    pub(crate) async fn audit(&self) -> Report {
        let mut options = audit::Options::new(self.kafka.settings().clone(), &self.prefix, "flights");
        options.dedupe_window = self.dedupe_window.unwrap_or(options.dedupe_window);
        let store = state::open(&self.store).await.unwrap();
        let parts = audit::Parts { catalog: Catalog::embedded().unwrap(), store: Some(store) };
        audit::run(options, parts, |_| {}).await.unwrap()
    }
}

/// Assignments that a process told of.
pub(crate) fn assignments(process: &Process) -> usize {
    count(process, "shards run")
}

/// How many lines of a process's output contain a text.
pub(crate) fn count(process: &Process, text: &str) -> usize {
    process.lines().iter().filter(|line| line.contains(text)).count()
}

fn config(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&path, SHORT).unwrap();
    path
}
