//! Workers that end, sleep, stop or fail at any point of the protocol; every event still has one effect.
//!
//! A worker under attack is a process of its own: this test binary, with the one test that is a worker when its environment
//! says so. Beside it another worker runs in order, so that there is always somebody to take over. With `FOREBAY_POINTS=all`
//! every point meets every mishap, else the few that matter most.

mod deleted;
mod victim;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chassis::lifecycle::Lifecycle;
use runtime::engine::Failure;
use runtime::points::{Point, Points, STEPS};
use testkit::proxy::Api;
use testkit::{Account, Proxy, Witness, checkers};

use self::victim::{Cell, Mishap, Victim};
use crate::deployment::{Deployment, PATIENCE};

const AIRPORTS: [&str; 6] = ["ATL", "DTW", "LAS", "SFO", "JFK", "SEA"];
/// Longer than a session (6 s) and a transaction (5 s) of these workers.
const PAUSE: Duration = Duration::from_secs(9);

/// A steady worker and victims beside it, one after another.
struct Arena {
    deployment: Deployment,
    steady: Lifecycle,
    witness: Witness,
    /// Points that the steady worker has passed.
    passed: Arc<Mutex<HashSet<Point>>>,
    node: String,
    sent: usize,
    begun: Instant,
}

impl Arena {
    async fn open(name: &str) -> Self {
        let mut deployment = Deployment::new(name).await;
        let node = testkit::engines().await.cql.clone().unwrap();
        deployment.use_cql(&node).await;
        let passed = Arc::<Mutex<HashSet<Point>>>::default();
        let points = recording(passed.clone());
        let steady = deployment
            .start_as("steady", |options| {
                victim::impatient(options);
                options.points = points;
            })
            .await;
        Deployment::says(&steady, "16 shards run").await;
        let witness = deployment.witness(&AIRPORTS);
        Self { deployment, steady, witness, passed, node, sent: 0, begun: Instant::now() }
    }

    /// Sends events until it is over.
    async fn depart_until(&mut self, what: &str, over: impl Fn() -> bool) {
        let begun = Instant::now();
        while !over() {
            assert!(begun.elapsed() < PATIENCE, "{what} does not come");
            self.depart().await;
        }
    }

    /// One event of this kind for every airport.
    async fn depart_everywhere(&mut self, delay: i32) {
        for airport in AIRPORTS {
            self.deployment.depart(airport, delay, &self.sent.to_string()).await;
            self.sent += 1;
        }
    }

    async fn depart(&mut self) {
        let id = self.sent.to_string();
        match self.sent % 20 {
            // an effect, and a timer, of subjects of their own: each has its result a little later
            7 => self.deployment.depart(&format!("E{id}"), 674, &id).await,
            14 => self.deployment.depart(&format!("T{id}"), 669, &id).await,
            _ => self.deployment.depart(AIRPORTS[self.sent % AIRPORTS.len()], 5, &id).await,
        }
        self.sent += 1;
    }

    /// Every event so far has one result.
    async fn await_results(&self) {
        let results = self.deployment.await_records(&self.deployment.topics.results("flights"), self.sent).await;
        checkers::results(&results).exactly_once(self.sent, 1);
    }

    /// A worker meets with a mishap while events keep coming, and everything goes on.
    async fn suffer(&mut self, kafka: &str, cell: Cell) {
        let mut victim = Victim::start(&self.deployment, kafka, &self.node, cell);
        self.depart_until(&format!("{cell:?}"), || victim.has_stumbled()).await;
        match cell.mishap {
            Mishap::Exit => victim.await_end().await,
            Mishap::Error => {}
            Mishap::Sleep => self.depart_until("the end of its sleep", || victim.says("awake")).await,
            Mishap::Stop | Mishap::StopIdle => {
                let stopped = Instant::now();
                self.depart_until("the end of the pause", || stopped.elapsed() > PAUSE).await;
                // somebody has everything meanwhile
                self.await_results().await;
                victim.resume();
                self.depart_until("the stopped process, awake", || victim.says("awake")).await;
            }
        }
        for _ in 0..20 {
            self.depart().await;
        }
        self.await_results().await;
        println!("{:?}: {cell:?}, {} events", self.begun.elapsed(), self.sent);
    }

    async fn close(self, name: &str, cells: usize) {
        self.await_results().await;
        Deployment::stop(self.steady).await;
        let seen = self.witness.finish().await;
        assert_eq!(seen.results, self.sent as u64, "a reader of committed records was shown each result once");
        let report = self.deployment.audit(false).await;
        assert!(report.is_clean(), "{:#?}", report.findings);
        let account = Account::new(name).with("events", self.sent).with("mishaps", cells).with("violations", 0_u64);
        println!("{}", account.with("seconds", self.begun.elapsed().as_secs()));
    }

