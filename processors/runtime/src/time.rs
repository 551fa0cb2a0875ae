//! Times are µs since the Unix epoch inside the engine, RFC 3339 on wires that people read.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock, µs. Only the worker's loop asks it; the engine core gets time as an argument.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// `us` as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map(|time| time.to_string()).unwrap_or_default()
}
