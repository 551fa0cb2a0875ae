//! Names of the metrics this crate writes, with unit and labels.

use metrics::{Gauge, Unit, describe_counter, describe_gauge, describe_histogram};

/// Tasks and threads that run now. Label `task`: the registered name.
pub const TASKS: &str = "forebay_tasks";
/// Tasks of single requests or connections that panicked. Label `task`: the registered name.
pub const TASK_PANICS: &str = "forebay_task_panics_total";
/// Open connections of a listener. Label `listener`: its name.
pub const CONNECTIONS: &str = "forebay_listener_connections";
/// Requests answered. Labels: `listener`, `method` (`other` for unusual ones), `route` (the template, `none` for unknown paths), `status`.
pub const HTTP_REQUESTS: &str = "forebay_http_requests_total";
/// From a request's headers to those of its answer, seconds. Labels: `listener`, `method`, `route`.
pub const HTTP_REQUEST_TIME: &str = "forebay_http_request_seconds";
/// Requests whose answer has not begun. Label `listener`.
pub const HTTP_IN_FLIGHT: &str = "forebay_http_in_flight";
/// Records waiting in the producer's queues. No labels.
pub const PRODUCER_QUEUE_RECORDS: &str = "forebay_kafka_producer_queue_records";
/// Bytes waiting in the producer's queues. No labels.
pub const PRODUCER_QUEUE_BYTES: &str = "forebay_kafka_producer_queue_bytes";
/// Time of records in the producer's own queue, seconds. Labels `broker`, `quantile`.
pub const PRODUCER_INTERNAL_LATENCY: &str = "forebay_kafka_producer_internal_latency_seconds";
/// Time of requests in the send buffer, seconds. Labels `broker`, `quantile`.
pub const PRODUCER_OUTBUF_LATENCY: &str = "forebay_kafka_producer_outbuf_latency_seconds";
/// Round trip to the broker, seconds. Labels `broker`, `quantile`.
pub const PRODUCER_RTT: &str = "forebay_kafka_producer_rtt_seconds";
/// Requests sent again. Label `broker`.
pub const PRODUCER_RETRIES: &str = "forebay_kafka_producer_retries_total";
/// 1 while the connection to the broker is up. Label `broker`.
pub const PRODUCER_BROKER_UP: &str = "forebay_kafka_producer_broker_up";
/// Producers replaced after a fatal error. No labels.
pub const PRODUCER_REBUILDS: &str = "forebay_kafka_producer_rebuilds_total";
/// Readers replaced after a fatal error or a standstill. Label `tail`: its name.
pub const TAIL_REBUILDS: &str = "forebay_kafka_tail_rebuilds_total";

/// Gives every metric its unit and text; called when the recorder is installed.
pub(crate) fn describe() {
    describe_gauge!(TASKS, Unit::Count, "tasks and threads that run now");
    describe_counter!(TASK_PANICS, Unit::Count, "tasks of single requests or connections that panicked");
    describe_gauge!(CONNECTIONS, Unit::Count, "open connections of a listener");
    describe_counter!(HTTP_REQUESTS, Unit::Count, "requests answered");
    describe_histogram!(HTTP_REQUEST_TIME, Unit::Seconds, "from a request's headers to those of its answer");
    describe_gauge!(HTTP_IN_FLIGHT, Unit::Count, "requests whose answer has not begun");
    describe_gauge!(PRODUCER_QUEUE_RECORDS, Unit::Count, "records waiting in the producer's queues");
    describe_gauge!(PRODUCER_QUEUE_BYTES, Unit::Bytes, "bytes waiting in the producer's queues");
    describe_gauge!(PRODUCER_INTERNAL_LATENCY, Unit::Seconds, "time of records in the producer's own queue");
    describe_gauge!(PRODUCER_OUTBUF_LATENCY, Unit::Seconds, "time of requests in the send buffer");
    describe_gauge!(PRODUCER_RTT, Unit::Seconds, "round trip to the broker");
    describe_counter!(PRODUCER_RETRIES, Unit::Count, "requests sent again");
    describe_gauge!(PRODUCER_BROKER_UP, Unit::Count, "1 while the connection to the broker is up");
    describe_counter!(PRODUCER_REBUILDS, Unit::Count, "producers replaced after a fatal error");
    describe_counter!(TAIL_REBUILDS, Unit::Count, "readers replaced after a fatal error or a standstill");
}

/// One of the things a gauge counts, for as long as it lives.
pub(crate) struct Level(Gauge);

impl Level {
    /// One more.
    pub(crate) fn new(gauge: Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
