//! C4 of the dedupe window: minute by minute, the store has the keys that the log accepted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use schemas::key::EventKey;
use state::{Mark, Shard, StateStore};

use super::Error;
use super::book::Book;
use super::report::{Check, Counts, Finding, Findings};
use crate::engine::dedupe::MINUTE_MS;

/// The stored window of one shard, beside its log.
pub(crate) struct WindowAudit<'a> {
    pub(crate) store: &'a Arc<dyn StateStore>,
    pub(crate) shard: &'a Shard,
    pub(crate) book: &'a Book,
    /// Dedupe window, ms.
    pub(crate) window_ms: i64,
    /// The deployment may write meanwhile.
    pub(crate) live: bool,
    pub(crate) log: &'a str,
}

impl WindowAudit<'_> {
    /// Compares the minutes that the window reaches at the horizon of the last frame. The mark must cover that frame.
    pub(crate) async fn run(&self, findings: &mut Findings, counts: &mut Counts) -> Result<(), Error> {
        for (minute, accepted) in self.accepted() {
            let (mut stored, mut newer) = (HashSet::new(), HashSet::new());
            for row in self.store.dedupe(self.shard, minute).await? {
                let keys = row.keys.as_chunks::<16>().0.iter().map(|key| EventKey(*key));
                let keys = keys.filter(|key| self.book.stripe.takes_key(key));
                if row.ts > self.book.tip.ts { newer.extend(keys) } else { stored.extend(keys) }
            }
            counts.window += accepted.len() as u64;
            let missing = accepted.difference(&stored).filter(|key| !newer.contains(*key)).count();
            let ended = self.live && self.store.mark(self.shard).await?.is_some_and(|mark| self.has_ended(minute, &mark));
            if missing > 0 && !ended {
                let what = format!(
                    "of minute {minute} of the dedupe window the store lacks {missing} keys: their duplicates would take effect"
                );
                self.find(findings, what);
            }
            let foreign = stored.difference(&accepted).count() + if self.live { 0 } else { newer.difference(&accepted).count() };
            if foreign > 0 {
                let what = format!(
                    "minute {minute} of the stored dedupe window has {foreign} keys that the log never accepted: their events would be dropped"
                );
                self.find(findings, what);
            }
        }
        Ok(())
    }

    /// Keys by minute, for all minutes of the window of which the log still tells everything.
    fn accepted(&self) -> BTreeMap<i64, HashSet<EventKey>> {
        let first = self.first_minute(self.book.tip.horizon);
        let told_from = match &self.book.first {
            Some(frame) if !self.book.complete => frame.horizon.div_euclid(MINUTE_MS) + 1,
            _ => i64::MIN,
        };
        if self.book.tip.horizon == 0 {
            return BTreeMap::new(); // no event was taken up yet
        }
        let last = self.book.tip.horizon.div_euclid(MINUTE_MS);
        let mut minutes: BTreeMap<_, HashSet<_>> = (first.max(told_from)..=last).map(|minute| (minute, HashSet::new())).collect();
        let again = self.book.again.iter().flat_map(|(key, list)| list.iter().map(move |accepted| (key, accepted)));
        for (key, accepted) in self.book.accepted.iter().chain(again) {
            if let Some(keys) = minutes.get_mut(&accepted.minute) {
                keys.insert(*key);
            }
        }
        minutes
    }

    fn first_minute(&self, horizon: i64) -> i64 {
        (horizon - self.window_ms).div_euclid(MINUTE_MS)
    }

    /// The window has moved on since the log was read, and the minute may be gone for that.
    fn has_ended(&self, minute: i64, mark: &Mark) -> bool {
        minute < self.first_minute(mark.horizon)
    }

    fn find(&self, findings: &mut Findings, what: String) {
        let tip = &self.book.tip;
        findings.add(Finding::new(Check::C4, self.shard.number, what).at(self.log, tip.applied - 1).frame(tip.ts));
    }
}
