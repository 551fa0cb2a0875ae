//! Attempts at effects that are being made here, and where there is room for more.
//!
//! Bounds of the worker, of each target and of each concurrency key. A place is taken before the frame that records the
//! attempt is built, so nothing is recorded as under way that cannot be made at once.

use std::collections::HashMap;
use std::sync::Arc;

use state::AgendaKey;

use super::agenda::Named;
use super::breaker::{Breakers, Room};
use crate::effects::Effects;

/// Attempts that are being made here, by shard and item.
#[derive(Debug, Default)]
pub struct Running {
    attempts: HashMap<(i32, AgendaKey), Named>,
    closed: bool,
}

impl Running {
    /// An attempt is made from now on.
    pub fn begin(&mut self, shard: i32, key: AgendaKey, named: Named) {
        self.attempts.insert((shard, key), named);
    }

    /// It has ended.
    pub fn end(&mut self, shard: i32, key: &AgendaKey) -> Option<Named> {
        self.attempts.remove(&(shard, key.clone()))
    }

    /// No further attempt has a place from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// True when no further attempt has a place.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// True when none is being made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Attempts at each target.
    #[must_use]
    pub fn by_target<'a>(&self, effects: &'a Effects) -> HashMap<&'a Arc<str>, usize> {
        let mut counts = HashMap::new();
        for target in self.attempts.values().filter_map(|named| effects.target(&named.effect)) {
            *counts.entry(target).or_default() += 1;
        }
        counts
    }

    /// The places that are free at `now` (µs), of `max` for all effects together.
    #[must_use]
    pub fn free<'a>(&self, effects: &'a Effects, breakers: &'a Breakers, max: usize, now: i64) -> Places<'a> {
        let left = if self.closed { 0 } else { max };
        let mut places = Places { effects, breakers, now, left, targets: HashMap::new(), keys: HashMap::new() };
        self.attempts.values().for_each(|named| places.occupy(named));
        places
    }
}

/// Free places, given away one by one while a batch is put together and decided.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    effects: &'a Effects,
    breakers: &'a Breakers,
    now: i64,
    left: usize,
    targets: HashMap<&'a Arc<str>, usize>,
    keys: HashMap<(&'a Arc<str>, Arc<str>), usize>,
}

impl Places<'_> {
    /// Takes a place for an attempt. False when there is none.
    pub fn take(&mut self, named: &Named) -> bool {
        let free = self.left > 0 && self.fits(named);
        if free {
            self.occupy(named);
        }
        free
    }

    fn fits(&self, named: &Named) -> bool {
        // an effect that is no more ends without an attempt
        let Some((policy, target)) = self.effects.policy(&named.effect).zip(self.effects.target(&named.effect)) else {
            return true;
        };
        let taken = self.targets.get(target).copied().unwrap_or(0);
        let of_key = || self.keys.get(&(target, named.key.clone())).copied().unwrap_or(0);
        let most = match self.breakers.room(target, self.now) {
            Room::Bounded => policy.concurrency,
            Room::Probe => 1,
            Room::Closed => 0,
        };
        taken < most && (named.key.is_empty() || of_key() < policy.per_key)
    }

    /// A place is taken, whether or not there is one.
    pub fn occupy(&mut self, named: &Named) {
        self.left = self.left.saturating_sub(1);
        let Some(target) = self.effects.target(&named.effect) else { return };
        *self.targets.entry(target).or_default() += 1;
        if !named.key.is_empty() {
            *self.keys.entry((target, named.key.clone())).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::{Error, Policy};

    fn effects() -> Effects {
        let answers = |_| async { Err(Error::Terminal("never called".into())) };
        let policy = |target: &str, concurrency, per_key| Policy {
            target: Some(target.to_owned()),
            concurrency,
            per_key,
            ..Policy::default()
        };
        Effects::default().with("mail", policy("smtp", 3, 2), answers).with("news", policy("smtp", 2, 2), answers).with(
            "pay",
            policy("bank", 64, 64),
            answers,
        )
    }

    fn named(effect: &str, key: &str) -> Named {
        Named { effect: effect.into(), key: key.into() }
    }

    fn item(n: i64) -> AgendaKey {
        AgendaKey { due: n, id: "e/1".into() }
    }

    #[test]
    fn a_target_has_its_bound_whatever_effects_share_it() {
        let (effects, breakers) = (effects(), Breakers::default());
        let mut running = Running::default();
        running.begin(0, item(1), named("mail", ""));
        running.begin(1, item(1), named("news", ""));
        assert!(!running.free(&effects, &breakers, 64, 0).take(&named("news", "")), "two of two");
        let mut places = running.free(&effects, &breakers, 64, 0);
        assert!(places.take(&named("mail", "")));
        assert!(!places.take(&named("mail", "")) && places.take(&named("pay", "")));
        running.end(1, &item(1)).unwrap();
        assert!(running.free(&effects, &breakers, 64, 0).take(&named("news", "")));
    }

    #[test]
    fn a_key_has_its_bound_and_no_key_has_none() {
        let (effects, breakers) = (effects(), Breakers::default());
        let running = Running::default();
        let mut places = running.free(&effects, &breakers, 64, 0);
        assert!(places.take(&named("mail", "a")) && places.take(&named("mail", "a")));
        assert!(!places.take(&named("mail", "a")));
        assert!(places.take(&named("mail", "b")));
    }

    #[test]
    fn the_worker_has_its_bound() {
        let (effects, breakers) = (effects(), Breakers::default());
        let mut places = Running::default().free(&effects, &breakers, 2, 0).take_all(["pay", "mail", "gone"]);
        assert_eq!(places.drain(..).filter(|taken| *taken).count(), 2);
    }

    #[test]
    fn a_target_that_is_left_alone_has_one_place_for_a_probe_when_its_time_has_come() {
        let (effects, mut breakers) = (effects(), Breakers::default());
        (0..10).for_each(|_| breakers.told(effects.target("mail").unwrap(), true, 0));
        let running = Running::default();
        let free = |now| running.free(&effects, &breakers, 64, now).take_all(["mail", "news", "pay"]);
        assert_eq!(free(0), [false, false, true]);
        assert_eq!(free(30_000_000), [true, false, true]);
    }

    impl Places<'_> {
        fn take_all<const N: usize>(mut self, names: [&str; N]) -> Vec<bool> {
            names.iter().map(|name| self.take(&named(name, ""))).collect()
        }
    }
}
