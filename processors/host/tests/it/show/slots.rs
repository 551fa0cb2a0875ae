//! Processes that are killed, stopped and started again, as something that supervises them would.

use std::iter::Sum;
use std::ops::Add;
use std::time::{Duration, Instant};

use testkit::{Process, eventually};

use super::stage::{Stage, Stroke};
use crate::deployment::{Deployment, assignments, count};

/// How long a process may take for its share; broker and store may be away meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// The shortest pause; longer than a session (6 s) and a transaction (5 s).
const PAUSE_MIN: Duration = Duration::from_millis(7_500);
const LOOK: Duration = Duration::from_millis(50);
/// What a process says that has every shard of `flights`.
const ALL_SHARDS: &str = "16 shards run";
/// What supervises processes waits so long before it starts one again: there is no broker, or no store.
const BACKOFF: Duration = Duration::from_secs(1);

/// What was seen of the processes of one slot or of several.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outcomes {
    pub(crate) assignments: usize,
    pub(crate) recycles: usize,
    /// New starts of a worker because another producer or consumer had its place.
    pub(crate) fences: usize,
    /// All new starts of a worker.
    pub(crate) restarts: usize,
    /// Processes that ended by themselves.
    pub(crate) exits: usize,
}

/// Starts a process, waits until it has all shards, and stops it: before the others it makes topics and tables, behind them
/// it applies to the store what was committed last.
pub(crate) async fn one_alone(deployment: &Deployment) {
    let mut first = None;
    eventually(PATIENCE, || {
        let process = first.get_or_insert_with(|| deployment.spawn(0));
        if process.has_ended() {
            // a broker that has just started may need longer for the topics than the process waits
            first = None;
            return None;
        }
        (count(process, ALL_SHARDS) > 0).then_some(())
    })
    .await;
    if let Some(mut process) = first {
        process.terminate(PATIENCE).await;
    }
}

/// Keeps the process of a slot running and does to it what the stage says, until that is over.
pub(crate) async fn attack(number: usize, stage: &Stage, deployment: &Deployment) -> Outcomes {
    let mut slot =
        Slot { number, deployment, process: deployment.spawn(number), past: Outcomes::default(), seed: 7 + number as u64 };
    let mut seen = 0;
    while !stage.is_over() {
        slot.await_share(seen, stage).await;
        // somewhere amid the work
        let moment = slot.random(100, 2_000);
        tokio::time::sleep(moment).await;
        let Some(stroke) = stage.stroke().await else { break };
        seen = slot.suffer(stroke).await;
    }
    while !stage.is_over() {
        slot.keep_alive().await;
    }
    slot.process.terminate(PATIENCE).await;
    slot.bury();
    slot.past
}

struct Slot<'d> {
    number: usize,
    deployment: &'d Deployment,
    process: Process,
    /// Of processes that have ended.
    past: Outcomes,
    seed: u64,
}

impl Slot<'_> {
    /// Does it, and returns how many assignments the process has told of.
    async fn suffer(&mut self, stroke: Stroke) -> usize {
        match stroke {
            Stroke::Kill => {
                self.process.kill();
                let away = self.random(0, 400);
                tokio::time::sleep(away).await;
                self.renew();
                0
            }
            Stroke::Pause => {
                let seen = assignments(&self.process);
                self.process.pause();
                let more = self.random(0, 3_000);
                tokio::time::sleep(PAUSE_MIN + more).await;
                self.process.resume();
                seen
            }
        }
    }

    /// Waits until the process has a share it did not have before, for a while: one that was stopped while the broker
    /// was away may have kept its own.
    async fn await_share(&mut self, seen: usize, stage: &Stage) {
        let begun = Instant::now();
        let mut seen = seen;
        while assignments(&self.process) <= seen && begun.elapsed() < PATIENCE / 4 && !stage.is_over() {
            if self.keep_alive().await {
                seen = 0;
            }
        }
    }

    /// Looks at the process, and starts it again after a while if it has ended by itself.
    async fn keep_alive(&mut self) -> bool {
        let ended = self.process.has_ended();
        tokio::time::sleep(if ended { BACKOFF } else { LOOK }).await;
        if ended {
            self.past.exits += 1;
            self.renew();
        }
        ended
    }

    fn renew(&mut self) {
        self.bury();
        self.process = self.deployment.spawn(self.number);
    }

    /// Counts what the process has told.
    fn bury(&mut self) {
        let lines = |text| count(&self.process, text);
        let seen = Outcomes {
            assignments: lines("shards run"),
            recycles: lines("the producer is recycled"),
            fences: lines("\"fenced\":true"),
            restarts: lines("the worker starts again"),
            exits: 0,
        };
        self.past = self.past + seen;
    }

    /// A time between two bounds, ms, from a sequence of the slot's own.
    fn random(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(from_ms + (self.seed >> 33) % (to_ms - from_ms))
    }
}

impl Add for Outcomes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            assignments: self.assignments + other.assignments,
            recycles: self.recycles + other.recycles,
            fences: self.fences + other.fences,
            restarts: self.restarts + other.restarts,
            exits: self.exits + other.exits,
        }
    }
}

impl Sum for Outcomes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
