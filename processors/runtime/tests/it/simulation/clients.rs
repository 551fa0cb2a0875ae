//! Everybody who writes what the shards read: clients, and the owner of the followed stream.

use std::collections::BTreeMap;

use runtime::engine::input::{Feed, Inlet};

use super::kafka::{Kafka, TransactionId};
use super::random::Random;
use super::workload::{Foreign, Planned, SHARDS, Sent, foreign};

/// The input partition of a followed stream.
pub(super) const fn followed(shard: i32) -> Inlet {
    Inlet { feed: Feed(1), shard }
}

/// The input partition of the stream's own events.
pub(super) const fn own(shard: i32) -> Inlet {
    Inlet { feed: Feed::EVENTS, shard }
}

/// What is written, and what is not yet.
pub(super) struct Clients {
    planned: Vec<Vec<Planned>>,
    foreign: Vec<Vec<Foreign>>,
    /// Of the followed stream's owner, per shard.
    open: Vec<Option<TransactionId>>,
    /// Events that have their place, by shard and offset.
    placed: BTreeMap<(i32, i64), Sent>,
}

impl Clients {
    pub(super) fn new(mut planned: Vec<Vec<Planned>>, random: &mut Random) -> Self {
        let mut foreign = foreign(random);
        // the next one is the last
        planned.iter_mut().for_each(|events| events.reverse());
        foreign.iter_mut().for_each(|transactions| transactions.reverse());
        Self { planned, foreign, open: vec![None; SHARDS as usize], placed: BTreeMap::new() }
    }

    /// What is to be written by `now_us` is written; `tell` hears of each event.
    pub(super) fn step(&mut self, kafka: &mut Kafka, random: &mut Random, now_us: i64, tell: impl Fn(i32, &Sent)) {
        for (shard, planned) in (0..).zip(&mut self.planned) {
            while let Some(event) = planned.pop_if(|event| event.at_us <= now_us) {
                let partition = kafka.input(own(shard));
                let (offset, appended_ms) = partition.append_plain(event.foreign, event.at_us / 1_000, event.record.clone());
                let sent = event.at(offset, appended_ms);
                tell(shard, &sent);
                self.placed.insert((shard, offset), sent);
            }
        }
        for (shard, (transactions, open)) in (0..).zip(self.foreign.iter_mut().zip(&mut self.open)) {
            let inlet = followed(shard);
            match open.take() {
                Some(transaction) if random.chance(0.03) => {
                    let commit = random.chance(0.7);
                    kafka.end_foreign(inlet, transaction, commit);
                    if commit {
                        transactions.pop();
                    }
                }
                Some(transaction) => *open = Some(transaction),
                None => {
                    let due = transactions.last().filter(|transaction| transaction.at_us <= now_us);
                    *open = due.map(|due| kafka.begin_foreign(inlet, &due.records));
                }
            }
        }
    }

    /// Everything is written.
    pub(super) fn is_done(&self) -> bool {
        self.planned.iter().all(Vec::is_empty) && self.foreign.iter().all(Vec::is_empty)
    }

    /// The events of `shard` as they lie in its partition, those that the processor has sent included.
    pub(super) fn arrivals(&self, kafka: &mut Kafka, shard: i32) -> Vec<Sent> {
        let records = kafka.input(own(shard)).committed(0);
        records
            .filter_map(|(offset, record)| self.placed.get(&(shard, offset)).cloned().or_else(|| Sent::of(offset, record)))
            .collect()
    }

    /// An event that somebody has a receipt of.
    pub(super) fn receipt(&self, random: &mut Random) -> Option<((i32, i64), &Sent)> {
        let at = random.below(self.placed.len());
        self.placed.iter().nth(at).map(|(place, sent)| (*place, sent))
    }
}
