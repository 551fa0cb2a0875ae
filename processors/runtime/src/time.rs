//! Times are µs since the Unix epoch inside the engine, RFC 3339 on wires that people read.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock, µs. Only the worker's loop asks it; the engine core gets time as an argument.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Microseconds that are shown as [`rfc3339`] has them.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub i64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        jiff::Timestamp::from_microsecond(self.0).map_or(Ok(()), |time| time.fmt(f))
    }
}

/// `us` as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(us: i64) -> String {
    Rfc3339(us).to_string()
}
