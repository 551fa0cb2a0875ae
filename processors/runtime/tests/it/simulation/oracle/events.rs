//! Every event once: accepted, and dead-lettered where it must be.

use std::collections::{BTreeMap, HashSet};

use runtime::engine::transaction::{OutRecord, Topic};
use schemas::key::EventKey;
use schemas::names;

use super::log::{self, Seen};
use super::sends::Sends;
use super::subjects;
use crate::simulation::clients::followed;
use crate::simulation::workload::{Sent, accepted, header, heard};
use crate::simulation::world::Shared;

pub(super) fn committed(shared: &Shared, topic: Topic, shard: i32) -> Vec<OutRecord> {
    shared.kafka.borrow_mut().partition(topic, shard).committed(0).map(|(_, record)| record.clone()).collect()
}

pub(super) fn judge(shared: &Shared, shard: i32, sent: &[Sent], chain: &[Seen], sends: &mut Sends) {
    let accepted = accepted(sent);
    once(shared, shard, chain, &accepted);
    dead_letters(shared, shard, &accepted);
    let home = subjects::judge(shared, shard, sent, &accepted, sends);
    home.judge(shared, shard, &accepted, &log::fold(shard, chain));
}

/// The trailers list exactly what takes effect.
fn once(shared: &Shared, shard: i32, chain: &[Seen], accepted: &[&Sent]) {
    let mut counts: BTreeMap<EventKey, i64> = BTreeMap::new();
    for (_, keys) in chain.iter().flat_map(|seen| &seen.trailer.accepted) {
        for key in keys.as_chunks::<16>().0 {
            *counts.entry(EventKey(*key)).or_default() += 1;
        }
    }
    for event in accepted {
        *counts.entry(event.key).or_default() -= 1;
    }
    compare(shared, "event", &counts, |key| name(shard, accepted, key));
}

pub(super) fn compare<K>(shared: &Shared, what: &str, counts: &BTreeMap<K, i64>, name: impl Fn(&K) -> String) {
    let (lost, dup) = match what {
        "event" => ("lost-event", "dup-event"),
        "result" => ("lost-result", "dup-result"),
        "followed" => ("lost-followed", "dup-followed"),
        _ => ("lost-dead-letter", "dup-dead-letter"),
    };
    for (key, count) in counts.iter().filter(|(_, count)| **count != 0) {
        shared.violation(if *count < 0 { lost } else { dup }, || format!("{} ({count:+})", name(key)));
    }
}

pub(super) fn name(shard: i32, accepted: &[&Sent], key: &EventKey) -> String {
    match accepted.iter().find(|event| event.key == *key) {
        Some(event) => format!("{:?} of {} at {shard}/{}", event.op, event.subject, event.offset),
        None => format!("{key} of shard {shard}, which nobody sent"),
    }
}

/// Marks innocent events that are dead letters because their owners were killed, as often as it takes.
pub(super) fn condemn(shared: &Shared, shard: i32, sent: &mut [Sent]) {
    let condemned = log::condemned(shared, shard);
    let letters = committed(shared, Topic::Dead, shard);
    let crashed: HashSet<_> = letters
        .iter()
        .filter(|letter| header(letter, names::HEADER_DEAD_REASON) == "crash")
        .map(|letter| header(letter, names::HEADER_DEAD_ORIGIN))
        .collect();
    for event in sent.iter_mut().filter(|event| condemned.contains(&event.offset)) {
        event.condemned = crashed.contains(&*format!("{}/{shard}/{}", shared.settings.events, event.offset));
    }
}

fn dead_letters(shared: &Shared, shard: i32, accepted: &[&Sent]) {
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    let letters = committed(shared, Topic::Dead, shard);
    for record in letters.iter().filter(|letter| subjects::refused_effect(letter).is_none()) {
        let letter = (header(record, names::HEADER_DEAD_ORIGIN).to_owned(), header(record, names::HEADER_DEAD_REASON).to_owned());
        *counts.entry(letter).or_default() += 1;
    }
    for event in accepted {
        if let Some(reason) = event.dead() {
            let origin = format!("{}/{shard}/{}", shared.settings.events, event.offset);
            *counts.entry((origin, reason.to_owned())).or_default() -= 1;
        }
    }
    let mut kafka = shared.kafka.borrow_mut();
    for (offset, _) in kafka.input(followed(shard)).committed(0).filter(|(_, record)| heard(record).dead) {
        *counts.entry((format!("others.results/{shard}/{offset}"), "undecodable".to_owned())).or_default() -= 1;
    }
    drop(kafka);
    compare(shared, "dead-letter", &counts, |(origin, reason)| format!("{origin} as {reason}"));
}
