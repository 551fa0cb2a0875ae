//! What the edge counts. `stream`, `type` and `route` come from the catalog, never from a request.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Events by what was said about them. Labels: `stream`, `type`, `verdict`, `reason`.
pub const EVENTS: &str = "forebay_ingest_events_total";
/// Bytes. Labels: `stream`, `direction` (`wire`, `decoded`, `record`).
pub const BYTES: &str = "forebay_ingest_bytes_total";
/// Time per stage. Label: `stage` (`read`, `encode`, `dedupe`, `ack`, `status`).
pub const STAGE_DURATION: &str = "forebay_ingest_stage_duration_seconds";
/// Requests refused before their events were looked at. Labels: `reason`, `account`.
pub const REFUSALS: &str = "forebay_ingest_refusals_total";
/// Bytes held by requests that are being worked on.
pub const INFLIGHT_BYTES: &str = "forebay_ingest_inflight_bytes";
/// The bound of the above.
pub const LIMIT_BYTES: &str = "forebay_ingest_limit_bytes";
/// Acknowledged bytes per second, 5 s average.
pub const DRAIN_RATE: &str = "forebay_ingest_drain_bytes_per_second";
/// Event keys remembered.
pub const DEDUPE_ENTRIES: &str = "forebay_ingest_dedupe_entries";
/// Repeats found. Label: `by` (`request`, `window`).
pub const DEDUPE_HITS: &str = "forebay_ingest_dedupe_hits_total";
/// Event keys forgotten before their age because the window was full.
pub const DEDUPE_EVICTIONS: &str = "forebay_ingest_dedupe_evictions_total";
/// Members of data that were passed over because the type ignores what it does not know. Label: `stream`.
pub const UNKNOWN_FIELDS: &str = "forebay_ingest_unknown_fields_total";
/// Events per request. Label: `stream`.
pub const BATCH_EVENTS: &str = "forebay_ingest_batch_events";

/// Tells the recorder what each metric means. Called once by [`crate::Service::build`].
pub fn describe() {
    describe_counter!(EVENTS, "events by verdict and reason");
    describe_counter!(BYTES, Unit::Bytes, "bytes as received, decoded, and as records");
    describe_histogram!(STAGE_DURATION, Unit::Seconds, "time spent per stage of a request");
    describe_counter!(REFUSALS, "requests refused before their events were looked at");
    describe_gauge!(INFLIGHT_BYTES, Unit::Bytes, "bytes held by requests in work");
    describe_gauge!(LIMIT_BYTES, Unit::Bytes, "most bytes that requests in work may hold");
    describe_gauge!(DRAIN_RATE, Unit::Bytes, "acknowledged bytes per second, 5 s average");
    describe_gauge!(DEDUPE_ENTRIES, "event keys remembered");
    describe_counter!(DEDUPE_HITS, "repeated events found at the edge");
    describe_counter!(DEDUPE_EVICTIONS, "event keys forgotten early because the window was full");
    describe_counter!(UNKNOWN_FIELDS, "members of data passed over as unknown");
    describe_histogram!(BATCH_EVENTS, "events per request");
}

/// A count as the recorder wants it.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 nothing here can count")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}
