//! Events for other subjects: each once, in the order they were sent in, with the steps they are away from the first.

use std::collections::BTreeMap;

use runtime::engine::transaction::Topic;
use schemas::frame;
use schemas::partition::partition_of;

use crate::simulation::workload::{MAIL_SHARDS, SHARDS, Sent, header, subjects};
use crate::simulation::world::Shared;

/// What is sent from one subject to another: text and hops, in order.
type Between = BTreeMap<(String, String), Vec<(String, u32)>>;

/// What results tell of sends.
#[derive(Default)]
pub(super) struct Sends(Between);

impl Sends {
    /// A result of `event` on `subject` tells that it `verb`s.
    pub(super) fn told(&mut self, subject: &str, event: &Sent, verb: &str, targets: &str, id: &str) {
        for (n, target) in targets.split('+').enumerate() {
            let text = match verb {
                "rang" => format!("ring {id}"),
                "mailed" => format!("mail {id}/{subject}"),
                "broadcast" => format!("hear {id}/{subject}"),
                _ => format!("relay {id}/{n}/{subject}"),
            };
            self.0.entry((subject.to_owned(), target.to_owned())).or_default().push((text, event.hops + 1));
        }
    }

    pub(super) fn judge(self, shared: &Shared) {
        let mut found = Between::new();
        let own = (0..SHARDS).map(|shard| (Topic::Events(0), shard, SHARDS));
        let places = own.chain((0..MAIL_SHARDS).map(|shard| (Topic::Events(1), shard, MAIL_SHARDS)));
        for (topic, shard, shards) in places {
            let mut kafka = shared.kafka.borrow_mut();
            for (_, record) in kafka.partition(topic, shard).committed(0) {
                let text = String::from_utf8_lossy(record.value.get(frame::HEAD..).unwrap_or_default()).into_owned();
                let Ok(hops) = header(record, schemas::names::HEADER_CE_HOPS).parse() else { continue };
                let to = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
                if partition_of(&to, shards) != shard {
                    shared.violation("lost-send", || format!("{text:?} to {to} is in partition {shard} of {shards}"));
                }
                let from = match text.split(' ').next() {
                    Some("relay" | "mail" | "hear") => text.rsplit('/').next().unwrap_or_default().to_owned(),
                    _ => before(&to),
                };
                found.entry((from, to)).or_default().push((text, hops));
            }
        }
        for ((from, to), told) in &self.0 {
            let found = found.remove(&(from.clone(), to.clone())).unwrap_or_default();
            let kind = match told.len().cmp(&found.len()) {
                std::cmp::Ordering::Less => "dup-send",
                std::cmp::Ordering::Greater => "lost-send",
                std::cmp::Ordering::Equal => "send-order",
            };
            if found != *told {
                shared.violation(kind, || format!("from {from} to {to}: told {told:?}, found {found:?}"));
            }
        }
        if let Some((place, sends)) = found.into_iter().next() {
            shared.violation("dup-send", || format!("{place:?}: {sends:?}, which nobody told"));
        }
    }
}

/// Rings go around: who sends them to `subject`.
fn before(subject: &str) -> String {
    let all: Vec<_> = (0..SHARDS).flat_map(subjects).collect();
    let at = all.iter().position(|other| **other == *subject).unwrap_or_default();
    all[(at + all.len() - 1) % all.len()].to_string()
}
