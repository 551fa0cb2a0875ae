//! Attempts at effects, outside the transaction and off the loop's thread.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use futures::future::FutureExt;

use crate::effects::{Call, EFFECT_BYTES_MAX, Effects, Error, LEASE_MARGIN};
use crate::engine::{Attempt, Ended, Failure};
use crate::http::Client;
use crate::metrics;
use crate::points::Points;

/// Makes attempts and keeps what they brought until the loop asks. An attempt that outlives its session is heard by
/// nobody; its lease ends, and the next owner makes the next one.
pub(super) struct Executor {
    stream: Arc<str>,
    effects: Effects,
    lifecycle: Lifecycle,
    points: Points,
    http: Client,
    /// Attempts go on for so long after the process was told to stop.
    drain: Duration,
    ended_in: Sender<Ended>,
    ended: Receiver<Ended>,
}

impl Executor {
    pub(super) fn new(
        stream: Arc<str>,
        effects: Effects,
        lifecycle: Lifecycle,
        points: Points,
        http: Client,
        drain: Duration,
    ) -> Self {
        let (ended_in, ended) = channel();
        Self { stream, effects, lifecycle, points, http, drain, ended_in, ended }
    }

    /// Makes an attempt that is committed as under way. Called inside the runtime.
    pub(super) fn start(&self, assignment: u64, attempt: Attempt) {
        let Attempt { shard, key, subject, named, argument, attempt, lease } = attempt;
        let name = named.effect;
        let id = key.id.trim_start_matches("e/").to_owned();
        let call = self.effects.call(&name, Call { id, argument, attempt, http: self.http.clone() });
        let (ended, stream, stop, drain) = (self.ended_in.clone(), self.stream.clone(), self.lifecycle.stop(), self.drain);
        let points = self.points.clone();
        self.lifecycle.spawn_request("effect", async move {
            let outcome = match call {
                None => Err(Error::Terminal(format!("there is no effect {name:?}"))),
                Some(call) => {
                    let within = lease.saturating_sub(LEASE_MARGIN);
                    let call = async {
                        points.pass("attempt", false).map_err(|failure| stumbled(&failure))?;
                        let brought = call.await?;
                        points.pass("attempt", true).map_err(|failure| stumbled(&failure))?;
                        Ok(brought)
                    };
                    let attempt = tokio::time::timeout(within, AssertUnwindSafe(call).catch_unwind());
                    let ended = tokio::select! {
                        ended = attempt => ended,
                        () = async { stop.wait().await; tokio::time::sleep(drain).await } => return,
                    };
                    match ended {
                        Err(_) => Err(Error::Retry(format!("it did not end within {within:?}"))),
                        Ok(Err(_)) => Err(Error::Terminal("it panicked".to_owned())),
                        Ok(Ok(Ok(brought))) if brought.len() > EFFECT_BYTES_MAX => {
                            Err(Error::Terminal(format!("it brought {} bytes; {EFFECT_BYTES_MAX} are allowed", brought.len())))
                        }
                        Ok(Ok(outcome)) => outcome,
                    }
                }
            };
            metrics::attempted(&stream, &name, &outcome);
            // after the session nobody listens
            let _ = ended.send(Ended { assignment, shard, key, subject, outcome });
        });
    }

    /// What has ended since the last call.
    pub(super) fn ended(&self) -> Vec<Ended> {
        self.ended.try_iter().collect()
    }
}

/// What a test makes of an attempt is one that failed and may be made again.
fn stumbled(failure: &Failure) -> Error {
    Error::Retry(failure.why().to_owned())
}
