//! T23: clocks of workers that differ, jump and are wrong; the order of the log does not depend on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use runtime::time::Clock;
use testkit::{Account, Witness, checkers};

use crate::deployment::{Deployment, PATIENCE};

const AIRPORTS: [&str; 6] = ["ATL", "DTW", "LAS", "SFO", "JFK", "SEA"];
const MINUTE_US: i64 = 60_000_000;
/// Wrong by less than what stops a worker, ten minutes.
const FAR_OFF_US: i64 = 9 * MINUTE_US;
/// Events between two jumps.
const EACH: usize = 40;

/// A worker whose clock is wrong by as much as a test says at the time.
struct Worker {
    lifecycle: Lifecycle,
    off_us: Arc<AtomicI64>,
}

impl Worker {
    #[expect(clippy::disallowed_methods, reason = "this is a test")]
    async fn start(deployment: &Deployment, slot: &str, off_us: i64) -> Self {
        let off_us = Arc::new(AtomicI64::new(off_us));
        let off = off_us.clone();
        let clock = Clock::wrong(move |right| right + off.load(Ordering::Relaxed));
        let lifecycle = deployment.start_as(slot, |options| options.clock = clock).await;
        Self { lifecycle, off_us }
    }

    fn jump(&self, off_us: i64) {
        self.off_us.store(off_us, Ordering::Relaxed);
    }

    /// Why it stopped by itself.
    async fn end(self) -> String {
        let ended = self.lifecycle.run_until_signal(Duration::from_secs(20)).await;
        assert!(ended.failed, "{ended}");
        ended.to_string()
    }
}

struct Stage {
    deployment: Deployment,
    witness: Witness,
    sent: usize,
}

impl Stage {
    async fn open(name: &str) -> Self {
        let mut deployment = Deployment::new(name).await;
        deployment.use_cql(testkit::engines().await.cql.as_deref().unwrap()).await;
        let witness = deployment.witness(&AIRPORTS);
        Self { deployment, witness, sent: 0 }
    }

    async fn depart(&mut self) {
        let id = self.sent.to_string();
        self.deployment.depart(AIRPORTS[self.sent % AIRPORTS.len()], 5, &id).await;
        self.sent += 1;
    }

    /// Some events, and each has one result.
    async fn work(&mut self) {
        for _ in 0..EACH {
            self.depart().await;
        }
        let results = self.deployment.await_records(&self.deployment.topics.results("flights"), self.sent).await;
        checkers::results(&results).exactly_once(self.sent, 1);
    }

    async fn close(self, name: &str, jumps: usize) {
        let seen = self.witness.finish().await;
        assert_eq!(seen.results, self.sent as u64, "a reader of committed records was shown each result once");
        let report = self.deployment.audit(false).await;
        assert!(report.is_clean(), "{:#?}", report.findings);
        println!("{}", Account::new(name).with("events", self.sent).with("jumps", jumps).with("violations", 0_u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_and_jump_keep_the_order_of_the_log_while_shards_change_hands() {
    let mut stage = Stage::open("clocks").await;
    let fast = Worker::start(&stage.deployment, "fast", FAR_OFF_US).await;
    Deployment::says(&fast.lifecycle, "16 shards run").await;
    stage.work().await;
    // what the fast one wrote lies nine minutes in the future of the right one, and eighteen in that of the slow one
    let slow = Worker::start(&stage.deployment, "slow", -FAR_OFF_US).await;
    Deployment::says(&slow.lifecycle, "8 shards run").await;
    stage.work().await;
    let right = Worker::start(&stage.deployment, "right", 0).await;
    let all = [&fast, &slow, &right];
    let details =
        || all.map(|worker| worker.lifecycle.components().into_iter().map(|component| component.detail).collect::<String>());
    let shared = || details().iter().all(|detail| detail.contains("5 shards run") || detail.contains("6 shards run"));
    testkit::eventually(PATIENCE, || shared().then_some(())).await;
    let offsets = [0, -FAR_OFF_US, FAR_OFF_US, -MINUTE_US / 2, 5 * MINUTE_US, FAR_OFF_US];
    for round in 0..offsets.len() {
        for (n, worker) in all.into_iter().enumerate() {
            worker.jump(offsets[(round + n) % offsets.len()]);
        }
        stage.work().await;
    }
    // from the furthest ahead to the furthest behind
    slow.jump(-FAR_OFF_US);
    Deployment::stop(fast.lifecycle).await;
    Deployment::stop(right.lifecycle).await;
    Deployment::says(&slow.lifecycle, "16 shards run").await;
    stage.work().await;
    Deployment::stop(slow.lifecycle).await;
    stage.close("clocks", 3 * offsets.len() + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_an_hour_off_stops_with_the_reason_and_leaves_nothing_behind() {
    let mut stage = Stage::open("hour").await;
    let right = Worker::start(&stage.deployment, "right", 0).await;
    Deployment::says(&right.lifecycle, "16 shards run").await;
    for (slot, off_us) in [("behind", -60 * MINUTE_US), ("ahead", 60 * MINUTE_US)] {
        let jumping = Worker::start(&stage.deployment, slot, 0).await;
        Deployment::says(&jumping.lifecycle, "8 shards run").await;
        stage.work().await;
        jumping.jump(off_us);
        let events = async {
            loop {
                stage.depart().await;
            }
        };
        let why = tokio::select! {
            why = tokio::time::timeout(PATIENCE, jumping.end()) => why.expect("a worker an hour off stops"),
            () = events => unreachable!("events do not end"),
        };
        assert!(why.contains("s off the broker's: set it right"), "{why}");
        stage.work().await;
        // one that is off from the start does not get as far as an event
        let off = Worker::start(&stage.deployment, slot, off_us).await;
        let why = tokio::time::timeout(PATIENCE, off.end()).await.expect("a worker an hour off stops");
        assert!(why.contains("s off the broker's: set it right"), "{why}");
        stage.work().await;
    }
    Deployment::stop(right.lifecycle).await;
    stage.close("hour", 4).await;
}
