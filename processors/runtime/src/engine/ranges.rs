//! Ranges of rows: what the store has, under what the log has already and the store perhaps not.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use state::RowRange;

use super::cache::Image;
use crate::processor::{RANGE_MAX, RangeRead};

/// Names a range inside a batch: shard, subject, range.
pub type Place = (i32, Arc<str>, RangeRead);

/// Ranges that were read for one batch, and for no longer: what they hold is covered by pins until the next one.
#[derive(Debug, Default)]
pub struct Ranges {
    read: HashMap<Place, Answer>,
    /// Whose questions are open.
    asked: HashMap<(i32, RowRange), Vec<Place>>,
}

/// Rows of the store, as far as they were read.
#[derive(Debug)]
struct Answer {
    rows: BTreeMap<Arc<str>, Image>,
    /// The last sort that was read; `None` = to the end.
    until: Option<Arc<str>>,
}

impl Ranges {
    /// What must still be read before `place` can be told at `now` (µs); `memory` are the subject's rows in memory.
    pub fn question<'a>(
        &mut self,
        place: &Place,
        memory: impl Iterator<Item = (&'a Arc<str>, &'a Image)>,
        now: i64,
    ) -> Option<RowRange> {
        let (shard, subject, read) = place;
        let memory: Vec<_> = memory.filter(|(sort, _)| covers(read, sort)).collect();
        let gone = memory.iter().filter(|(_, image)| image.at(now).is_none()).count();
        let start = match self.read.get(place) {
            None => read.after.as_deref().map(behind),
            Some(_) if self.rows(place, memory.into_iter(), now).is_some() => return None,
            Some(answer) => Some(behind(answer.until.as_deref()?)),
        };
        let limit = (read.limit + gone).min(RANGE_MAX);
        let question = RowRange { subject: subject.clone(), prefix: read.prefix.as_str().into(), start, limit };
        self.asked.entry((*shard, question.clone())).or_default().push(place.clone());
        Some(question)
    }

    /// Takes the store's answer to a question.
    pub fn answer(&mut self, shard: i32, question: RowRange, rows: &[(Arc<str>, Image)]) {
        let until = (rows.len() >= question.limit).then(|| rows.last().map(|(sort, _)| sort.clone())).flatten();
        for place in self.asked.remove(&(shard, question)).unwrap_or_default() {
            let answer = self.read.entry(place).or_insert_with(|| Answer { rows: BTreeMap::new(), until: None });
            answer.until.clone_from(&until);
            answer.rows.extend(rows.iter().cloned());
        }
    }

    /// The range at `now` (µs) with `memory` on top, later entries over earlier ones; `None` when more must be read.
    pub fn rows<'a>(
        &'a self,
        place: &Place,
        memory: impl Iterator<Item = (&'a Arc<str>, &'a Image)>,
        now: i64,
    ) -> Option<Vec<(Arc<str>, Image)>> {
        let (_, _, read) = place;
        let answer = self.read.get(place)?;
        let mut rows: BTreeMap<&Arc<str>, &Image> = answer.rows.iter().collect();
        rows.extend(memory);
        let known = |sort: &str| answer.until.as_deref().is_none_or(|until| sort <= until);
        let live = rows.into_iter().filter(|(sort, image)| covers(read, sort) && known(sort) && image.at(now).is_some());
        let live: Vec<_> = live.take(read.limit).map(|(sort, image)| (sort.clone(), image.clone())).collect();
        (live.len() == read.limit || answer.until.is_none()).then_some(live)
    }
}

/// True for sorts inside the range. The engine's own rows are in none.
pub(super) fn covers(read: &RangeRead, sort: &str) -> bool {
    sort.starts_with(&read.prefix) && !sort.starts_with('~') && read.after.as_deref().is_none_or(|after| sort > after)
}

/// The first text behind `sort`.
pub(super) fn behind(sort: &str) -> Arc<str> {
    format!("{sort}\0").into()
}

#[cfg(test)]
mod tests;
