//! Claims: who owns a shard from here on, and which input is tried alone.

use std::collections::VecDeque;

use super::Core;
use super::assignment::{Assignment, ShardState};
use super::decide::{self, Tally};
use super::log::{Claim, KIND_CLAIM, Trying};
use super::places::Running;
use super::recover::Halt;
use super::single::Single;
use super::step::Action;
use super::transaction::{OutRecord, Transaction};

impl Core {
    /// Shards are read back.
    pub(super) fn recovered(
        &mut self,
        generation: i32,
        shards: Vec<ShardState>,
        halted: Vec<(i32, Halt)>,
        now_us: i64,
    ) -> Action {
        let mut shards = shards;
        let share = self.settings.limits.cache_bytes / shards.len().max(1);
        for shard in &mut shards {
            shard.cache.limit(share);
            shard.single = Single::after(&std::mem::take(&mut shard.claims), &self.writer, &self.settings.limits, now_us);
            if shard.single.is_some() {
                tracing::error!(shard = %shard.shard, "owners before this one ended without a commit: inputs are tried one at a time");
            }
        }
        let shards = shards.into_iter().map(|shard| (shard.shard.number, shard)).collect();
        self.assignment = Some(Assignment {
            number: self.assignments,
            generation,
            shards,
            halted: halted.into_iter().collect(),
            running: Running::default(),
            ended: VecDeque::new(),
        });
        self.prove(now_us)
    }

    /// Proves ownership early: one transaction with a CLAIM and the positions of every shard.
    pub(super) fn prove(&mut self, now_us: i64) -> Action {
        let Some(mut assignment) = self.assignment.take() else { return self.poll() };
        let mut transaction = Transaction { claim: true, ..Transaction::default() };
        for shard in assignment.shards.values() {
            self.claim(shard, assignment.generation, None, now_us, &mut transaction);
        }
        for shard in assignment.shards.values_mut().filter(|shard| shard.has_begun()) {
            decide::anchor(shard, &self.settings, &self.writer, now_us, &mut transaction);
        }
        self.assignment = Some(assignment);
        if transaction.records.is_empty() {
            return self.resume();
        }
        self.begin(transaction, Tally::default())
    }

    /// Adds a claim of a shard, and its positions.
    fn claim(&self, shard: &ShardState, generation: i32, trying: Option<&Trying>, now_us: i64, transaction: &mut Transaction) {
        let claim = Claim {
            writer: self.writer,
            slot: &self.slot,
            host: &self.host,
            generation,
            after_n: shard.tip.n,
            ts: now_us,
            positions: &shard.tip.positions,
            trying,
        };
        let claim = claim.encode(self.settings.engine.claim);
        transaction.records.push(OutRecord::marker(shard.shard.number, KIND_CLAIM, claim));
        transaction.positions.extend(shard.positions(&self.settings));
    }

    /// Announces an input in a transaction of its own, before it is looked at.
    pub(super) fn announce(&mut self, number: i32, trying: Trying, now_us: i64) -> Action {
        let Some(assignment) = &self.assignment else { return self.poll() };
        let Some(shard) = assignment.shards.get(&number) else { return self.poll() };
        tracing::warn!(shard = %shard.shard, ?trying, "an input is tried alone");
        let mut transaction = Transaction::default();
        self.claim(shard, assignment.generation, Some(&trying), now_us, &mut transaction);
        transaction.trying = Some((number, trying));
        self.begin(transaction, Tally::default())
    }

    /// The broker's time of each claim.
    pub(super) fn claimed(&mut self, claims: &[(i32, i64, i64)]) {
        let Some(assignment) = &mut self.assignment else { return };
        for (number, _, appended_ms) in claims {
            if let Some(single) = assignment.shards.get_mut(number).and_then(|shard| shard.single.as_mut()) {
                single.claimed(*appended_ms);
            }
        }
    }
}
