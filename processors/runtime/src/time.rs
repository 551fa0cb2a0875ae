//! Times are µs since the Unix epoch inside the engine, RFC 3339 on wires that people read.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock a worker decides by: that of the system, except in a test. Passed as an option, so that nothing outside
/// the program can set it.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn(i64) -> i64 + Send + Sync>>);

impl Clock {
    /// A clock that shows `wrong` of the right time, µs. For tests only: a lint keeps it out of everything else.
    #[must_use]
    pub fn wrong(wrong: impl Fn(i64) -> i64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(wrong)))
    }

    /// What it shows now, µs.
    pub(crate) fn now_us(&self) -> i64 {
        self.0.as_ref().map_or_else(now_us, |wrong| wrong(now_us()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "wrong" } else { "right" })
    }
}

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
