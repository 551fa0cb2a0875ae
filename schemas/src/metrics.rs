//! Metrics of this crate.

/// Gauge: schemas taken from the disk cache because the registry did not answer at start. No labels.
pub const UNCONFIRMED: &str = "forebay_schemas_unconfirmed";

/// Counter: requests to the registry. Label `outcome`: `ok`, `not_found`, `refused`, `unavailable`.
pub const REQUESTS: &str = "forebay_schemas_registry_requests_total";

/// Describes them to the recorder.
pub fn describe() {
    metrics::describe_gauge!(UNCONFIRMED, "schemas taken from the disk cache because the registry did not answer at start");
    metrics::describe_counter!(REQUESTS, "requests to the schema registry by outcome");
}