    /// There is no point in the list that workers do not pass.
    fn check_points(&self) {
        let passed = self.passed.lock().unwrap();
        let points = STEPS.iter().flat_map(|step| [false, true].map(|done| Point { step, done }));
        let missed: Vec<_> = points.filter(|point| point.step != "abort" && !passed.contains(point)).collect();
        assert!(missed.is_empty(), "points that a worker never passes: {missed:?}");
    }
}

/// Nothing happens there but that it is noted.
#[expect(clippy::disallowed_methods, reason = "this is a test")]
fn recording(passed: Arc<Mutex<HashSet<Point>>>) -> Points {
    Points::stumble(move |point| {
        passed.lock().unwrap().insert(point);
        Ok(())
    })
}

fn cell(step: &'static str, done: bool, mishap: Mishap) -> Cell {
    Cell { point: Point { step, done }, mishap }
}

async fn matrix(name: &str, cells: &[Cell]) {
    let kafka = testkit::engines().await.kafka.clone();
    let mut arena = Arena::open(name).await;
    for cell in cells {
        arena.suffer(&kafka, *cell).await;
    }
    arena.check_points();
    arena.close(name, cells.len()).await;
}

/// Every point, or those a worker must survive above all.
fn points(few: &[(&'static str, bool)]) -> Vec<(&'static str, bool)> {
    if std::env::var("FOREBAY_POINTS").is_ok_and(|points| points == "all") {
        STEPS.iter().flat_map(|step| [(*step, false), (*step, true)]).collect()
    } else {
        few.to_vec()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_at_any_point_costs_nothing() {
    let few = [("produce", true), ("commit", true), ("hand_over", false), ("apply", true), ("attempt", true)];
    let cells: Vec<_> = points(&few).into_iter().map(|(step, done)| cell(step, done, Mishap::Exit)).collect();
    matrix("dies", &cells).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_at_any_point_costs_nothing() {
    let few = [("recover", true), ("begin", true), ("send_offsets", false), ("commit", true), ("hand_over", true)];
    let cells: Vec<_> = points(&few).into_iter().map(|(step, done)| cell(step, done, Mishap::Error)).collect();
    matrix("fails", &cells).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sleeps_at_any_point_for_longer_than_its_session_commits_nothing_late() {
    let cells: Vec<_> = points(&[]).into_iter().map(|(step, done)| cell(step, done, Mishap::Sleep)).collect();
    if !cells.is_empty() {
        matrix("sleeps", &cells).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_stopped_before_positions_commit_or_handing_over_regresses_no_row_and_sends_no_unfenced_position() {
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let cells = ["send_offsets", "commit", "hand_over"].map(|step| cell(step, false, Mishap::Stop));
    let mut arena = Arena::open("stopped").await;
    for cell in &cells {
        arena.suffer(proxy.address(), *cell).await;
    }
    arena.close("stopped", cells.len()).await;
    assert!(proxy.seen(Api::TxnOffsetCommit) > 0, "positions went through the proxy");
    assert_eq!(proxy.unfenced(), Vec::<String>::new(), "positions without a generation or a member");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "this is a test")]
async fn readers_see_committed_results_only_while_every_third_transaction_is_aborted() {
    let mut deployment = Deployment::new("aborted").await;
    deployment.use_cql(testkit::engines().await.cql.as_deref().unwrap()).await;
    let witness = deployment.witness(&AIRPORTS);
    let passed = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counting = passed.clone();
    // positions are sent: nothing but the commit is missing
    let points = Points::stumble(move |point| {
        let last = point == Point { step: "send_offsets", done: true };
        let nth = if last { counting.fetch_add(1, std::sync::atomic::Ordering::Relaxed) } else { 0 };
        if nth % 3 == 2 { Err(Failure::Abort("a test wants it".to_owned())) } else { Ok(()) }
    });
    let worker = deployment.start_as("slot", |options| options.points = points).await;
    let (mut sent, begun) = (0, Instant::now());
    while passed.load(std::sync::atomic::Ordering::Relaxed) < 60 {
        assert!(begun.elapsed() < PATIENCE, "transactions stopped coming");
        deployment.depart(AIRPORTS[sent % AIRPORTS.len()], 5, &sent.to_string()).await;
        sent += 1;
    }
    let results = deployment.await_records(&deployment.topics.results("flights"), sent).await;
    checkers::results(&results).exactly_once(sent, 1);
    Deployment::stop(worker).await;
    let seen = witness.finish().await;
    assert_eq!(seen.results, sent as u64, "a reader of committed records was shown each result once");
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    let aborts = passed.load(std::sync::atomic::Ordering::Relaxed) / 3;
    println!("{}", Account::new("aborted").with("events", sent).with("aborts", aborts).with("violations", 0_u64));
}
