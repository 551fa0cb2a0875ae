//! Taking shards over, and letting go of those that cannot run.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::Session;
use crate::engine::input::{Feed, Inlet};
use crate::engine::recover::Halt;
use crate::engine::{Event, Failure};
use crate::metrics;
use crate::worker::Worker;
use crate::worker::recover::Order;

/// The group's offsets are only compared: the answer may take this long.
const COMMITTED: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// The client cannot read on: finds out which shards that concerns. They are halted, the others run on.
    pub(super) fn halt(&mut self, why: &str) -> Result<Event, Failure> {
        let halted = self.recovery.examine(&self.worker.topics.inputs, self.gather.running());
        let halted: Vec<_> = halted.into_iter().map(|(inlet, halt)| (inlet.shard, halt)).collect();
        if halted.is_empty() {
            return Err(Failure::Restart(format!("consume: {why}")));
        }
        self.let_go(halted)
    }

    /// Reads nothing more of these shards; the others run on.
    pub(super) fn let_go(&mut self, halted: Vec<(i32, Halt)>) -> Result<Event, Failure> {
        for (number, halt) in &halted {
            tracing::error!(stream = %self.worker.settings.stream, shard = number, %halt, "the shard is halted");
        }
        let numbers: Vec<_> = halted.iter().map(|(number, _)| *number).collect();
        self.gather.halt(&self.consumer, &numbers)?;
        let mut all = self.core.assignment().map(|assignment| assignment.halted.clone()).unwrap_or_default();
        all.extend(halted.iter().cloned());
        self.tell_owned(self.running(), &all);
        Ok(Event::Halted(halted))
    }

    pub(super) fn recover(&self, shards: &[i32]) -> Result<Event, Failure> {
        let Worker { settings, parts, tokio, options, topics, .. } = self.worker;
        let (shards, halted) = self.recovery.run(&Order {
            shards,
            settings,
            store: &parts.store,
            tokio,
            committed: &|shards| self.committed(shards),
            gap_accepted: options.accept_log_gap,
            seek: options.seek.as_ref(),
            inputs: &topics.inputs,
        })?;
        Ok(Event::Recovered { shards, halted })
    }

    /// The group's offsets of the input, for comparison only (F13).
    fn committed(&self, shards: &[i32]) -> Option<BTreeMap<i32, i64>> {
        let mut asked = TopicPartitionList::with_capacity(shards.len());
        for shard in shards {
            asked.add_partition(&self.worker.topics.events, *shard);
        }
        match self.consumer.committed_offsets(asked, COMMITTED) {
            Ok(answer) => {
                let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
                    Offset::Offset(offset) => Some((element.partition(), offset)),
                    _ => None,
                };
                Some(answer.elements().iter().filter_map(offset).collect())
            }
            Err(error) => {
                tracing::warn!(%error, "the group's offsets");
                None
            }
        }
    }

    /// Assigns with explicit offsets, never from the group's (F13).
    pub(super) fn resume(&mut self, positions: &[(Inlet, i64)]) -> Result<Event, Failure> {
        let failed = |error: rdkafka::error::KafkaError| Failure::Restart(format!("assign: {error}"));
        let inputs = &self.worker.topics.inputs;
        let positions = self.reachable(positions);
        let mut all = TopicPartitionList::with_capacity(positions.len());
        for (Inlet { feed, shard }, offset) in &positions {
            all.add_partition_offset(&inputs[feed.0], *shard, Offset::Offset(*offset)).map_err(failed)?;
        }
        self.consumer.assign(&all).map_err(failed)?;
        // the client remembers a pause over assignments
        self.consumer.resume(&all).map_err(failed)?;
        let halted = self.core.assignment().map(|assignment| assignment.halted.clone()).unwrap_or_default();
        self.gather.assigned(positions.into_iter());
        self.tell_owned(self.running(), &halted);
        Ok(Event::Done)
    }

    /// Positions to start at: where deleted events are accepted as lost, the first that is left.
    fn reachable(&self, positions: &[(Inlet, i64)]) -> Vec<(Inlet, i64)> {
        let mut positions = positions.to_vec();
        if !self.worker.options.accept_input_gap {
            return positions;
        }
        let wanted = positions.iter().copied().collect();
        for (inlet, halt) in self.recovery.examine(&self.worker.topics.inputs, &wanted) {
            let Halt::EventsGone { start, position, .. } = halt else { continue };
            let shard = inlet.shard;
            tracing::error!(stream = %self.worker.settings.stream, shard, position, start, "deleted events are passed over, as told");
            positions.iter_mut().filter(|(other, _)| *other == inlet).for_each(|(_, at)| *at = start);
        }
        positions
    }

    /// Shards that run.
    fn running(&self) -> usize {
        self.gather.running().keys().filter(|inlet| inlet.feed == Feed::EVENTS).count()
    }

    /// Tells how many shards run and are halted, with the first diagnosis: an operator sees it in `/health/ready`.
    fn tell_owned(&self, running: usize, halted: &BTreeMap<i32, Halt>) {
        let first = halted.iter().next().map(|(shard, halt)| format!("; shard {shard}: {halt}")).unwrap_or_default();
        let detail = format!("{running} shards run, {} are halted{first}", halted.len());
        tracing::info!(stream = %self.worker.settings.stream, slot = self.worker.options.slot, detail, "assigned");
        metrics::owned(&self.worker.place, running, halted.len());
        self.worker.ready(true, &detail);
    }
}
