//! What a batch came to.

use crate::dead_letter::Reason;

/// Counts of a decided batch, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Inputs that were duplicates.
    pub duplicates: u64,
    /// Inputs that became dead letters, by the number of the reason.
    pub dead: [u64; Reason::ALL.len()],
    /// Inputs that were refused by the processor.
    pub rejected: u64,
    /// Inputs that were processed.
    pub processed: u64,
    /// Events sent to other subjects.
    pub sends: u64,
    /// Inputs that will be tried again.
    pub retries: u64,
    /// Inputs that wait behind another of their subject.
    pub parked: u64,
    /// Rows that inputs looked at one by one, their heads included.
    pub rows: u64,
    /// Agenda items that were carried out.
    pub fired: u64,
    /// Attempts at effects whose lease ended before they were heard of.
    pub leases_expired: u64,
    /// How late the latest of them was, µs.
    pub lateness_us: i64,
}
