//! The agenda of a shard in memory: which items are due in the near future, and what the store does not have of them yet.
//!
//! The index is a hint (I6): it says when to look. What counts is the item, read like any row: from the unacknowledged
//! frames, else from the store.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use state::records::{Effect, Item};
use state::{AgendaItem, AgendaKey, AgendaWrite};

use super::step::{Scan, Scanned};

/// The index covers this much of the future, µs.
const REACH_US: i64 = 120_000_000;
/// It is extended when less than this is left, µs.
const RAISE_US: i64 = 60_000_000;
/// One look into the store covers at most this much, µs: a week.
const SCAN_US: i64 = 7 * 24 * 3_600_000_000;
/// And brings at most this many items, whose payloads come along.
const SCAN_ITEMS: usize = 10_000;
/// A slice of the agenda, µs.
pub const SLICE_US: i64 = 60_000_000;

/// Id of a timer's item.
pub fn timer_id(subject: &str, name: &str) -> Arc<str> {
    format!("t/{subject}/{name}").into()
}

/// Id of the item that tries a held subject again.
pub fn held_id(subject: &str) -> Arc<str> {
    format!("h/{subject}").into()
}

/// Id of the item of an input that later ones pass.
pub fn retry_id(key: &schemas::key::EventKey) -> Arc<str> {
    format!("r/{key}").into()
}

/// Id of the item of an effect.
pub fn effect_id(id: &str) -> Arc<str> {
    format!("e/{id}").into()
}

/// What the head row knows an effect by, beside the timers; no timer of a processor has such a name.
pub fn effect_name(id: &str) -> String {
    format!("~e/{id}")
}

/// An entry of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The subject of the item.
    pub subject: Arc<str>,
    /// Which effect it is, if it is one.
    pub effect: Option<Arc<Named>>,
}

/// What bounds the attempts at an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub effect: Arc<str>,
    /// Its concurrency key; empty = none.
    pub key: Arc<str>,
}

impl From<&Effect> for Named {
    fn from(effect: &Effect) -> Self {
        Self { effect: effect.name.as_str().into(), key: effect.key.as_str().into() }
    }
}

impl Entry {
    /// The entry of an item.
    #[must_use]
    pub fn of(subject: Arc<str>, id: &str, val: &[u8]) -> Self {
        // one that cannot be read is looked at, and found to be what cannot be
        let effect = id.starts_with("e/").then(|| Item::decode(val).ok()).flatten().and_then(|item| match item {
            Item::Effect(effect) => Some(Arc::new(Named::from(&effect))),
            Item::Timer { .. } | Item::Retry(_) | Item::Held => None,
        });
        Self { subject, effect }
    }
}

impl From<AgendaItem> for Entry {
    fn from(item: AgendaItem) -> Self {
        Self::of(item.subject, &item.key.id, &item.val)
    }
}

/// An item of an unacknowledged frame: its subject and payload, or its deletion.
type Pinned = (i64, Option<(Arc<str>, Bytes)>);

/// Agenda index of one shard.
#[derive(Debug)]
pub struct Agenda {
    /// Every item below `reach`.
    entries: BTreeMap<AgendaKey, Entry>,
    /// First key that may be missing; `None` before the first look.
    reach: Option<AgendaKey>,
    /// First slice that may hold items when the shard was taken over; 0 = none was ever written.
    floor: i64,
    pinned: HashMap<AgendaKey, Pinned>,
    index_max: usize,
}

impl Agenda {
    /// An index that knows nothing yet, of a shard whose items begin at slice `floor`.
    #[must_use]
    pub fn new(floor: i64, index_max: usize) -> Self {
        Self { entries: BTreeMap::new(), reach: None, floor, pinned: HashMap::new(), index_max }
    }

    /// What is due at `now` (µs), oldest first.
    pub fn due(&self, now: i64) -> impl Iterator<Item = (&AgendaKey, &Entry)> {
        self.entries.iter().take_while(move |(key, _)| key.due <= now)
    }

    /// The item as far as memory knows: outer `None` = ask the store.
    #[must_use]
    pub fn item(&self, key: &AgendaKey) -> Option<Option<&Bytes>> {
        self.pinned.get(key).map(|(_, item)| item.as_ref().map(|(_, val)| val))
    }

    /// The item is not there: the entry was only a hint.
    pub fn forget(&mut self, key: &AgendaKey) {
        self.entries.remove(key);
    }

    /// Takes over the changes of the committed frame `n`.
    pub fn publish(&mut self, n: i64, writes: &[AgendaWrite]) {
        for AgendaWrite { key, subject, val } in writes {
            self.pinned.insert(key.clone(), (n, val.clone().map(|val| (subject.clone(), val))));
            match val {
                None => drop(self.entries.remove(key)),
                Some(val) if self.reach.as_ref().is_some_and(|reach| key < reach) => {
                    self.entries.insert(key.clone(), Entry::of(subject.clone(), &key.id, val));
                }
                Some(_) => {}
            }
        }
        while self.entries.len() > self.index_max
            && let Some((last, _)) = self.entries.pop_last()
        {
            self.reach = Some(last);
        }
    }

    /// Frames up to `acked` are in the store: only at the start of a batch, like the pins of rows.
    pub fn unpin(&mut self, acked: i64) {
        self.pinned.retain(|_, (n, _)| *n > acked);
    }

