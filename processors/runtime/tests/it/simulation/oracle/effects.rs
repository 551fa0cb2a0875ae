//! Every event once: accepted, told or dead-lettered, in order, each from where the one before left the subject.

use std::collections::{BTreeMap, HashMap};

use runtime::engine::transaction::{OutRecord, Topic};
use schemas::key::EventKey;
use schemas::names;

use super::log::Seen;
use crate::simulation::workload::{CHILD_US, Op, Sent, Told, accepted, fold};
use crate::simulation::world::Shared;

fn header<'a>(record: &'a OutRecord, name: &str) -> &'a str {
    let value = record.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value);
    value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

fn committed(shared: &Shared, topic: Topic, shard: i32) -> Vec<OutRecord> {
    shared.kafka.borrow_mut().partition(topic, shard).committed(0).map(|(_, record)| record.clone()).collect()
}

pub(super) fn judge(shared: &Shared, shard: i32, chain: &[Seen]) {
    let sent = &shared.events[shard as usize];
    let accepted = accepted(sent);
    once(shared, shard, chain, &accepted);
    dead_letters(shared, shard, &accepted);
    results(shared, shard, sent, &accepted);
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

fn compare<K>(shared: &Shared, what: &str, counts: &BTreeMap<K, i64>, name: impl Fn(&K) -> String) {
    let (lost, dup) = match what {
        "event" => ("lost-event", "dup-event"),
        "result" => ("lost-result", "dup-result"),
        _ => ("lost-dead-letter", "dup-dead-letter"),
    };
    for (key, count) in counts.iter().filter(|(_, count)| **count != 0) {
        shared.violation(if *count < 0 { lost } else { dup }, || format!("{} ({count:+})", name(key)));
    }
}

fn name(shard: i32, accepted: &[&Sent], key: &EventKey) -> String {
    match accepted.iter().find(|event| event.key == *key) {
        Some(event) => format!("{:?} of {} at {shard}/{}", event.op, event.subject, event.record.offset),
        None => format!("{key} of shard {shard}, which nobody sent"),
    }
}

fn dead_letters(shared: &Shared, shard: i32, accepted: &[&Sent]) {
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    for record in committed(shared, Topic::Dead, shard) {
        let letter =
            (header(&record, names::HEADER_DEAD_ORIGIN).to_owned(), header(&record, names::HEADER_DEAD_REASON).to_owned());
        *counts.entry(letter).or_default() += 1;
    }
    for event in accepted {
        if let Some(reason) = event.op.dead() {
            let origin = format!("{}/{shard}/{}", shared.settings.events, event.record.offset);
            *counts.entry((origin, reason.to_owned())).or_default() -= 1;
        }
    }
    compare(shared, "dead-letter", &counts, |(origin, reason)| format!("{origin} as {reason}"));
}

/// What a subject is, told by its results.
#[derive(Default)]
struct State {
    seq: i64,
    root: String,
    child: Option<(String, i64)>,
    /// Offset of the event of the last result.
    at: i64,
}

fn results(shared: &Shared, shard: i32, sent: &[Sent], accepted: &[&Sent]) {
    let by_key: HashMap<String, &Sent> = sent.iter().map(|event| (event.key.to_string(), event)).collect();
    let mut counts: BTreeMap<EventKey, i64> = BTreeMap::new();
    let mut states: HashMap<String, State> = HashMap::new();
    let mut copies: HashMap<EventKey, std::vec::IntoIter<i64>> = HashMap::new();
    for event in accepted {
        *counts.entry(event.key).or_default() -= event.op.results() as i64;
        let offsets = accepted.iter().filter(|other| other.key == event.key).map(|other| other.record.offset);
        copies.entry(event.key).or_insert_with(|| offsets.collect::<Vec<_>>().into_iter());
    }
    for record in committed(shared, Topic::Results, shard) {
        let Some(event) = by_key.get(header(&record, names::HEADER_CAUSE)) else {
            shared.violation("lineage", || format!("a result of shard {shard} has no cause"));
            continue;
        };
        *counts.entry(event.key).or_default() += 1;
        let subject = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let state = states.entry(subject.clone()).or_default();
        let seq = header(&record, names::HEADER_SEQ).parse().unwrap_or(0);
        if seq != state.seq + 1 || subject != *event.subject {
            shared.violation("seq", || format!("{subject} #{seq} follows #{}", state.seq));
        }
        state.seq = seq;
        // a second result of one event stands at the same offset
        let second = event.op == Op::Two && counts[&event.key] % 2 == 0;
        if !second {
            let at = copies.get_mut(&event.key).and_then(Iterator::next).unwrap_or(i64::MAX);
            if at < state.at {
                shared.violation("order", || format!("{subject} #{seq}: the event at {at} comes after the one at {}", state.at));
            }
            state.at = at;
        }
        if event.op != Op::Refuse {
            lineage(shared, &subject, event, state, &record);
        }
    }
    compare(shared, "result", &counts, |key| name(shard, accepted, key));
}

/// A result starts from what the ones before it made of the subject.
fn lineage(shared: &Shared, subject: &str, event: &Sent, state: &mut State, record: &OutRecord) {
    let text = String::from_utf8_lossy(&record.value[schemas::frame::HEAD..]);
    let Some(told) = Told::parse(&text) else {
        shared.violation("lineage", || format!("{subject} #{}: {text:?}", state.seq));
        return;
    };
    let child = state.child.as_ref().filter(|(_, until)| *until > told.now).map_or("", |(child, _)| child);
    let folded = fold(&fold(&state.root, child), &told.id);
    let after = match event.op {
        Op::Delete => String::new(),
        Op::Child => state.root.clone(),
        _ => folded.clone(),
    };
    if (told.before.as_str(), told.child.as_str(), told.after.as_str()) != (&state.root, child, &after) {
        shared.violation("lineage", || {
            format!("{subject} #{}: from {:?} and {child:?} to {after:?} expected, told {told:?}", state.seq, state.root)
        });
    }
    if event.op == Op::Child {
        state.child = Some((folded, told.now + CHILD_US));
    }
    state.root = told.after;
}
