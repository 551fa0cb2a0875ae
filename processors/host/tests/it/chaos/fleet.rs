//! Processes of one stream on Kafka and CQL, a producer that keeps count, and what must hold in the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use schemas::flights::FlightDeparted;
use testkit::kafka::Placed;
use testkit::{Account, Engines, Process, checkers};

use crate::deployment::{Deployment, assignments};

/// How long the fleet may take for anything it must do.
const PATIENCE: Duration = Duration::from_secs(120);

const AIRPORTS: [&str; 12] = ["ATL", "DTW", "LAS", "SFO", "JFK", "SEA", "BOS", "MIA", "ORD", "PHX", "DEN", "IAH"];

pub(crate) struct Fleet {
    name: &'static str,
    deployment: Deployment,
    processes: Vec<Option<Process>>,
    sent: usize,
    kills: usize,
    pauses: usize,
    assignments: usize,
    begun: Instant,
}

impl Fleet {
    /// Starts `count` processes and waits until all shards run.
    pub(crate) async fn start(name: &'static str, count: usize) -> Self {
        Self::start_on(testkit::engines().await, name, count).await
    }

    /// The same on other engines.
    pub(crate) async fn start_on(engines: &Engines, name: &'static str, count: usize) -> Self {
        let mut fleet = Self {
            name,
            deployment: Deployment::new(engines, name).await,
            processes: Vec::new(),
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
        self.processes[slot] = Some(self.deployment.spawn(slot));
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
        let value = self.deployment.value(&flight);
        let id = self.sent.to_string();
        let headers: [(&str, &[u8]); 3] = [("ce_id", id.as_bytes()), ("ce_source", b"/test"), ("ce_type", b"flight.departed")];
        let partition = schemas::partition::partition_of(origin, 16);
        self.deployment
            .kafka
            .produce(&self.deployment.topics.events("flights"), Some(partition), origin.as_bytes(), &value, &headers)
            .await;
        self.sent += 1;
    }

    /// Flights that were told so far.
    pub(crate) async fn results(&self) -> usize {
        let records = self.deployment.kafka.read(&self.deployment.topics.results("flights")).await;
        records.iter().filter(|record| record.header("ce_type") == Some("flight.recorded")).count()
    }

    pub(crate) async fn await_results(&self, count: usize) {
        testkit::eventually_async(PATIENCE, || async { (self.results().await >= count).then_some(()) }).await;
    }

    /// Waits until every event so far has its result.
    pub(crate) async fn settle(&self) {
        self.await_results(self.sent).await;
    }

    /// Where the log's partitions lie, and those of the coordinators of groups and transactions.
    pub(crate) async fn placed(&self) -> [Vec<Placed>; 3] {
        let log = self.deployment.topics.log("flights");
        let kafka = &self.deployment.kafka;
        [kafka.placed(&log).await, kafka.placed("__consumer_offsets").await, kafka.placed("__transaction_state").await]
    }

    /// One line, for who watches a long run.
    pub(crate) fn progress(&self) {
        println!("{:?}: {} events, {} kills, {} pauses", self.begun.elapsed(), self.sent, self.kills, self.pauses);
    }

    /// Waits until everything is processed; then every event has one result, and results have no holes.
    pub(crate) async fn check(mut self) {
        self.await_results(self.sent).await;
        let records = self.deployment.kafka.read(&self.deployment.topics.results("flights")).await;
        let told: Vec<_> = records.iter().filter(|record| record.header("ce_type") == Some("flight.recorded")).collect();
        let causes: BTreeSet<_> = told.iter().map(|record| record.header("cause")).collect();
        assert_eq!((told.len(), causes.len()), (self.sent, self.sent), "results and their causes, of the events sent");
        checkers::results(&records);
        let dead = self.deployment.kafka.read(&self.deployment.topics.dead("flights")).await;
        assert!(dead.is_empty(), "{dead:?}");
        self.audit().await;
        let running: usize = self.processes.iter().flatten().map(assignments).sum();
        self.assignments += running;
        let torn = self.processes.iter().flatten().flat_map(Process::lines).find(|line| line.contains("is halted"));
        assert_eq!(torn, None, "no shard is halted");
        let account = Account::new(self.name)
            .with("events", self.sent)
            .with("kills", self.kills)
            .with("pauses", self.pauses)
            .with("assignments", self.assignments)
            .with("violations", 0_u64)
            .with("seconds", self.begun.elapsed().as_secs());
        println!("{account}");
    }
}

impl Fleet {
    /// Stops every process in order; then log, events, results, dead letters and store must agree.
    async fn audit(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            process.terminate(PATIENCE).await;
        }
        let report = self.deployment.audit().await;
        assert!(report.is_clean(), "{:#?}", report.findings);
    }
}
