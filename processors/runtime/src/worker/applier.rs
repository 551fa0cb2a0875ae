//! From committed frames to the store: many writes in flight, watermarks behind their acks.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use state::{Frame, Mark, Shard, StateStore, store};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::engine::Committed;
use crate::engine::ledger::Ledger;
use crate::engine::rules::Rules;
use crate::metrics;

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

/// Applies frames until the channel closes and everything is acknowledged.
pub(crate) async fn run(
    store: Arc<dyn StateStore>,
    mut jobs: UnboundedReceiver<Job>,
    acks: Sender<(u64, i32, i64)>,
    age_max: Duration,
) -> Result<(), Error> {
    let mut running: FuturesUnordered<BoxFuture<'static, Result<(Shard, i64), Error>>> = FuturesUnordered::new();
    let mut ledger = Ledger::new(Rules::all());
    let mut marking: Option<BoxFuture<'static, Marked>> = None;
    let mut open = true;
    while open || !running.is_empty() || ledger.has_marks() || marking.is_some() {
        if marking.is_none() && ledger.has_marks() {
            marking = Some(set_marks(store.clone(), ledger.take_marks()).boxed());
        }
        tokio::select! {
            job = jobs.recv(), if open && running.len() < IN_FLIGHT => match job {
                None => open = false,
                Some(Job { committed, at }) => {
                    ledger.begin(&committed);
                    running.push(apply(store.clone(), committed.frame, at, age_max).boxed());
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
                }
            },
        }
    }
    Ok(())
}

/// The identical write until it is acknowledged (S3).
async fn apply(store: Arc<dyn StateStore>, frame: Frame, at: Duration, age_max: Duration) -> Result<(Shard, i64), Error> {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let waited = boot_time().saturating_sub(at);
        if waited > age_max {
            return Err(Error::TooOld { shard: frame.shard, waited });
        }
        match store.apply(&frame).await {
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

async fn set_marks(store: Arc<dyn StateStore>, marks: Vec<(Shard, Mark)>) -> Marked {
    let mut backoff = BACKOFF_FIRST;
    loop {
        match store.set_marks(&marks).await {
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
