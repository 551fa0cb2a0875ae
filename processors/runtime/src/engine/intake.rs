//! From pending records and due items to a decided batch: open them, read what they need, decide.

use std::collections::HashMap;

use state::RowKey;

use super::assignment::Assignment;
use super::batch::{self, Batch};
use super::cache::Image;
use super::decide::{self, Undecided};
use super::due::{Due, Look, Missing};
use super::recover::Halt;
use super::rules::Rule;
use super::single::{self, Alone, Suspect};
use super::step::{Action, Ended, Found, Needs, Scanned};
use super::{Core, Phase};

impl Core {
    /// Begins no further attempts at effects and nothing that is due: the shards are about to go.
    pub fn start_no_more(&mut self) {
        if let Some(assignment) = &mut self.assignment {
            assignment.running.close();
        }
    }

    /// True when no attempt is under way whose outcome is not committed, and the store has every committed frame.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.assignment.as_ref().is_none_or(|assignment| {
            let stored = assignment.shards.values().all(|shard| shard.backlog().0 == 0);
            stored && assignment.running.is_empty() && assignment.ended.is_empty()
        })
    }

    /// Prepares the next batch from what is pending; halves it after every abort.
    pub(super) fn next_batch(&mut self, now_us: i64) -> Action {
        self.batch_of(usize::MAX, now_us)
    }

    fn batch_of(&mut self, inputs_max: usize, now_us: i64) -> Action {
        if let Some(action) = self.raise(now_us) {
            return action;
        }
        let limits = &self.settings.limits;
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        // while records wait, due items get a quarter of the batch
        let quota = if self.pending.is_empty() { limits.batch_inputs } else { (limits.batch_inputs / 4).max(1) };
        let outcomes = assignment
            .ended
            .iter()
            .take(quota)
            .cloned()
            .map(|Ended { shard, key, subject, outcome, .. }| Due::Entry { shard, key, subject, ended: Some(outcome) });
        let mut due: Vec<_> = outcomes.collect();
        let ended = due.len();
        if !assignment.running.is_closed() {
            let mut places = assignment.running.free(&self.effects, &self.breakers, limits.effects, now_us);
            due.extend(assignment.due(now_us, quota, &mut places));
        }
        if assignment.is_backed_up(&self.settings) || (self.pending.is_empty() && due.is_empty()) {
            return self.poll();
        }
        let mut take = ((self.pending.len() + due.len()) >> self.redo).clamp(1, inputs_max.max(1));
        take = slow_start(assignment, &due, self.pending.iter().map(|record| record.shard), take);
        due.truncate(take);
        assignment.unpin(&self.settings);
        let mut alone = None;
        match single::suspect(assignment, &due, self.pending.iter().take(take - due.len()), &self.settings) {
            None => {}
            Some(Suspect::Unannounced(shard, input)) => return self.announce(shard, input, now_us),
            Some(Suspect::Behind(others)) => take = others,
            Some(Suspect::First(how)) => (take, alone) = (1, Some(how)),
        }
        due.truncate(take);
        let records = self.pending.iter().take(take - due.len()).cloned();
        let records = records.map(|input| match alone {
            Some(Alone::Condemned(tries)) => batch::condemned(input, tries, &self.settings),
            _ => batch::prepare(input, &self.settings, &*self.logic),
        });
        let records = records.collect();
        // one entry of a held subject becomes many inputs
        let inputs_max = if self.redo == 0 { inputs_max } else { take };
        self.read(Batch { alone, ..Batch::of(due, ended, records, inputs_max) }, now_us)
    }

    /// Looks further into the agenda before it runs out, shard by shard, once the store has all of the shard's frames.
    fn raise(&mut self, now_us: i64) -> Option<Action> {
        let assignment = self.assignment.as_ref()?;
        let due = assignment.shards.iter().filter_map(|(number, shard)| Some((shard, shard.agenda.scan(*number, now_us)?)));
        let (ready, waiting): (Vec<_>, Vec<_>) =
            due.partition(|(shard, _)| shard.backlog().0 == 0 || !self.settings.rules.keep(Rule::DrainedReach));
        if ready.is_empty() {
            return waiting.iter().any(|(shard, _)| shard.agenda.is_urgent(now_us)).then(|| {
                self.phase = Phase::Polling;
                Action::Poll { take: false, inputs_max: 0 }
            });
        }
        let scans = ready.into_iter().map(|(_, scan)| scan).collect();
        self.phase = Phase::Scanning;
        Some(Action::Scan(scans))
    }

    pub(super) fn scanned(&mut self, scanned: Vec<Scanned>, now_us: i64) -> Action {
        if let Some(assignment) = &mut self.assignment {
            for answer in scanned {
                if let Some(shard) = assignment.shards.get_mut(&answer.scan.shard) {
                    shard.agenda.scanned(answer);
                }
            }
        }
        self.next_batch(now_us)
    }

    /// Asks for what is not in memory, step by step; decides when nothing is missing.
    fn read(&mut self, mut batch: Batch, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        let mut missing = Missing::default();
        let Batch { due, items, alone, .. } = &mut batch;
        let (versions, settings, logic) = (&self.versions, &*self.settings, &*self.logic);
        let effects = &self.effects;
        let mut look = Look { assignment, versions, settings, logic, effects, items, alone: *alone };
        for due in due {
            let number = match due {
                Due::Entry { shard, .. } => *shard,
                Due::Inputs(_) => continue,
            };
            if let Err(why) = look.at(due, &mut missing) {
                return self.torn(number, &why);
            }
        }
        let Missing { mut needs, mut schemas } = missing;
        if !schemas.is_empty() {
            schemas.sort_unstable();
            schemas.dedup();
            self.phase = Phase::Learning { batch, found: Found::default() };
            return Action::Learn(schemas);
        }
        let Needs { mut rows, ranges, .. } = batch.needs(assignment, now_us);
        needs.rows.append(&mut rows);
        needs.rows.sort();
        needs.rows.dedup();
        let wanted = self.wanted.iter().filter(|wanted| !batch.items.contains_key(wanted));
        needs.items.extend(wanted.filter(|(shard, _)| assignment.shards.contains_key(shard)).cloned());
        needs.ranges = ranges;
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
            Err((shard, why)) => self.torn(shard, &why),
        }
    }

    fn fill(&mut self, batch: &mut Batch, found: Found) -> Result<(), (i32, String)> {
        let Some(assignment) = &mut self.assignment else { return Ok(()) };
        let Assignment { shards, .. } = assignment;
        let read = |key: &RowKey, cell| self.versions.image(key, cell, &self.settings);
        for (number, key, cell) in found.rows {
            let Some(shard) = shards.get_mut(&number) else { continue };
            let image = cell.map_or(Ok(Image::ABSENT), |cell| read(&key, cell)).map_err(|why| (number, why))?;
            shard.cache.fill(&key.subject, &key.sort, image);
        }
        for (shard, range, rows) in found.ranges {
            let rows = rows.into_iter().map(|(key, cell)| Ok((key.sort.clone(), read(&key, cell)?)));
            let rows: Vec<_> = rows.collect::<Result<_, String>>().map_err(|why| (shard, why))?;
            let of_shard = shards.get_mut(&shard).and_then(|shard| shard.rows.as_mut());
            match of_shard.filter(|of_shard| *of_shard.subject() == range.subject) {
                Some(of_shard) => of_shard.answer(&range, rows),
                None => batch.ranges.answer(shard, range, &rows),
            }
        }
        batch.items.extend(found.items.into_iter().map(|(shard, key, item)| ((shard, key), item.map(|item| item.val))));
        Ok(())
    }

    fn decide(&mut self, batch: Batch, now_us: i64) -> Action {
        let Some(assignment) = &mut self.assignment else { return self.poll() };
        let inputs_max = batch.inputs_max;
        match decide::decide(batch, assignment, &self.settings, (&self.effects, &self.breakers), &self.writer, now_us) {
            // every due entry was only a hint
            Ok((transaction, _)) if transaction.changes.is_empty() => {
                assignment.ended.drain(..transaction.ended);
                self.poll()
            }
            Ok((transaction, tally)) => {
                self.wanted.clear();
                self.begin(transaction, tally)
            }
            // kept until the batch is decided: the next try may need others beside them
            Err(Undecided::Items(items)) => {
                self.wanted.extend(items);
                self.batch_of(inputs_max, now_us)
            }
            // what comes before it is committed first; then its range is read again, with their changes in memory
            Err(Undecided::Short(at)) if at > 0 => self.batch_of(at, now_us),
            Err(Undecided::Short(_)) => self.redo(false, now_us),
            Err(Undecided::Torn(shard, why)) => self.torn(shard, &why),
        }
    }

    /// The store shows what cannot be: perhaps the shard has another owner, and a new start finds out. When it shows that
    /// again, an operator must look; the other shards go on.
    fn torn(&mut self, shard: i32, why: &str) -> Action {
        if self.torn.contains(&shard) {
            self.phase = Phase::Polling;
            return Action::Halt(shard, Halt::Torn { what: why.to_owned() });
        }
        self.assignment = None;
        self.pending.clear();
        let why = format!("what the store holds of shard {shard} cannot be: {why}");
        Action::Restart { why, fenced: false, torn: Some(shard) }
    }
}

/// How many of the next inputs a batch takes, when an owner that has just come begins with few of each shard: should one of
/// them end the process, not many are under suspicion.
fn slow_start(assignment: &Assignment, due: &[Due], records: impl Iterator<Item = i32>, take: usize) -> usize {
    if assignment.shards.values().all(|shard| shard.inputs_max >= take) {
        return take;
    }
    let due = due.iter().filter_map(|due| match due {
        Due::Entry { shard, .. } => Some(*shard),
        Due::Inputs(_) => None,
    });
    let mut taken: HashMap<i32, usize> = HashMap::new();
    let over = due.chain(records).take(take).position(|number| {
        let of_shard = taken.entry(number).or_default();
        *of_shard += 1;
        assignment.shards.get(&number).is_some_and(|shard| *of_shard > shard.inputs_max)
    });
    over.map_or(take, |over| over.max(1))
}
