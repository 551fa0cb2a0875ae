//! Names of a test's own, and whose time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Age from which on what a run left behind is nobody's, seconds.
const STALE_SECONDS: u64 = 24 * 60 * 60;

/// A name no other test, run or machine has: `<prefix>_t<unix seconds>_<pid>_<n>`, fit for topics and keyspaces.
/// The time in it tells [`is_stale`] what is left over.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}_t{}_{}_{}", now(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Does the name contain one made by [`unique`] more than a day ago?
pub fn is_stale(name: &str) -> bool {
    let time = |part: &str| part.strip_prefix('t').filter(|digits| digits.len() == 10)?.parse::<u64>().ok();
    name.split('_').find_map(time).is_some_and(|made| made + STALE_SECONDS < now())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_names_of_tests_are_stale() {
        assert!(!is_stale(&unique("orders")));
        assert!(is_stale("orders_t1700000000_17_4flights.events"));
        assert!(!is_stale("orders.events") && !is_stale("t_t17_1_1"));
    }
}
