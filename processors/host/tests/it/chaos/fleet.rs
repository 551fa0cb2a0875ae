//! Processes of one stream on Kafka and CQL, a producer that keeps count, and what must hold in the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runtime::audit;
use schemas::catalog::Catalog;
use schemas::datum::Datum;
use schemas::flights::FlightDeparted;
use schemas::names::Topics;
use schemas::registry::Registry;
use testkit::{Kafka, Process, checkers};

/// How long the fleet may take for anything it must do.
const PATIENCE: Duration = Duration::from_secs(120);

const AIRPORTS: [&str; 12] = ["ATL", "DTW", "LAS", "SFO", "JFK", "SEA", "BOS", "MIA", "ORD", "PHX", "DEN", "IAH"];

/// Sessions and transactions that end soon, so that a test sees the end of them.
const SHORT: &str = "[kafka.client]\n\"session.timeout.ms\" = \"6000\"\n\"transaction.timeout.ms\" = \"5000\"\n";

pub(crate) struct Fleet {
    processes: Vec<Option<Process>>,
    arguments: Vec<String>,
    kafka: Kafka,
    topics: Topics,
    prefix: String,
    store: state::Config,
    schema: i32,
    sent: usize,
    kills: usize,
    pauses: usize,
    assignments: usize,
    begun: Instant,
}

