//! What the stores and the reader tell about themselves.

use std::time::Instant;

use metrics::{Unit, describe_counter, describe_histogram};

/// Seconds per call into a store. Labels: `store` (`cql`, `embedded`, `memory`), `op` (the method's name).
pub const STORE_SECONDS: &str = "forebay_state_store_seconds";
/// Reads that were repeated because what they saw was newer than the watermark. Label: `read` (`rows`, `lifecycle`).
pub const FINAL_VIEW_RETRIES: &str = "forebay_state_final_view_retries_total";
/// Reads that were not final by their deadline. Label: `read`.
pub const FINAL_VIEW_LATE: &str = "forebay_state_final_view_late_total";

/// Describes the metrics of this crate; called once by each binary.
pub fn describe() {
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "Time of a call into the store");
    describe_counter!(FINAL_VIEW_RETRIES, Unit::Count, "Reads repeated until the watermark covered them");
    describe_counter!(FINAL_VIEW_LATE, Unit::Count, "Reads that were not covered by the watermark in time");
}

/// Records how long a call took when it is dropped, cancelled calls too.
pub(crate) struct Timed {
    store: &'static str,
    operation: &'static str,
    start: Instant,
}

impl Timed {
    pub(crate) fn start(store: &'static str, operation: &'static str) -> Self {
        Self { store, operation, start: Instant::now() }
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let seconds = self.start.elapsed().as_secs_f64();
        metrics::histogram!(STORE_SECONDS, "store" => self.store, "op" => self.operation).record(seconds);
    }
}
