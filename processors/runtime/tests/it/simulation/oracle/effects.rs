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
    /// Timers that are set, and when they are due.
    timers: BTreeMap<String, i64>,
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
        let subject = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let state = states.entry(subject.clone()).or_default();
        let seq = header(&record, names::HEADER_SEQ).parse().unwrap_or(0);
        if seq != state.seq + 1 {
            shared.violation("seq", || format!("{subject} #{seq} follows #{}", state.seq));
        }
        state.seq = seq;
        let cause = header(&record, names::HEADER_CAUSE);
        let event = by_key.get(cause).copied();
        if let Some(event) = event {
            let count = counts.entry(event.key).or_default();
            *count += 1;
            // a second result of one event stands at the same offset
            let second = event.op == Op::Two && *count % 2 == 0;
            let at = if second { None } else { copies.get_mut(&event.key).and_then(Iterator::next) };
            if let Some(at) = at.filter(|_| event.op != Op::Loose) {
                if at < state.at {
                    shared.violation("order", || {
                        format!("{subject} #{seq}: the event at {at} comes after the one at {}", state.at)
                    });
                }
                state.at = at;
            }
        } else if !cause.starts_with("t/") {
            shared.violation("lineage", || format!("{subject} #{seq} has no cause: {cause}"));
        }
        let op = event.map_or(Op::Add, |event| event.op);
        if op != Op::Refuse {
            lineage(shared, &subject, op, state, &record);
        }
    }
    compare(shared, "result", &counts, |key| name(shard, accepted, key));
    for (subject, state) in states {
        for (timer, due) in state.timers {
            shared.violation("lost-timer", || format!("{timer} of {subject}, due at {due}"));
        }
    }
}

/// A result starts from what the ones before it made of the subject.
fn lineage(shared: &Shared, subject: &str, op: Op, state: &mut State, record: &OutRecord) {
    let text = String::from_utf8_lossy(&record.value[schemas::frame::HEAD..]);
    let Some(told) = Told::parse(&text) else {
        shared.violation("lineage", || format!("{subject} #{}: {text:?}", state.seq));
        return;
    };
    let child = state.child.as_ref().filter(|(_, until)| *until > told.now).map_or("", |(child, _)| child);
    let folded = fold(&fold(&state.root, child), &told.id);
    let after = match op {
        Op::Delete => String::new(),
        Op::Child => state.root.clone(),
        _ => folded.clone(),
    };
    if (told.before.as_str(), told.child.as_str(), told.after.as_str()) != (&state.root, child, &after) {
        shared.violation("lineage", || {
            format!("{subject} #{}: from {:?} and {child:?} to {after:?} expected, told {told:?}", state.seq, state.root)
        });
    }
    if op == Op::Child {
        state.child = Some((folded, told.now + CHILD_US));
    }
    timers(shared, subject, state, &told);
    state.root = told.after;
}

/// A timer is set once, and fires or is cleared once, never early.
fn timers(shared: &Shared, subject: &str, state: &mut State, told: &Told) {
    let mut words = told.timer.split(' ');
    let (Some(what), Some(name), Some(due)) = (words.next(), words.next(), words.next()) else { return };
    if what == "set" {
        state.timers.insert(name.to_owned(), due.parse().unwrap_or(i64::MAX));
        return;
    }
    match state.timers.remove(name) {
        None => shared.violation("dup-timer", || format!("{name} of {subject} is {what}, but was not set")),
        Some(due) if what == "fired" && told.now < due => {
            shared.violation("early-timer", || format!("{name} of {subject} fired at {}, due at {due}", told.now));
        }
        Some(_) => {}
    }
}
