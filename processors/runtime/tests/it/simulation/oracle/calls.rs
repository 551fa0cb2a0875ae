//! Attempts at effects: each stands in a committed frame before it is made, and is made once.

use std::collections::BTreeSet;

use runtime::engine::transaction::Topic;
use state::records::Item;

use super::log::Seen;
use crate::simulation::world::Shared;

pub(super) fn judge(shared: &Shared, shard: i32, chain: &[Seen]) {
    let mut made = BTreeSet::new();
    for call in shared.calls.borrow().iter().filter(|call| call.shard == shard) {
        let is_it = |seen: &&Seen| {
            let items = seen.data.iter().flat_map(|data| &data.agenda);
            let mut items = items.filter(|item| (item.due, item.id.as_str()) == (call.key.due, &*call.key.id));
            items.any(|item| match item.val.as_deref().map(Item::decode) {
                Some(Ok(Item::Effect(effect))) => effect.processing && effect.attempts == call.attempt,
                _ => false,
            })
        };
        let frame = chain.iter().find(is_it);
        let committed = frame.and_then(|seen| shared.kafka.borrow().committed_at(Topic::Log, shard, seen.trailer.offset));
        if committed.is_none_or(|committed| committed > call.at) {
            shared.violation("phantom-attempt", || format!("{call:?} was committed at {committed:?}"));
        }
        if !made.insert(&call.key) {
            shared.violation("dup-attempt", || format!("{call:?} is made twice"));
        }
    }
}
