//! How many messages a client may send.

use tokio::time::{Duration, Instant};

/// Refused messages within [`FLOOD_TIME`] after which the connection is closed.
const FLOOD: u32 = 3;
/// See [`FLOOD`].
const FLOOD_TIME: Duration = Duration::from_secs(10);

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Take it.
    Yes,
    /// Refuse it.
    No,
    /// Refuse it and close.
    Close,
}

/// A token bucket of one connection.
#[derive(Debug)]
pub struct Bucket {
    tokens: f64,
    per_second: f64,
    burst: f64,
    at: Instant,
    refused: u32,
    refused_since: Instant,
}

impl Bucket {
    /// Full at `now`.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { tokens: burst, per_second: f64::from(per_second), burst, at: now, refused: 0, refused_since: now }
    }

    /// Whether one more message may come in at `now`.
    pub fn admit(&mut self, now: Instant) -> Admit {
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() * self.per_second).min(self.burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Admit::Yes;
        }
        if now - self.refused_since > FLOOD_TIME {
            (self.refused, self.refused_since) = (0, now);
        }
        self.refused += 1;
        if self.refused >= FLOOD { Admit::Close } else { Admit::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_flood_is_closed_and_time_heals() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 5, start);
        for _ in 0..5 {
            assert_eq!(bucket.admit(start), Admit::Yes);
        }
        assert_eq!((bucket.admit(start), bucket.admit(start), bucket.admit(start)), (Admit::No, Admit::No, Admit::Close));
        assert_eq!(bucket.admit(start + Duration::from_secs(1)), Admit::Yes);
    }
}
