//! How far the show is: what every part of it looks at.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(100);

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) events: u64,
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    /// Of the broker, and as many of the store.
    pub(crate) bounces: u64,
}

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stroke {
    Kill,
    Pause,
}

pub(crate) struct Stage {
    plan: Plan,
    begun: Instant,
    sent: AtomicU64,
    results: AtomicU64,
    strokes: AtomicU64,
    bounces: AtomicU64,
    over: AtomicBool,
    /// Whoever waits for more events to be released looks again when it is told.
    looks: Mutex<()>,
    more: Condvar,
}

impl Plan {
    pub(crate) fn of(events: u64) -> Self {
        Self { events, kills: (events / 10_000).max(1), pauses: (events / 40_000).max(1), bounces: (events / 400_000).max(1) }
    }

    fn strokes(&self) -> u64 {
        self.kills + self.pauses
    }

    /// The n-th stroke, from 0: pauses lie evenly between kills.
    fn stroke(&self, n: u64) -> Stroke {
        let pauses = |n: u64| n * self.pauses / self.strokes();
        if pauses(n + 1) > pauses(n) { Stroke::Pause } else { Stroke::Kill }
    }
}

impl Stage {
    pub(crate) fn new(plan: Plan) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            plan,
            begun: Instant::now(),
            sent: zero(),
            results: zero(),
            strokes: zero(),
            bounces: zero(),
            over: AtomicBool::new(false),
            looks: Mutex::default(),
            more: Condvar::new(),
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn told(&self) {
        self.results.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn bounced(&self) {
        self.bounces.fetch_add(1, Ordering::Relaxed);
        self.tell_more();
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.tell_more();
    }

    /// Who waits looks under the lock, and so cannot miss what was done before it was taken here.
    fn tell_more(&self) {
        drop(self.looks.lock().unwrap_or_else(PoisonError::into_inner));
        self.more.notify_all();
    }

    /// Ends the show at the latest when the guard is dropped.
    pub(crate) fn end_when_dropped(self: &Arc<Self>) -> Ended {
        Ended(self.clone())
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn results(&self) -> u64 {
        self.results.load(Ordering::Relaxed)
    }

    /// Events that may be sent by now: each stroke and each bounce releases its share, so that all of them meet work.
    pub(crate) fn released(&self) -> u64 {
        let done = self.strokes.load(Ordering::Relaxed) + self.bounces.load(Ordering::Relaxed);
        let all = self.plan.strokes() + 2 * self.plan.bounces;
        self.plan.events * (done + 1).min(all) / all
    }

    /// Holds the thread until event `number`, from 0, may be sent or the show is over.
    pub(crate) fn await_release(&self, number: u64) {
        let looking = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |_: &mut ()| number >= self.released() && !self.is_over();
        drop(self.more.wait_while(looking, waits).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for the next stroke of which work has come far enough; none when all are done.
    pub(crate) async fn stroke(&self) -> Option<Stroke> {
        let behind = self.plan.events / 10;
        while self.results() + behind < self.released() && !self.is_over() {
            tokio::time::sleep(LOOK).await;
        }
        let all = self.plan.strokes();
        let claim = |done: u64| (done < all).then_some(done + 1);
        let claimed = self.strokes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        self.tell_more();
        claimed.ok().map(|n| self.plan.stroke(n))
    }

    /// Waits for part `n` of `of` of all strokes.
    pub(crate) async fn await_part(&self, n: u64, of: u64) {
        while self.strokes.load(Ordering::Relaxed) * of < self.plan.strokes() * n && !self.is_over() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Prints how far it is from time to time, until it is over.
    pub(crate) async fn tell(&self, pause: Duration) {
        let mut told = Instant::now();
        while !self.is_over() {
            tokio::time::sleep(LOOK).await;
            if told.elapsed() > pause {
                told = Instant::now();
                let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
                let (strokes, all) = (count(&self.strokes), self.plan.strokes());
                println!(
                    "{:>5} s: {:>9} sent, {:>9} told, {strokes} of {all} strokes, {} bounces",
                    self.elapsed().as_secs(),
                    count(&self.sent),
                    self.results(),
                    count(&self.bounces)
                );
            }
        }
    }
}

pub(crate) struct Ended(Arc<Stage>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}
