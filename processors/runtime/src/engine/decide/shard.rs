//! What a batch does to the rows and timers of the shard itself.

use std::sync::Arc;

use super::{ShardWork, Stop};
use crate::dead_letter::Reason;
use crate::engine::cache::Image;
use crate::engine::shard_rows::size;
use crate::logic::{RawChange, RawDecision, RawRow, RawTimers};
use crate::processor::RangeRead;

/// Changed rows of one subject, in order.
pub(super) type Slots = Vec<(Arc<str>, Image)>;

/// Changes of one decision: those of the input's subject, and those of its shard.
pub(super) struct Split<'a> {
    pub(super) own: Slots,
    pub(super) shard: Slots,
    /// Timers of the shard, and its place in the batch.
    pub(super) timers: Option<(usize, &'a RawTimers)>,
}

impl ShardWork<'_, '_> {
    /// True when the subject is the shard's own.
    pub(super) fn is_home(&self, at: usize) -> bool {
        self.shard.rows.as_ref().is_some_and(|rows| *rows.subject() == self.works[at].subject)
    }

    /// The shard's own subject in this batch.
    pub(super) fn home(&mut self) -> Result<usize, Stop> {
        let subject = self.shard.rows.as_ref().map(|rows| rows.subject().clone());
        let missing = || {
            let what = format!("{} asks for rows of its shard: set shard_rows = true in its catalog file", self.settings.stream);
            Stop::Dead(Reason::Terminal, what)
        };
        let subject = subject.ok_or_else(missing)?;
        self.work(&subject)
    }

    /// Rows of the shard, as they stand after everything before.
    pub(super) fn shard_rows(&self, rows: &[String], ranges: &[RangeRead]) -> Result<Vec<RawRow>, Stop> {
        let Some(base) = &self.shard.rows else { return Ok(Vec::new()) };
        let mut raw = Vec::with_capacity(rows.len());
        for range in ranges {
            for (sort, image) in self.shard_changes.range(base, range, self.ts) {
                raw.extend(self.raw(sort, &image)?);
            }
        }
        for sort in rows {
            if let Some(image) = self.shard_changes.get(base, sort) {
                raw.extend(self.raw(sort.as_str().into(), image)?);
            }
        }
        Ok(raw)
    }

    /// Sorts the changes of a decision, and checks them against every bound; nothing changes.
    pub(super) fn split<'a>(&mut self, at: usize, decision: &'a RawDecision) -> Result<Split<'a>, Stop> {
        let mut own = self.slots(&decision.rows)?;
        let mut shard = self.slots(&decision.shard_rows)?;
        let touches = !(shard.is_empty() && decision.shard_timers.is_empty());
        let home = (touches || self.is_home(at)).then(|| self.home()).transpose()?;
        if home == Some(at) {
            own.append(&mut shard);
            std::mem::swap(&mut own, &mut shard);
            if !decision.results.is_empty() {
                return Err(Stop::Dead(Reason::Terminal, "a decision about the shard itself tells no results".to_owned()));
            }
        }
        if let Some(home) = home {
            self.check_timers(home, &decision.shard_timers)?;
        }
        if let Some(base) = &self.shard.rows {
            let check = self.shard_changes.check(base, &shard, self.ts);
            check.map_err(|problem| Stop::Dead(Reason::TooLarge, problem))?;
        }
        self.share(&shard, self.shard_changes.bytes(), |sort| self.shard_changes.changed(sort))?;
        self.share(&own, self.works[at].bytes, |sort| self.works[at].changed(sort))?;
        Ok(Split { own, shard, timers: home.map(|home| (home, &decision.shard_timers)) })
    }

    /// A subject's part of a frame is bounded, so that its record fits the log: what comes before is committed first.
    pub(super) fn share<'a>(
        &self,
        slots: &[(Arc<str>, Image)],
        before: usize,
        changed: impl Fn(&str) -> Option<&'a Image>,
    ) -> Result<(), Stop> {
        let bytes: usize = slots.iter().map(|(sort, image)| size(sort, image)).sum();
        let max = self.settings.limits.row_bytes;
        if before + bytes <= max {
            return Ok(());
        }
        let kept = |(sort, _): &(Arc<str>, Image)| changed(sort).map_or(0, |image| size(sort, image));
        let rest = before.saturating_sub(slots.iter().map(kept).sum());
        match (rest, bytes) {
            (_, 0) => Ok(()),
            _ if rest + bytes <= max => Ok(()),
            (0, _) => Err(Stop::Dead(Reason::TooLarge, format!("the rows of one decision are {bytes} bytes; {max} are allowed"))),
            _ => Err(Stop::Short),
        }
    }

    fn slots(&self, changes: &[RawChange]) -> Result<Slots, Stop> {
        let slot = |change: &RawChange| {
            if change.sort.starts_with('~') {
                let what = format!("sort {:?}: names starting with ~ are the engine's", change.sort);
                return Err(Stop::Dead(Reason::Terminal, what));
            }
            let val = change.row.as_ref().map(|(record, datum)| self.framed(record, datum)).transpose()?;
            Ok((change.sort.clone(), Image { val, expire_at: change.expire_at }))
        };
        changes.iter().map(slot).collect()
    }

    /// Takes over what [`ShardWork::split`] has checked.
    pub(super) fn put(&mut self, at: usize, split: Split<'_>) {
        for (sort, image) in split.own {
            self.works[at].put(sort, image);
        }
        let Some((home, timers)) = split.timers else { return };
        self.works[home].changed |= !split.shard.is_empty();
        for (sort, image) in split.shard {
            self.shard_changes.put(&sort, image);
        }
        self.set_timers(home, timers);
    }

    /// The rows of the shard go where those of every subject are.
    pub(super) fn put_shard_rows(&mut self) {
        let home = self.shard.rows.as_ref().and_then(|rows| self.subjects.get(rows.subject()).copied());
        let Some(home) = home else { return };
        for (sort, image) in std::mem::take(&mut self.shard_changes).into_rows() {
            self.works[home].push(sort, image);
        }
    }
}