    /// The next look into the store, when one is due. It may be made only while the store has every committed frame of
    /// the shard: an item still on its way would be missed until the next owner.
    #[must_use]
    pub fn scan(&self, shard: i32, now: i64) -> Option<Scan> {
        let from = match &self.reach {
            Some(reach) if reach.due > now + RAISE_US => return None,
            Some(_) if self.entries.len() > self.index_max / 2 => return None,
            Some(reach) => reach.clone(),
            None => first_of(if self.floor == 0 { now } else { self.floor * SLICE_US }),
        };
        let to = (now + REACH_US).min(from.due.saturating_add(SCAN_US)).max(from.due + 1);
        Some(Scan { shard, from, to: first_of(to), limit: (self.index_max - self.entries.len()).min(SCAN_ITEMS) })
    }

    /// True when the next look cannot wait much longer: inputs wait for it then, instead of it for a quiet moment.
    #[must_use]
    pub fn is_urgent(&self, now: i64) -> bool {
        self.reach.as_ref().is_none_or(|reach| reach.due <= now + RAISE_US / 2)
    }

    /// Takes over what a look found.
    pub fn scanned(&mut self, Scanned { scan, items }: Scanned) {
        let full = items.len() >= scan.limit;
        self.reach = Some(match items.last() {
            Some((last, _)) if full => AgendaKey { due: last.due, id: format!("{}\0", last.id).into() },
            _ => scan.to,
        });
        self.entries.extend(items);
    }

    /// The lowest slice that may hold items after a frame at `ts` (µs) that adds none before its own time.
    #[must_use]
    pub fn floor(&self, ts: i64) -> i64 {
        let known = self.reach.as_ref().map_or(self.floor * SLICE_US, |reach| reach.due.min(ts));
        let first = self.entries.first_key_value().map_or(known, |(key, _)| key.due.min(known));
        first.div_euclid(SLICE_US).max(self.floor)
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing is due in the near future.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The first key of that time.
fn first_of(due: i64) -> AgendaKey {
    AgendaKey { due, id: "".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(due: i64) -> AgendaWrite {
        AgendaWrite { key: key(due), subject: "a".into(), val: Some(Bytes::from_static(b"item")) }
    }

    fn key(due: i64) -> AgendaKey {
        AgendaKey { due, id: format!("t/a/{due}").into() }
    }

    /// The answer of a store that holds items at these times.
    fn answer(scan: Scan, stored: impl IntoIterator<Item = i64>) -> Scanned {
        let items = stored.into_iter().map(key).filter(|key| scan.from <= *key && *key < scan.to);
        let entry = || Entry { subject: "a".into(), effect: None };
        let items = items.take(scan.limit).map(|key| (key, entry())).collect();
        Scanned { scan, items }
    }

    fn due(agenda: &Agenda, now: i64) -> Vec<i64> {
        agenda.due(now).map(|(key, _)| key.due).collect()
    }

    #[test]
    fn a_full_index_reaches_less_far_and_loses_nothing() {
        let stored = 1..=10;
        let now = 2 * SLICE_US;
        let mut agenda = Agenda::new(1, 4);
        let mut seen = Vec::new();
        for _ in 0..4 {
            if let Some(scan) = agenda.scan(0, now) {
                agenda.scanned(answer(scan, stored.clone().map(|due| due + SLICE_US)));
            }
            assert!(agenda.len() <= 4);
            for at in due(&agenda, now) {
                seen.push(at - SLICE_US);
                agenda.forget(&key(at));
            }
        }
        assert_eq!(seen, stored.collect::<Vec<_>>());
    }

    #[test]
    fn an_item_within_reach_is_indexed_when_it_is_committed_and_a_later_one_by_the_next_look() {
        let mut agenda = Agenda::new(0, 100);
        let scan = agenda.scan(0, 1_000).unwrap();
        assert_eq!(scan.from.due, 1_000, "nothing was ever written before");
        agenda.scanned(answer(scan, []));
        agenda.publish(1, &[put(5_000), put(REACH_US * 2)]);
        assert_eq!(due(&agenda, i64::MAX), [5_000]);
        let now = REACH_US + 2_000;
        agenda.scanned(answer(agenda.scan(0, now).unwrap(), [5_000, REACH_US * 2]));
        assert_eq!(due(&agenda, i64::MAX), [5_000, REACH_US * 2]);
        assert!(agenda.scan(0, now).is_none());
    }

    #[test]
    fn an_index_that_overflows_gives_up_its_far_end() {
        let mut agenda = Agenda::new(0, 2);
        agenda.scanned(answer(agenda.scan(0, 0).unwrap(), []));
        agenda.publish(1, &[put(10), put(30), put(20)]);
        assert_eq!(due(&agenda, i64::MAX), [10, 20]);
        agenda.forget(&key(10));
        agenda.publish(2, &[put(40)]);
        assert_eq!(due(&agenda, i64::MAX), [20], "what lies behind the gap is not indexed before the gap is");
        agenda.scanned(answer(agenda.scan(0, 0).unwrap(), [20, 30, 40]));
        assert_eq!(due(&agenda, i64::MAX), [20, 30], "its bound holds");
    }

    #[test]
    fn the_floor_stays_below_what_may_still_be_there() {
        let mut agenda = Agenda::new(3, 100);
        assert_eq!(agenda.floor(90 * SLICE_US), 3, "before the first look everything may be there");
        agenda.scanned(answer(agenda.scan(0, 90 * SLICE_US).unwrap(), [7 * SLICE_US]));
        assert_eq!(agenda.floor(90 * SLICE_US), 7);
        agenda.forget(&key(7 * SLICE_US));
        assert_eq!(agenda.floor(90 * SLICE_US), 90);
    }
}