impl Fleet {
    /// Starts `count` processes and waits until all shards run.
    pub(crate) async fn start(name: &str, count: usize) -> Self {
        let engines = testkit::engines().await;
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
        ];
        let mut arguments = vec!["flights".to_owned(), "--config".to_owned(), config(&unique).display().to_string()];
        let flags = [("--kafka", &*engines.kafka), ("--registry", &engines.registry), ("--cql", cql), ("--admin", "127.0.0.1:0")];
        arguments.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]));
        arguments.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        let mut store = state::Config { kind: state::Kind::Cql, ..state::Config::default() };
        (store.cql.nodes, store.cql.keyspace) = (vec![cql.to_owned()], unique);
        let mut fleet = Self {
            processes: Vec::new(),
            arguments,
            kafka: Kafka::new(&engines.kafka),
            topics,
            prefix,
            store,
            schema: ids.id_of(FlightDeparted::RECORD).unwrap(),
            sent: 0,
            kills: 0,
            pauses: 0,
            assignments: 0,
            begun: Instant::now(),
        };
        for slot in 0..count {
            fleet.processes.push(None);
            fleet.restart(slot);
            // one after another: the first makes the topics and the tables
            fleet.await_shards(slot).await;
        }
        fleet
    }

    /// Waits until a process has its share; a broker that has just started may need longer for the topics than the
    /// process waits, and whoever supervises it starts it again.
    async fn await_shards(&mut self, slot: usize) {
        testkit::eventually(PATIENCE, || {
            let lines = self.processes[slot].as_ref().map(Process::lines).unwrap_or_default();
            if lines.iter().any(|line| line.contains("missing topics")) {
                self.restart(slot);
            }
            lines.iter().any(|line| line.contains("shards run")).then_some(())
        })
        .await;
    }

    /// Starts the process of a slot.
    pub(crate) fn restart(&mut self, slot: usize) {
        let mut arguments = self.arguments.clone();
        arguments.extend(["--slot".to_owned(), format!("slot-{slot}")]);
        self.processes[slot] = Some(Process::spawn(Path::new(env!("CARGO_BIN_EXE_forebay-processor")), arguments));
    }

    /// Starts one more process, in a slot nobody had before, and waits until it has a share.
    pub(crate) async fn join(&mut self) -> usize {
        self.processes.push(None);
        let slot = self.processes.len() - 1;
        self.restart(slot);
        self.processes[slot].as_ref().unwrap().line(PATIENCE, "shards run").await;
        slot
    }

    /// SIGTERM, and waits until it has ended in order.
    pub(crate) async fn leave(&mut self, slot: usize) {
        let mut process = self.processes[slot].take().unwrap();
        let status = process.terminate(PATIENCE).await;
        self.assignments += assignments(&process);
        assert!(status.success(), "{status}: {:?}", process.lines());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, slot: usize) {
        if let Some(mut process) = self.processes[slot].take() {
            self.assignments += assignments(&process);
            process.kill();
            self.kills += 1;
        }
    }

    /// SIGSTOP.
    pub(crate) fn pause(&mut self, slot: usize) {
        self.processes[slot].as_ref().unwrap().pause();
        self.pauses += 1;
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, slot: usize) {
        self.processes[slot].as_ref().unwrap().resume();
    }

    /// Sends `count` events, each acknowledged by the broker.
    pub(crate) async fn depart(&mut self, count: usize) {
        let end = self.sent + count;
        while self.sent < end {
            self.send().await;
        }
    }

    /// Sends events until it is over.
    pub(crate) async fn depart_until(&mut self, over: impl Fn() -> bool) {
        while !over() {
            self.send().await;
        }
    }

    async fn send(&mut self) {
        let origin = AIRPORTS[self.sent % AIRPORTS.len()];
        let flight = FlightDeparted {
            departed_at: 0,
            delay_minutes: 5,
            distance_miles: 1,
            origin: origin.to_owned(),
            destination: "LAS".to_owned(),
        };
        let mut value = Vec::new();
        schemas::frame::begin(self.schema, &mut value);
        flight.encode(&mut value);
        let id = self.sent.to_string();
        let headers: [(&str, &[u8]); 3] = [("ce_id", id.as_bytes()), ("ce_source", b"/test"), ("ce_type", b"flight.departed")];
        let partition = schemas::partition::partition_of(origin, 16);
        self.kafka.produce(&self.topics.events("flights"), Some(partition), origin.as_bytes(), &value, &headers).await;
        self.sent += 1;
    }

    /// Flights that were told so far.
    pub(crate) async fn results(&self) -> usize {
        let records = self.kafka.read(&self.topics.results("flights")).await;
        records.iter().filter(|record| record.header("ce_type") == Some("flight.recorded")).count()
    }

    pub(crate) async fn await_results(&self, count: usize) {
        testkit::eventually_async(PATIENCE, || async { (self.results().await >= count).then_some(()) }).await;
    }

    /// One line, for who watches a long run.
    pub(crate) fn progress(&self) {
        println!("{:?}: {} events, {} kills, {} pauses", self.begun.elapsed(), self.sent, self.kills, self.pauses);
    }

    /// Waits until everything is processed; then every event has one result, and results have no holes.
    pub(crate) async fn check(mut self) {
        self.await_results(self.sent).await;
        let records = self.kafka.read(&self.topics.results("flights")).await;
        let told: Vec<_> = records.iter().filter(|record| record.header("ce_type") == Some("flight.recorded")).collect();
        let causes: BTreeSet<_> = told.iter().map(|record| record.header("cause")).collect();
        assert_eq!((told.len(), causes.len()), (self.sent, self.sent), "results and their causes, of the events sent");
        checkers::results(&records);
        let dead = self.kafka.read(&self.topics.dead("flights")).await;
        assert!(dead.is_empty(), "{dead:?}");
        self.audit().await;
        let running: usize = self.processes.iter().flatten().map(assignments).sum();
        self.assignments += running;
        let torn = self.processes.iter().flatten().flat_map(Process::lines).find(|line| line.contains("is halted"));
        assert_eq!(torn, None, "no shard is halted");
        let Self { sent, kills, pauses, assignments, begun, .. } = &self;
        println!(
            "{sent} events, {kills} kills, {pauses} pauses, {assignments} assignments, 0 violations in {:?}",
            begun.elapsed()
        );
    }
}

impl Fleet {
    /// Stops every process in order; then log, events, results, dead letters and store must agree.
    async fn audit(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            process.terminate(PATIENCE).await;
        }
        let options = audit::Options::new(self.kafka.settings().clone(), &self.prefix, "flights");
        let store = state::open(&self.store).await.unwrap();
        let parts = audit::Parts { catalog: Catalog::embedded().unwrap(), store: Some(store) };
        let report = audit::run(options, parts, |_| {}).await.unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
    }
}

/// Assignments that a process told of.
fn assignments(process: &Process) -> usize {
    process.lines().iter().filter(|line| line.contains("shards run")).count()
}

fn config(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&path, SHORT).unwrap();
    path
}
