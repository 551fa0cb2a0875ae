//! Names of this room's metrics. Label values are bounded: streams by the broker's topics, the others by lists in the code.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Gauge; open connections. Label `transport`.
pub const CONNECTIONS: &str = "forebay_notifier_connections";
/// Count; connections opened. Labels `transport`, `outcome`.
pub const OPENS: &str = "forebay_notifier_opens_total";
/// Count; connections closed. Labels `transport`, `code`.
pub const CLOSES: &str = "forebay_notifier_closes_total";
/// Count; results read from the broker. Label `stream`.
pub const RESULTS: &str = "forebay_notifier_results_total";
/// Count; results whose schema is unknown. Label `stream`.
pub const BAD_RESULTS: &str = "forebay_notifier_bad_results_total";
/// Count; results written to sockets. Label `transport`.
pub const DELIVERIES: &str = "forebay_notifier_deliveries_total";
/// Bytes; messages written to sockets. Label `transport`.
pub const SENT_BYTES: &str = "forebay_notifier_sent_bytes_total";
/// Seconds; from the result's timestamp to its write, the first 16 members of a round. Label `transport`.
pub const COMMIT_TO_WRITE: &str = "forebay_notifier_commit_to_write_seconds";
/// Seconds; from the input's append to the result's timestamp. Label `stream`.
pub const INPUT_TO_COMMIT: &str = "forebay_notifier_input_to_commit_seconds";
/// Gauge, seconds; age of the oldest partition's position. Label `stream`.
pub const FEED_AGE: &str = "forebay_notifier_feed_age_seconds";
/// Gauge, bytes; results held in memory by all partitions.
pub const RING_BYTES: &str = "forebay_notifier_ring_bytes";
/// Count; subscriptions begun. Labels `status`, `source`.
pub const READY: &str = "forebay_notifier_ready_total";
/// Count; losses told. Label `reason`.
pub const GAPS: &str = "forebay_notifier_gaps_total";
/// Count; repairs asked for. Label `outcome`.
pub const REPAIRS: &str = "forebay_notifier_repairs_total";
/// Count; queues that were full. Label `action`.
pub const SLOW: &str = "forebay_notifier_slow_total";
/// Seconds; length of a catch-up.
pub const CATCHUP: &str = "forebay_notifier_catchup_seconds";
/// Seconds; reads of views and lifecycles. Labels `route`, `outcome`.
pub const VIEW: &str = "forebay_notifier_view_seconds";

/// Count; rows that could not be shown for what they hold, beside those the registry is away for. Label `stream`.
pub const UNREADABLE: &str = "forebay_notifier_unreadable_rows_total";

/// Tells the recorder what they mean. Called once by whoever runs the room.
pub fn describe() {
    describe_gauge!(CONNECTIONS, "open connections");
    describe_counter!(OPENS, "connections opened or refused");
    describe_counter!(CLOSES, "connections closed");
    describe_counter!(RESULTS, "results read from the broker");
    describe_counter!(BAD_RESULTS, "results whose schema is unknown");
    describe_counter!(DELIVERIES, "results written to sockets");
    describe_counter!(SENT_BYTES, Unit::Bytes, "bytes of messages written to sockets");
    describe_histogram!(COMMIT_TO_WRITE, Unit::Seconds, "from the result's timestamp to its write");
    describe_histogram!(INPUT_TO_COMMIT, Unit::Seconds, "from the input's append to the result's timestamp");
    describe_gauge!(FEED_AGE, Unit::Seconds, "age of the oldest position of a stream's partitions");
    describe_gauge!(RING_BYTES, Unit::Bytes, "results held in memory");
    describe_counter!(READY, "subscriptions begun");
    describe_counter!(GAPS, "losses told");
    describe_counter!(REPAIRS, "repairs asked for");
    describe_counter!(SLOW, "queues that were full");
    describe_histogram!(CATCHUP, Unit::Seconds, "length of a catch-up");
    describe_counter!(UNREADABLE, "rows that could not be shown for what they hold");
    describe_histogram!(VIEW, Unit::Seconds, "reads of views and lifecycles");
}
