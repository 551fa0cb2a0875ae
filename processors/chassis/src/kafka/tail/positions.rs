//! Where the reader stands in each partition, and the rule by which it may move past what is never delivered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{End, Statistics};

/// All partitions of a reader.
#[derive(Debug, Default)]
pub(super) struct Positions {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Position>>,
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Position {
    /// Everything below has been handed over.
    pub(super) next: i64,
    /// When `next` last moved, or was at the stable end.
    moved: Instant,
    /// When the broker was last heard of, ms since the Unix epoch. The clocks it is computed from are read at different moments, so it is
    /// kept from stepping back.
    heard_ms: i64,
}

/// A partition whose position is proved to be the stable end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proof {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) next: i64,
    pub(super) at_ms: i64,
}

impl Positions {
    /// Begins a partition, or moves it after a loss.
    pub(super) fn set(&mut self, topic: &str, partition: i32, next: i64, now: Instant) {
        let name = self.name(topic).unwrap_or_else(|| topic.into());
        self.topics.entry(name).or_default().insert(partition, Position { next, moved: now, heard_ms: i64::MIN });
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, Position)> {
        self.topics.iter().flat_map(|(topic, partitions)| partitions.iter().map(move |(id, position)| (topic, *id, *position)))
    }

    /// The shared name of a known topic.
    pub(super) fn name(&self, topic: &str) -> Option<Arc<str>> {
        self.topics.get_key_value(topic).map(|(name, _)| Arc::clone(name))
    }

    /// Notes a delivered record; None if it is not to be handed over, because it was before or nobody asked for its partition.
    pub(super) fn deliver(&mut self, topic: &str, partition: i32, offset: i64, now: Instant) -> Option<Arc<str>> {
        let position = self.topics.get_mut(topic)?.get_mut(&partition)?;
        if offset < position.next {
            return None;
        }
        position.next = offset + 1;
        position.moved = now;
        self.name(topic)
    }

    /// The position rule. To be called with statistics after which the queue was once seen empty: all records below the ends they tell have
    /// been handed over then, so what is missing below an end is never delivered (control records, aborted records).
    pub(super) fn prove(&mut self, statistics: &Statistics, now: Instant) -> Vec<Proof> {
        let mut proofs = Vec::new();
        for (topic, partitions) in &mut self.topics {
            for (partition, position) in partitions {
                let Some(end) = statistics.end(topic, *partition) else { continue };
                if position.prove(end, now) {
                    proofs.push(Proof {
                        topic: Arc::clone(topic),
                        partition: *partition,
                        next: position.next,
                        at_ms: end.heard_ms,
                    });
                }
            }
        }
        proofs
    }

    /// A partition that did not move for `limit` although it is behind the stable end.
    pub(super) fn standing(&self, limit: Duration, now: Instant) -> Option<(Arc<str>, i32)> {
        let mut all = self.iter();
        all.find(|(_, _, position)| now.duration_since(position.moved) > limit)
            .map(|(topic, partition, _)| (Arc::clone(topic), partition))
    }

    /// The reader itself was held up: nobody stood still.
    pub(super) fn excuse(&mut self, now: Instant) {
        self.topics.values_mut().flat_map(BTreeMap::values_mut).for_each(|position| position.moved = now);
    }
}

impl Position {
    /// Moves past holes; true if the position is the stable end the broker last told.
    fn prove(&mut self, end: End, now: Instant) -> bool {
        if end.reached > self.next {
            self.next = end.reached;
            self.moved = now;
        }
        self.heard_ms = self.heard_ms.max(end.heard_ms);
        let at_end = (0..=self.next).contains(&end.stable);
        // unknown ends are the broker's silence, not ours
        if at_end || end.stable < 0 {
            self.moved = now;
        }
        at_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(next: i64, moved: Instant) -> Position {
        Position { next, moved, heard_ms: i64::MIN }
    }

    #[test]
    fn a_hole_before_the_end_is_passed() {
        let now = Instant::now();
        let mut at = position(10, now);
        assert!(at.prove(End { reached: 12, stable: 12, heard_ms: 0 }, now));
        assert_eq!(at.next, 12);
    }

    #[test]
    fn an_old_end_does_not_move_back_and_a_newer_stable_end_is_no_proof() {
        let now = Instant::now();
        let mut at = position(10, now);
        assert!(!at.prove(End { reached: 7, stable: 14, heard_ms: 0 }, now));
        assert_eq!(at.next, 10);
        assert!(at.prove(End { reached: 7, stable: 10, heard_ms: 0 }, now));
    }

    #[test]
    fn an_end_that_was_never_told_proves_nothing() {
        let now = Instant::now();
        assert!(!position(0, now).prove(End { reached: -1001, stable: -1001, heard_ms: 0 }, now));
    }

    #[test]
    fn records_below_the_position_are_not_handed_over_again() {
        let (mut positions, now) = (Positions::default(), Instant::now());
        positions.set("t", 0, 5, now);
        assert_eq!(positions.deliver("t", 0, 4, now), None);
        assert_eq!(positions.deliver("t", 0, 7, now).as_deref(), Some("t"));
        assert_eq!(positions.deliver("t", 0, 7, now), None);
        assert_eq!(positions.deliver("t", 1, 7, now), None);
        assert_eq!(positions.iter().map(|(_, _, position)| position.next).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn only_who_is_behind_and_does_not_move_stands_still() {
        let (mut positions, begun) = (Positions::default(), Instant::now());
        positions.set("t", 0, 5, begun);
        let later = begun + Duration::from_secs(40);
        assert_eq!(positions.standing(Duration::from_secs(30), later), Some(("t".into(), 0)));
        positions.excuse(later);
        assert_eq!(positions.standing(Duration::from_secs(30), later), None);
    }
}
