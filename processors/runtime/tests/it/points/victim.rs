//! A worker in a process of its own that meets with a mishap at a point of the protocol, once.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

use chassis::lifecycle::Lifecycle;
use runtime::Options;
use runtime::engine::Failure;
use runtime::engine::settings::Limits;
use runtime::points::{Point, Points, STEPS};
use testkit::Process;

use crate::deployment::{Deployment, PATIENCE};

/// Says where, how and to whom: step, before or after, mishap, prefix, Kafka, CQL, and how old a
/// frame may be that it applies (s); separated by blanks.
const ROLE: &str = "FOREBAY_TEST_VICTIM";
/// Longer than session and transaction.
const SLEEP: Duration = Duration::from_secs(10);
/// With no write under way for this long none is waiting to begin.
const IDLE: Duration = Duration::from_millis(500);
/// A thread that slept for this long was stopped meanwhile.
const STOPPED: Duration = Duration::from_secs(3);
/// Steps of a batch meet their mishap at this pass, not at the claim that begins every assignment.
const PASS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// The process ends without another word.
    Exit,
    /// The loop stands still; heartbeats go on.
    Sleep,
    /// The process stands still.
    Stop,
    /// It does so when nothing of it is under way to the store.
    StopIdle,
    /// The step is told to have failed.
    Error,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) point: Point,
    pub(super) mishap: Mishap,
}

/// Sessions and transactions that end soon.
pub(super) fn impatient(options: &mut Options) {
    for (key, value) in [("session.timeout.ms", "6000"), ("transaction.timeout.ms", "5000")] {
        options.kafka.client.insert(key.to_owned(), value.to_owned());
    }
}

pub(super) struct Victim(Process);

impl Victim {
    pub(super) fn start(deployment: &Deployment, kafka: &str, node: &str, cell: Cell) -> Self {
        Self::start_with(deployment, kafka, node, cell, Limits::default().apply_age)
    }

    /// The same, for rule Z at another age.
    pub(super) fn start_with(deployment: &Deployment, kafka: &str, node: &str, cell: Cell, age_max: Duration) -> Self {
        let Cell { point: Point { step, done }, mishap } = cell;
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "points::victim::a_worker_stumbles_where_its_environment_says", "--nocapture"]);
        command.env(ROLE, format!("{step} {done} {mishap:?} {} {kafka} {node} {}", deployment.prefix(), age_max.as_secs()));
        Self(Process::start(command))
    }

    pub(super) fn has_stumbled(&self) -> bool {
        self.says("stumbles")
    }

    pub(super) fn says(&self, text: &str) -> bool {
        self.0.lines().iter().any(|line| line.contains(text))
    }

    pub(super) fn resume(&self) {
        self.0.resume();
    }

    pub(super) async fn await_end(&mut self) {
        self.0.wait(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stumbles_where_its_environment_says() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<_> = role.split(' ').collect();
    let [step, done, mishap, prefix, kafka, node, age_max] = words[..] else { panic!("{role}") };
    let step = STEPS.into_iter().find(|known| *known == step).expect("a step");
    let mut deployment = Deployment::at(prefix.to_owned()).await;
    deployment.use_cql(node).await;
    let points = stumble(Point { step, done: done == "true" }, mishap.to_owned());
    let worker: Lifecycle = deployment
        .start_as("victim", |options| {
            impatient(options);
            kafka.clone_into(&mut options.kafka.bootstrap);
            options.points = points;
            options.limits.apply_age = Duration::from_secs(age_max.parse().expect("seconds"));
        })
        .await;
    let ended = worker.run_until_signal(Duration::from_secs(20)).await;
    println!("ended: {ended}");
}

#[expect(clippy::disallowed_methods, reason = "this is a test")]
fn stumble(where_to: Point, mishap: String) -> Points {
    let passed = AtomicUsize::new(0);
    let first = if ["recover", "resume", "scan", "abort"].contains(&where_to.step) { 1 } else { PASS };
    let under_way = AtomicUsize::new(0);
    let aborting = AtomicUsize::new(if where_to.step == "abort" { PASS } else { 0 });
    Points::stumble(move |point| {
        match point {
            Point { step: "apply", done: false } => drop(under_way.fetch_add(1, Ordering::Relaxed)),
            Point { step: "apply", done: true } => drop(under_way.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        // there is no abort without a reason
        if point == (Point { step: "produce", done: true })
            && aborting.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1)
        {
            return Err(failure(point));
        }
        if point != where_to || passed.fetch_add(1, Ordering::Relaxed) + 1 != first {
            return Ok(());
        }
        if mishap == "StopIdle" {
            // what was handed over before begins and ends meanwhile
            let mut idle = Instant::now();
            while idle.elapsed() < IDLE {
                if under_way.load(Ordering::Relaxed) > 0 {
                    idle = Instant::now();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        println!("stumbles");
        match &*mishap {
            "Exit" => std::process::abort(),
            "Sleep" => {
                std::thread::sleep(SLEEP);
                println!("awake");
            }
            "Stop" | "StopIdle" => {
                let me: Pid = getpid();
                // this thread stands before the call returns, or goes on a little when another one took the signal
                let mut last = Instant::now();
                kill_process(me, Signal::STOP).expect("may stop itself");
                while last.elapsed() < STOPPED {
                    last = Instant::now();
                    std::thread::sleep(Duration::from_millis(10));
                }
                println!("awake");
            }
            _ => return Err(failure(point)),
        }
        Ok(())
    })
}

/// What the worker would have met there.
fn failure(point: Point) -> Failure {
    let why = "a test wants it".to_owned();
    match point.step {
        "begin" | "produce" | "send_offsets" => Failure::Abort(why),
        _ => Failure::Restart(why),
    }
}
