//! From committed frames to the store: many writes in flight, watermarks behind their acks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use state::{Frame, Mark, Shard, StateStore, store};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::Worker;
use crate::engine::ledger::Ledger;
use crate::engine::rules::Rules;
use crate::engine::{Committed, Failure};
use crate::metrics::{self, Place};
use crate::points::Points;

/// Between two settings of the mark's age.
const GAUGE: Duration = Duration::from_secs(1);
/// Frames being written at once; the backlog bound of the engine keeps the rest finite.
const IN_FLIGHT: usize = 64;
/// Backoff after a failed write.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A frame with the time of its commit.
pub(crate) struct Job {
    pub(crate) committed: Committed,
    /// By a clock that counts suspend.
    pub(crate) at: Duration,
}

/// The session's end of an applier.
pub(super) struct Applier {
    /// Committed frames go in here; closing it lets the applier finish and end.
    pub(super) jobs: UnboundedSender<Job>,
    /// Assignment, shard and frame number of what the store acknowledged.
    pub(super) acks: Receiver<(u64, i32, i64)>,
    /// Told when it has ended.
    pub(super) done: oneshot::Receiver<()>,
}

/// Starts the applier of a session.
pub(super) fn start(worker: &Worker) -> Applier {
    let (jobs, jobs_out) = unbounded_channel();
    let (acks_in, acks) = std::sync::mpsc::channel();
    let (done_in, done) = oneshot::channel();
    let target = Target {
        store: worker.parts.store.clone(),
        age_max: worker.settings.limits.apply_age,
        points: worker.options.points.clone(),
    };
    let place = worker.place.clone();
    let _entered = worker.tokio.enter();
    worker.lifecycle.spawn("applier", async move {
        let result = run(Arc::new(target), jobs_out, acks_in, &place).await;
        metrics::mark_age(&place, Duration::ZERO);
        // nobody waits for it after a restart of the worker
        let _ = done_in.send(());
        result
    });
    Applier { jobs, acks, done }
}

/// Why the applier gave up; the process stops in order.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Rule Z: a frame from memory must not be applied long after its commit, since tombstones it lost to may be gone.
    #[error("a frame of {shard} waited {waited:?} for the store; it will be read back from the log after a restart")]
    TooOld {
        /// Which shard.
        shard: Shard,
        /// Since its commit.
        waited: Duration,
    },
    /// The store will never take it.
    #[error("the store refused a frame: {0}")]
    Store(#[from] store::Error),
}

/// Time since boot, suspend included.
pub(crate) fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The marks that were set.
type Marked = Result<Vec<(Shard, Mark)>, Error>;

/// Where frames go, and how.
struct Target {
    store: Arc<dyn StateStore>,
    /// Rule Z.
    age_max: Duration,
    points: Points,
}

impl Target {
    /// Writes between its two points; what a test makes fail there may have been written or not.
    async fn write(&self, step: &'static str, write: impl Future<Output = Result<(), store::Error>>) -> Result<(), store::Error> {
        let stumbled = |failure: &Failure| store::Error::Unavailable(failure.why().to_owned());
        self.points.pass(step, false).map_err(|failure| stumbled(&failure))?;
        write.await?;
        self.points.pass(step, true).map_err(|failure| stumbled(&failure))
    }
}

/// Applies frames until the channel closes and everything is acknowledged.
async fn run(
    target: Arc<Target>,
    mut jobs: UnboundedReceiver<Job>,
    acks: Sender<(u64, i32, i64)>,
    place: &Place,
) -> Result<(), Error> {
    let mut gauge = tokio::time::interval(GAUGE);
    let mut running: FuturesUnordered<BoxFuture<'static, Result<(Shard, i64), Error>>> = FuturesUnordered::new();
    let mut ledger = Ledger::new(Rules::all());
    // commit times of frames that no watermark covers
    let mut uncovered: BTreeMap<(Shard, i64), Duration> = BTreeMap::new();
    let mut marking: Option<BoxFuture<'static, Marked>> = None;
    let mut open = true;
    while open || !running.is_empty() || ledger.has_marks() || marking.is_some() {
        if marking.is_none() && ledger.has_marks() {
            marking = Some(set_marks(target.clone(), ledger.take_marks()).boxed());
        }
        tokio::select! {
            job = jobs.recv(), if open && running.len() < IN_FLIGHT => match job {
                None => open = false,
                Some(Job { committed, at }) => {
                    uncovered.insert((committed.frame.shard.clone(), committed.frame.n), at);
                    ledger.begin(&committed);
                    running.push(apply(target.clone(), committed.frame, at).boxed());
                }
            },
            Some(done) = running.next(), if !running.is_empty() => {
                let (shard, n) = done?;
                for ack in ledger.settle(&shard, n) {
                    // a worker that is gone needs no acks
                    let _ = acks.send(ack);
                }
            },
            marked = async { match marking.as_mut() { Some(marking) => marking.await, None => std::future::pending().await } } => {
                marking = None;
                for (shard, mark) in marked? {
                    metrics::mark(&shard, &mark);
                    uncovered.retain(|(of, n), _| *of != shard || *n > mark.n);
                }
            },
            _ = gauge.tick() => {
                let oldest = uncovered.values().min();
                metrics::mark_age(place, oldest.map_or(Duration::ZERO, |at| boot_time().saturating_sub(*at)));
            }
        }
    }
    Ok(())
}

/// The identical write until it is acknowledged (S3).
async fn apply(target: Arc<Target>, frame: Frame, at: Duration) -> Result<(Shard, i64), Error> {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let waited = boot_time().saturating_sub(at);
        if waited > target.age_max {
            return Err(Error::TooOld { shard: frame.shard, waited });
        }
        match target.write("apply", target.store.apply(&frame)).await {
            Ok(()) => {
                metrics::applied(&frame.shard, boot_time().saturating_sub(at));
                return Ok((frame.shard, frame.n));
            }
            Err(store::Error::Unavailable(error)) => {
                tracing::warn!(shard = %frame.shard, n = frame.n, error, "the store did not take a frame; trying again");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn set_marks(target: Arc<Target>, marks: Vec<(Shard, Mark)>) -> Marked {
    let mut backoff = BACKOFF_FIRST;
    loop {
        match target.write("mark", target.store.set_marks(&marks)).await {
            Ok(()) => return Ok(marks),
            Err(store::Error::Unavailable(error)) => {
                tracing::warn!(error, "the store did not take the watermarks; trying again");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
