//! What must be true of a run when it is over, judged from the outside: from what was sent, the committed records, the
//! cells of the replicas and what readers were shown. Nothing here asks the engine.

mod calls;
mod events;
mod log;
mod sends;
mod shards;
mod shown;
mod statuses;
mod subjects;

use runtime::engine::transaction::Topic;
use state::Mark;

use super::clients;
use super::kafka::Partition;
use super::lists::Lists;
use super::receipts::Receipts;
use super::store::{Key, Store};
use super::views::Views;
use super::workload::SHARDS;
use super::world::Shared;

/// Judges a run; returns how many frames were committed.
pub(super) fn judge(shared: &Shared, views: &Views, receipts: &Receipts, lists: &Lists) -> u64 {
    let mut frames = 0;
    let mut cells = log::Cells::new();
    let mut sends = sends::Sends::default();
    let mut statuses = statuses::Statuses::default();
    for shard in 0..SHARDS {
        let mut sent = shared.clients.borrow().arrivals(&mut shared.kafka.borrow_mut(), shard);
        events::condemn(shared, shard, &mut sent);
        let chain = log::chain(shared, shard);
        frames += chain.len() as u64;
        events::judge(shared, shard, &sent, &chain, &mut sends);
        statuses.take(&sent, &chain);
        calls::judge(shared, shard, &chain);
        shown::views(shared, shard, &chain, views, lists);
        shown::lists(shared, shard, &chain, lists);
        shown::marks(shared, shard, &chain);
        cells.extend(log::fold(shard, &chain));
        let last = chain.last().map(|frame| &frame.trailer.positions);
        for (inlet, topic) in [(clients::own(shard), "chains.events"), (clients::followed(shard), "others.results")] {
            let position = last.and_then(|positions| positions.get(topic)).copied();
            let offset = shared.kafka.borrow().offsets.get(&inlet).copied();
            if position != offset {
                shared.violation("offsets", || format!("{topic}/{shard}: the group has {offset:?}, the trailer {position:?}"));
            }
        }
        let partition_stable = |topic| {
            let mut kafka = shared.kafka.borrow_mut();
            let partition = kafka.partition(topic, shard);
            partition.stable() == partition.end()
        };
        if ![Topic::Log, Topic::Results, Topic::Dead].into_iter().all(partition_stable) {
            shared.violation("stuck", || format!("shard {shard}: a transaction is still open"));
        }
    }
    shown::store(shared, &cells);
    sends.judge(shared);
    statuses.judge(shared, receipts);
    frames
}

/// The last committed trailer.
pub(super) fn tip(partition: &Partition) -> Option<log::Trailer> {
    log::tip(partition)
}

/// True when nothing waits for its time any more.
pub(super) fn nothing_waits(shared: &Shared, shard: i32) -> bool {
    let cells = log::fold(shard, &log::chain(shared, shard));
    !cells.iter().any(|(key, cell)| matches!(key, Key::Agenda(..)) && cell.val.is_some())
}

/// The newest watermark.
pub(super) fn mark(store: &Store, shard: i32) -> Option<Mark> {
    let cell = store.newest(&Key::Mark(shard))?;
    Mark::decode(&cell.val?).ok()
}
