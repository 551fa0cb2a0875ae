//! Which committed frames the store has, and what the watermark may claim.

use std::collections::{BTreeMap, VecDeque};

use state::{Mark, Shard};

use super::Committed;
use super::rules::{Rule, Rules};

/// Frames on their way to the store, per shard in order. Writes end in any order; acknowledgements and the watermark
/// follow the contiguous prefix only (I4).
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    waiting: BTreeMap<Shard, VecDeque<Waiting>>,
    marks: BTreeMap<Shard, Mark>,
}

#[derive(Debug)]
struct Waiting {
    assignment: u64,
    n: i64,
    done: bool,
    mark: Mark,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, waiting: BTreeMap::new(), marks: BTreeMap::new() }
    }

    /// The write of this frame begins.
    pub fn begin(&mut self, committed: &Committed) {
        let Committed { assignment, frame, mark } = committed;
        if !self.rules.keep(Rule::MarkAfterAcks) {
            self.marks.insert(frame.shard.clone(), mark.clone());
        }
        let waiting = Waiting { assignment: *assignment, n: frame.n, done: false, mark: mark.clone() };
        self.waiting.entry(frame.shard.clone()).or_default().push_back(waiting);
    }

    /// The store acknowledged frame `n`. Returns what is acknowledged without a hole now: assignment, shard, frame.
    pub fn settle(&mut self, shard: &Shard, n: i64) -> Vec<(u64, i32, i64)> {
        let mut acks = Vec::new();
        let Some(queue) = self.waiting.get_mut(shard) else { return acks };
        if let Some(entry) = queue.iter_mut().find(|entry| entry.n == n && !entry.done) {
            entry.done = true;
        }
        while queue.front().is_some_and(|entry| entry.done) {
            let Some(entry) = queue.pop_front() else { break };
            acks.push((entry.assignment, shard.number, entry.n));
            self.marks.insert(shard.clone(), entry.mark);
        }
        acks
    }

    /// True when a watermark can move.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// The watermarks to set: one per shard that moved since the last call.
    pub fn take_marks(&mut self) -> Vec<(Shard, Mark)> {
        std::mem::take(&mut self.marks).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use state::Frame;

    use super::*;
    use crate::engine::assignment::Assignment;
    use crate::engine::recover::Tip;

    fn committed(n: i64) -> Committed {
        let shard = Assignment::name(&"sums".into(), 0);
        let frame = Frame {
            shard,
            n,
            ts: n,
            rows: Vec::new(),
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: Vec::new(),
        };
        Committed { assignment: 1, frame, mark: Mark::from(&Tip { n, ts: n, ..Tip::default() }) }
    }

    #[test]
    fn the_watermark_never_passes_a_frame_that_is_not_in_the_store() {
        let shard = Assignment::name(&"sums".into(), 0);
        let mut ledger = Ledger::new(Rules::all());
        for n in 1..=3 {
            ledger.begin(&committed(n));
        }
        assert_eq!(ledger.settle(&shard, 2), []);
        assert_eq!(ledger.settle(&shard, 3), []);
        assert!(!ledger.has_marks());
        assert_eq!(ledger.settle(&shard, 1), [(1, 0, 1), (1, 0, 2), (1, 0, 3)]);
        let marks: Vec<_> = ledger.take_marks().into_iter().map(|(_, mark)| mark.n).collect();
        assert_eq!(marks, [3], "one mark says it all");
    }
}
