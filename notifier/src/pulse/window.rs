//! Counts and latencies of the last minute in fixed memory: one slot per second, logarithmic buckets.

use crate::pulse::SECONDS;

/// Buckets per doubling.
const STEPS: u32 = 4;
/// 1 ms to about 9 min.
const BUCKETS: usize = 80;

/// The last [`SECONDS`] seconds.
#[derive(Debug)]
pub struct Window {
    slots: Vec<Slot>,
}

#[derive(Debug, Clone)]
struct Slot {
    second: i64,
    count: u64,
    buckets: [u32; BUCKETS],
}

impl Default for Window {
    fn default() -> Self {
        Self { slots: vec![Slot { second: 0, count: 0, buckets: [0; BUCKETS] }; SECONDS] }
    }
}

impl Window {
    /// One observation of `value_ms` at the time `now_ms`.
    pub fn add(&mut self, now_ms: i64, value_ms: i64) {
        let slot = self.slot(now_ms / 1_000);
        slot.count += 1;
        slot.buckets[bucket(value_ms)] += 1;
    }

    /// `count` things at the time `now_ms`, without a value.
    pub fn count(&mut self, now_ms: i64, count: u64) {
        self.slot(now_ms / 1_000).count += count;
    }

    /// Things per second over the last `seconds` full ones (1–59).
    #[must_use]
    pub fn rate(&self, now_ms: i64, seconds: i64) -> f64 {
        let now = now_ms / 1_000;
        let count: u64 = self.slots.iter().filter(|s| s.second < now && s.second >= now - seconds).map(|s| s.count).sum();
        count as f64 / seconds as f64
    }

    /// Counts per second, oldest first; the second under way is left out.
    #[must_use]
    pub fn history(&self, now_ms: i64) -> Vec<u64> {
        let now = now_ms / 1_000;
        let first = now - SECONDS as i64 + 1;
        (first..now).map(|second| self.slots.iter().find(|s| s.second == second).map_or(0, |s| s.count)).collect()
    }

    /// The value below which the share `quantile` (0–1) of the last minute lies, ms, to within a fifth; `None` without observations.
    #[must_use]
    pub fn quantile_ms(&self, now_ms: i64, quantile: f64) -> Option<f64> {
        let oldest = now_ms / 1_000 - SECONDS as i64;
        let mut sums = [0u64; BUCKETS];
        for slot in self.slots.iter().filter(|slot| slot.second > oldest) {
            for (sum, count) in sums.iter_mut().zip(slot.buckets) {
                *sum += u64::from(count);
            }
        }
        let total: u64 = sums.iter().sum();
        let wanted = (total as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        let index = sums.iter().position(|sum| {
            seen += sum;
            total > 0 && seen >= wanted
        })?;
        Some(upper_ms(index))
    }

    fn slot(&mut self, second: i64) -> &mut Slot {
        let slot = &mut self.slots[usize::try_from(second).unwrap_or(0) % SECONDS];
        if slot.second != second {
            *slot = Slot { second, count: 0, buckets: [0; BUCKETS] };
        }
        slot
    }
}

fn bucket(value_ms: i64) -> usize {
    if value_ms < 1 {
        return 0;
    }
    let index = ((value_ms as f64).log2() * f64::from(STEPS)).floor() as usize + 1;
    index.min(BUCKETS - 1)
}

fn upper_ms(index: usize) -> f64 {
    if index == 0 { 1.0 } else { 2f64.powf(index as f64 / f64::from(STEPS)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_and_forget_after_a_minute() {
        let mut window = Window::default();
        assert_eq!(window.quantile_ms(1_000_000, 0.5), None);
        for value in 1..=1_000 {
            window.add(1_000_000, value);
        }
        for (quantile, exact) in [(0.5, 500.0), (0.99, 990.0)] {
            let told = window.quantile_ms(1_000_000, quantile).unwrap();
            assert!(told >= exact && told <= exact * 1.2, "{quantile}: {told}");
        }
        assert_eq!(window.quantile_ms(1_000_000 + 61_000, 0.5), None);
    }

    #[test]
    fn rates_count_full_seconds_only() {
        let mut window = Window::default();
        for second in 0..5 {
            window.count(100_000 + second * 1_000, 10);
        }
        assert!((window.rate(105_500, 5) - 10.0).abs() < f64::EPSILON);
        let history = window.history(105_500);
        assert_eq!((history.len(), &history[history.len() - 6..]), (SECONDS - 1, &[0, 10, 10, 10, 10, 10][..]));
    }
}
