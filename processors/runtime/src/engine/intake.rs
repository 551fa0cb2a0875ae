//! From pending inputs to a decided batch: open them, read what they need, decide.

use state::RowKey;

use super::assignment::Assignment;
use super::batch::{self, Batch};
use super::cache::Image;
use super::decide::{self, Undecided};
use super::rules::Rule;
use super::step::{Action, Found};
use super::{Core, Phase};

impl Core {
    /// Prepares the next batch from what is pending; halves it after every abort.
    pub(super) fn next_batch(&mut self, now_us: i64) -> Action {
        self.batch_of(usize::MAX, now_us)
    }

    fn batch_of(&mut self, inputs_max: usize, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        if self.pending.is_empty() {
            return self.poll();
        }
        let take = (self.pending.len() >> self.redo).clamp(1, inputs_max.max(1));
        if self.settings.rules.keep(Rule::PinsAtBatchStart) {
            assignment.unpin();
        }
        let inputs = self.pending.iter().take(take).cloned();
        let inputs = inputs.map(|input| batch::prepare(input, &self.settings, &*self.logic)).collect();
        let action = self.read(Batch::of(inputs), now_us);
        if !self.settings.rules.keep(Rule::PinsAtBatchStart)
            && let Some(assignment) = &mut self.assignment
        {
            assignment.unpin();
        }
        action
    }

    /// Asks for what is not in memory, page by page; decides when nothing is missing.
    fn read(&mut self, mut batch: Batch, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        let needs = batch.needs(assignment, now_us);
        if needs.is_empty() {
            return self.decide(batch, now_us);
        }
        self.phase = Phase::Fetching { batch };
        Action::Fetch(needs)
    }

    /// What the store had. Rows of schemas that are not known yet wait for the registry.
    pub(super) fn fetched(&mut self, mut batch: Batch, found: Found, now_us: i64) -> Action {
        let unknown = self.versions.unknown(&found, &self.settings);
        if !unknown.is_empty() {
            self.phase = Phase::Learning { batch, found };
            return Action::Learn(unknown);
        }
        match self.fill(&mut batch, found) {
            Ok(()) => self.read(batch, now_us),
            Err(why) => self.restart(why),
        }
    }

    fn fill(&mut self, batch: &mut Batch, found: Found) -> Result<(), String> {
        let Some(assignment) = &mut self.assignment else { return Ok(()) };
        let Assignment { shards, .. } = assignment;
        let read = |key: &RowKey, cell| self.versions.image(key, cell, &self.settings);
        for (shard, key, cell) in found.rows {
            let Some(shard) = shards.get_mut(&shard) else { continue };
            let image = cell.map_or(Ok(Image::ABSENT), |cell| read(&key, cell))?;
            shard.cache.fill(&key.subject, &key.sort, image);
        }
        for (shard, range, rows) in found.ranges {
            let rows = rows.into_iter().map(|(key, cell)| Ok((key.sort.clone(), read(&key, cell)?)));
            batch.ranges.answer(shard, range, &rows.collect::<Result<Vec<_>, String>>()?);
        }
        Ok(())
    }

    fn decide(&mut self, batch: Batch, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        match decide::decide(batch, assignment, &self.settings, &self.writer, now_us) {
            Ok((transaction, tally)) => self.begin(transaction, tally),
            // what comes before it is committed first; then its range is read again, with their changes in memory
            Err(Undecided::Short(at)) if at > 0 => self.batch_of(at, now_us),
            Err(Undecided::Short(_)) => self.redo(now_us),
            Err(Undecided::Torn(why)) => self.restart(format!("what the shard holds cannot be: {why}")),
        }
    }
}
