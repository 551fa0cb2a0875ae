//! A target that keeps failing is left alone for a while. In memory: what is due stays due, whoever owns it then.

use std::collections::HashMap;
use std::sync::Arc;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 10;
/// Attempts within [`SPAN_US`] of which half must fail to open it.
const OF_ATTEMPTS: u32 = 20;
/// Attempts are counted for this long, µs.
const SPAN_US: i64 = 60_000_000;
/// It is open for this long the first time, µs; each probe that fails doubles it.
const OPEN_US: i64 = 30_000_000;
/// And never for longer, µs.
const OPEN_US_MAX: i64 = 600_000_000;

/// Whether attempts at a target may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As many as its bounds allow.
    Bounded,
    /// One, and none beside it.
    Probe,
    /// None.
    Closed,
}

/// The breakers of all targets that attempts were made at.
#[derive(Debug, Default)]
pub struct Breakers {
    by_target: HashMap<Arc<str>, Breaker>,
}

#[derive(Debug, Default)]
struct Breaker {
    in_a_row: u32,
    /// When the counts below began, µs.
    since: i64,
    attempts: u32,
    failures: u32,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: i64,
    wait: i64,
}

impl Breakers {
    /// Room at `target` at `now` (µs).
    #[must_use]
    pub fn room(&self, target: &str, now: i64) -> Room {
        match self.by_target.get(target).and_then(|breaker| breaker.open) {
            None => Room::Bounded,
            Some(open) if open.until <= now => Room::Probe,
            Some(_) => Room::Closed,
        }
    }

    /// Whether `target` is being left alone, or probed.
    #[must_use]
    pub fn is_open(&self, target: &str) -> bool {
        self.by_target.get(target).is_some_and(|breaker| breaker.open.is_some())
    }

    /// An attempt at `target` has ended at `now` (µs).
    pub fn told(&mut self, target: &Arc<str>, failed: bool, now: i64) {
        let breaker = self.by_target.entry(target.clone()).or_default();
        match breaker.open {
            // one that began before it opened says nothing new
            Some(open) if open.until > now => {}
            Some(open) if failed => {
                let wait = (open.wait * 2).min(OPEN_US_MAX);
                breaker.open = Some(Open { until: now + wait, wait });
            }
            Some(_) => *breaker = Breaker::default(),
            None => breaker.count(failed, now),
        }
    }
}

impl Breaker {
    fn count(&mut self, failed: bool, now: i64) {
        if now - self.since >= SPAN_US {
            (self.since, self.attempts, self.failures) = (now, 0, 0);
        }
        self.attempts += 1;
        self.failures += u32::from(failed);
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        if self.in_a_row >= IN_A_ROW || (self.attempts >= OF_ATTEMPTS && self.failures * 2 >= self.attempts) {
            *self = Self { open: Some(Open { until: now + OPEN_US, wait: OPEN_US }), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(breakers: &mut Breakers, outcomes: &[(bool, u32)], now: i64) {
        for (failed, times) in outcomes {
            (0..*times).for_each(|_| breakers.told(&"smtp".into(), *failed, now));
        }
    }

    #[test]
    fn ten_failures_in_a_row_open_it_and_nine_do_not() {
        let mut breakers = Breakers::default();
        told(&mut breakers, &[(false, 30), (true, 9), (false, 1), (true, 9)], 0);
        assert_eq!(breakers.room("smtp", 0), Room::Bounded);
        told(&mut breakers, &[(true, 1)], 0);
        assert_eq!(breakers.room("smtp", 0), Room::Closed);
    }

    #[test]
    fn half_of_twenty_within_a_minute_open_it_and_in_two_minutes_they_do_not() {
        let mut breakers = Breakers::default();
        (0..10).for_each(|_| told(&mut breakers, &[(false, 1), (true, 1)], 0));
        assert_eq!(breakers.room("smtp", 0), Room::Closed);
        let mut breakers = Breakers::default();
        for now in [0, SPAN_US] {
            (0..9).for_each(|_| told(&mut breakers, &[(false, 1), (true, 1)], now));
        }
        assert_eq!(breakers.room("smtp", SPAN_US), Room::Bounded);
        assert_eq!(breakers.room("bank", SPAN_US), Room::Bounded, "each target has its own");
    }

    #[test]
    fn a_probe_that_fails_doubles_the_wait_up_to_ten_minutes_and_one_that_succeeds_closes_it() {
        let mut breakers = Breakers::default();
        told(&mut breakers, &[(true, 10)], 0);
        let mut now = 0;
        for wait_s in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(breakers.room("smtp", now + wait_s * 1_000_000 - 1), Room::Closed);
            told(&mut breakers, &[(false, 1), (true, 1)], now + 1);
            now += wait_s * 1_000_000;
            assert_eq!(breakers.room("smtp", now), Room::Probe, "stragglers change nothing");
            told(&mut breakers, &[(true, 1)], now);
        }
        now += OPEN_US_MAX;
        told(&mut breakers, &[(false, 1)], now);
        assert!(!breakers.is_open("smtp"));
        told(&mut breakers, &[(true, 9)], now);
        assert_eq!(breakers.room("smtp", now), Room::Bounded, "it counts from the start");
    }
}
