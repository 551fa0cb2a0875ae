//! Subjects as their results tell them: in order, each from where the one before left the subject.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runtime::engine::transaction::{OutRecord, Topic};
use schemas::key::EventKey;
use schemas::names;

use super::events::{committed, compare, header, name};
use crate::simulation::workload::{CHILD_US, Op, Sent, Told, fold};
use crate::simulation::world::Shared;

/// What a subject is, told by its results.
#[derive(Default)]
struct State {
    seq: i64,
    root: String,
    child: Option<(String, i64)>,
    /// Timers that are set, and when they are due.
    timers: BTreeMap<String, i64>,
    /// Effects that are open.
    effects: BTreeSet<String>,
    /// Offset of the event of the last result.
    at: i64,
}

pub(super) fn judge(shared: &Shared, shard: i32, sent: &[Sent], accepted: &[&Sent]) {
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
        } else if !cause.starts_with("t/") && !cause.starts_with("e/") {
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
        for effect in state.effects {
            shared.violation("lost-effect", || format!("{effect} of {subject}"));
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
    let words: Vec<_> = told.does.split(' ').collect();
    if let [verb, name, third] = words[..] {
        match verb {
            "set" | "cleared" | "fired" => timers(shared, subject, state, (verb, name, third), told.now),
            _ => effects(shared, subject, state, (verb, name, third)),
        }
    }
    state.root = told.after;
}

/// A timer is set once, and fires or is cleared once, never early.
fn timers(shared: &Shared, subject: &str, state: &mut State, (verb, name, due): (&str, &str, &str), now: i64) {
    if verb == "set" {
        state.timers.insert(name.to_owned(), due.parse().unwrap_or(i64::MAX));
        return;
    }
    match state.timers.remove(name) {
        None => shared.violation("dup-timer", || format!("{name} of {subject} is {verb}, but was not set")),
        Some(due) if verb == "fired" && now < due => {
            shared.violation("early-timer", || format!("{name} of {subject} fired at {now}, due at {due}"));
        }
        Some(_) => {}
    }
}

/// An effect is started, and has one outcome or is cancelled. An open one that is started again stays one.
fn effects(shared: &Shared, subject: &str, state: &mut State, (verb, id, brought): (&str, &str, &str)) {
    if verb == "started" {
        state.effects.insert(id.to_owned());
        return;
    }
    if !state.effects.remove(id) {
        shared.violation("dup-effect", || format!("{id} of {subject} is {verb}, but was not open"));
    }
    let calls = shared.calls.borrow();
    let known = brought.parse().ok().and_then(|number: usize| calls.get(number));
    if verb == "ended" && brought != "nothing" && known.is_none_or(|call| call.key.id.strip_prefix("e/") != Some(id)) {
        shared.violation("dup-effect", || format!("{id} of {subject} brought {brought}, which no call of it did"));
    }
}
