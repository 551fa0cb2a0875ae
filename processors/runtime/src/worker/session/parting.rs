//! Giving shards back, and stopping: attempts at effects that are under way get a moment to end, so that their outcomes are
//! committed here and need no second attempt elsewhere; and so does the applier, so that the next owner finds in the store
//! what it would read back from the log.
//!
//! To the group a worker that waits looks like one that polls late: its generation lasts, and so do its transactions.

use std::time::{Duration, Instant};

use chassis::lifecycle::Stop;
use rdkafka::consumer::Consumer;

use super::Session;
use crate::engine::{Action, Event, Failure};
use crate::worker::gather::{self, Polled};

/// The applier may take this long to finish when the process stops.
const APPLY_DRAIN: Duration = Duration::from_secs(10);

/// What was asked of the worker.
#[derive(Default)]
pub(super) struct Parting {
    /// The group waits for the shards.
    pub(super) owed: bool,
    /// When the waiting ends.
    until: Option<Instant>,
}

impl Session<'_> {
    /// Whether the worker must wait for attempts and the store before it parts; `None` while it need not part, or is amid
    /// something.
    pub(super) fn lingers(&mut self, action: &Action, stop: &Stop) -> Option<bool> {
        let quiet = self.core.is_quiet();
        self.consumer.context().set_busy(!quiet);
        if !matches!(action, Action::Poll { .. }) || !(stop.requested() || self.parting.owed) {
            return None;
        }
        self.core.start_no_more();
        let until = *self.parting.until.get_or_insert_with(|| Instant::now() + self.worker.options.drain);
        Some(!quiet && Instant::now() < until)
    }

    /// The group asks for the shards; nothing is taken from now on.
    pub(super) fn leave(&mut self) -> Event {
        self.parting.owed = true;
        self.worker.ready(true, "gives its shards back when its effects have ended and the store has its frames");
        Event::Polled { inputs: Vec::new(), acks: self.acks.try_iter().collect(), ended: self.executor.ended() }
    }

    /// Gives the shards back.
    pub(super) fn give_back(&mut self) -> Result<Event, Failure> {
        self.parting.owed = true;
        self.part();
        self.told(Polled::Revoked)
    }

    /// Nothing is owed behind this: a consumer that owes shards cannot be closed.
    pub(super) fn part(&mut self) {
        self.consumer.context().set_busy(false);
        if std::mem::take(&mut self.parting).owed
            && let Err(error) = self.consumer.unassign()
        {
            tracing::warn!(%error, "unassign");
        }
    }

    /// Ends the session in order, for good.
    pub(super) fn shut_down(mut self) {
        self.jobs = None;
        let drained = self.worker.tokio.block_on(async { tokio::time::timeout(APPLY_DRAIN, &mut self.applier_done).await });
        if drained.is_err() {
            tracing::warn!("the store did not take all frames; the next start reads them back from the log");
        }
        self.consumer.unsubscribe();
        gather::leave(&self.consumer);
    }
}
