//! The acknowledgements of one request: one shared state, one slot per record, one wake when the last report is in.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No report yet.
    Pending,
    /// All in-sync replicas have it.
    Acked {
        /// Where.
        partition: i32,
        /// At which offset.
        offset: i64,
        /// The record's timestamp, ms since the Unix epoch: the append time on topics that keep it. −1 if the broker gave none.
        timestamp_ms: i64,
    },
    /// Certainly not written: sending it again is safe.
    NotPersisted(Cause),
    /// May have been written.
    PossiblyPersisted(Cause),
    /// Larger than the client or the topic allows; certainly not written.
    TooLarge,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No acknowledgement within the message timeout.
    TimedOut,
    /// The client's queue has no room. Admission must keep this from happening.
    QueueFull,
    /// The broker does not let this client write there.
    NotAuthorized,
    /// The topic or partition does not exist.
    UnknownPartition,
    /// Purged by a shutdown or by the replacement of a producer beyond repair.
    Purged,
    /// Anything else, in librdkafka's words.
    Other(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "no acknowledgement in time",
            Self::QueueFull => "the producer's queue is full",
            Self::NotAuthorized => "the broker does not allow this client to write there",
            Self::UnknownPartition => "the topic or partition does not exist",
            Self::Purged => "given up by the producer",
            Self::Other(text) => text,
        })
    }
}

/// The shared state of one request's records. Each slot is set once, by the report of its record.
#[derive(Debug)]
pub struct Acks {
    slots: Box<[OnceLock<Outcome>]>,
    open: AtomicUsize,
    all_in: Notify,
}

impl Acks {
    /// For `count` records; every index below it must be sent exactly once.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: std::iter::repeat_with(OnceLock::new).take(count).collect(),
            open: AtomicUsize::new(count),
            all_in: Notify::new(),
        })
    }

    /// Completes when every record has its report. Reports come within the message timeout, so this always ends.
    pub async fn wait(&self) {
        let mut notified = std::pin::pin!(self.all_in.notified());
        notified.as_mut().enable();
        if self.pending() > 0 {
            notified.await;
        }
    }

    /// Records without a report.
    pub fn pending(&self) -> usize {
        // pairs with the release in `set`: who sees zero sees every slot
        self.open.load(Ordering::Acquire)
    }

    /// What became of the record sent with this index; [`Outcome::Pending`] without a report.
    pub fn outcome(&self, index: usize) -> Outcome {
        self.slots.get(index).and_then(OnceLock::get).cloned().unwrap_or(Outcome::Pending)
    }

    /// Sets a slot for a record that was never given to the producer, so that the count comes out. A second report is ignored.
    pub fn set(&self, index: usize, outcome: Outcome) {
        let Some(slot) = self.slots.get(index) else { return };
        if slot.set(outcome).is_ok() && self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_in.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(offset: i64) -> Outcome {
        Outcome::Acked { partition: 0, offset, timestamp_ms: 0 }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_report_wakes_the_request() {
        for _ in 0..200 {
            let acks = Acks::new(3);
            let reports = Arc::clone(&acks);
            let thread = std::thread::spawn(move || (0..3).for_each(|i| reports.set(i, acked(7))));
            acks.wait().await;
            assert!((0..3).all(|i| acks.outcome(i) == acked(7)));
            thread.join().unwrap();
        }
    }

    #[tokio::test]
    async fn a_second_report_changes_nothing() {
        let acks = Acks::new(2);
        acks.set(0, acked(1));
        acks.set(0, Outcome::TooLarge);
        acks.set(9, Outcome::TooLarge);
        assert_eq!((acks.pending(), acks.outcome(0), acks.outcome(1)), (1, acked(1), Outcome::Pending));
    }

    #[tokio::test]
    async fn a_request_without_records_waits_for_nothing() {
        Acks::new(0).wait().await;
    }
}
