//! Subjects as their results tell them: in order, each from where the one before left the subject.

use std::collections::{BTreeMap, HashMap};

use runtime::engine::transaction::{OutRecord, Topic};
use schemas::key::EventKey;
use schemas::names;

use super::events::{committed, compare, name};
use super::sends::Sends;
use super::shards::Home;
use crate::simulation::clients::followed;
use crate::simulation::workload::{CHILD_US, Heard, Op, Sent, Told, fold, header, heard, is_shy, is_stubborn};
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
    effects: BTreeMap<String, Started>,
    /// Rows of the range, and when they end.
    items: BTreeMap<String, (String, i64)>,
    /// Offset of the event of the last result.
    at: i64,
}

pub(super) fn judge(shared: &Shared, shard: i32, sent: &[Sent], accepted: &[&Sent], sends: &mut Sends) -> Home {
    let by_key: HashMap<String, &Sent> = sent.iter().map(|event| (event.key.to_string(), event)).collect();
    let mut counts: BTreeMap<EventKey, i64> = BTreeMap::new();
    let mut states: HashMap<String, State> = HashMap::new();
    let mut copies: HashMap<EventKey, std::vec::IntoIter<i64>> = HashMap::new();
    for event in accepted {
        *counts.entry(event.key).or_default() -= event.results() as i64;
        let offsets = accepted.iter().filter(|other| other.key == event.key).map(|other| other.offset);
        copies.entry(event.key).or_insert_with(|| offsets.collect::<Vec<_>>().into_iter());
    }
    let (mut heard, mut home) = (Followed::of(shared, shard), Home::default());
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
        } else if heard.told(shared, &subject, cause) {
        } else if !cause.starts_with("t/") && !cause.starts_with("e/") {
            shared.violation("lineage", || format!("{subject} #{seq} has no cause: {cause}"));
        }
        let op = event.map_or(Op::Add, |event| event.op);
        if op != Op::Refuse {
            let Some(told) = lineage(shared, &subject, op, state, &record) else { continue };
            match (event, &told.does.split(' ').collect::<Vec<_>>()[..]) {
                (Some(event), [verb @ ("sent" | "mailed" | "rang" | "broadcast"), targets, id]) => {
                    sends.told(&subject, event, verb, targets, id);
                }
                (_, [verb @ ("counted" | "arranged"), name, third]) => home.told(shared, &told, (verb, name, third)),
                _ => {}
            }
        }
    }
    compare(shared, "result", &counts, |key| name(shard, accepted, key));
    compare(shared, "followed", &heard.counts, |key| format!("{key}, followed by shard {shard}"));
    let mut refused = refused(shared, shard);
    for (subject, state) in states {
        for (timer, due) in state.timers {
            shared.violation("lost-timer", || format!("{timer} of {subject}, due at {due}"));
        }
        for (effect, started) in state.effects.into_iter().filter(|(_, started)| started.is_open) {
            // one that was started again while it was open has stayed one
            let letters = refused.remove(&effect).unwrap_or(0);
            if letters == 0 {
                shared.violation("lost-effect", || format!("{effect} of {subject}"));
            } else if letters > started.left {
                shared.violation("dup-dead-letter", || format!("{effect} of {subject}: {letters} for {} starts", started.left));
            }
        }
    }
    if let Some((effect, letters)) = refused.into_iter().next() {
        shared.violation("dup-dead-letter", || format!("{effect}, which is not open: {letters}"));
    }
    home
}

/// Effects whose outcomes nobody wants, and how many of those became dead letters.
fn refused(shared: &Shared, shard: i32) -> HashMap<String, usize> {
    let mut refused = HashMap::new();
    for letter in committed(shared, Topic::Dead, shard) {
        if let Some(effect) = refused_effect(&letter) {
            *refused.entry(effect.to_owned()).or_default() += 1;
        }
    }
    refused
}

/// The effect of a dead letter that is the right end of its outcome.
pub(super) fn refused_effect(letter: &OutRecord) -> Option<&str> {
    let effect = header(letter, names::HEADER_DEAD_ORIGIN).strip_prefix("e/").filter(|effect| is_stubborn(effect));
    effect.filter(|_| header(letter, names::HEADER_DEAD_REASON) == "retries_exhausted")
}

/// A result starts from what the ones before it made of the subject.
fn lineage(shared: &Shared, subject: &str, op: Op, state: &mut State, record: &OutRecord) -> Option<Told> {
    let text = String::from_utf8_lossy(&record.value[schemas::frame::HEAD..]);
    let Some(told) = Told::parse(&text) else {
        shared.violation("lineage", || format!("{subject} #{}: {text:?}", state.seq));
        return None;
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
            "put" => drop(state.items.insert(name.to_owned(), (told.id.clone(), third.parse().unwrap_or(0)))),
            "dropped" => drop(state.items.remove(name)),
            "listed" => listed(shared, subject, state, name, told.now),
            "sent" | "mailed" | "rang" | "broadcast" | "counted" | "arranged" => {}
            _ => effects(shared, subject, state, (verb, name, third)),
        }
    }
    state.root.clone_from(&told.after);
    Some(told)
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

/// An effect as its starts and ends were told.
#[derive(Default)]
struct Started {
    is_open: bool,
    was_cancelled: bool,
    /// Starts without an end.
    left: usize,
}

/// An effect is started, and has one outcome or is cancelled. An open one that is started again stays one; one whose outcome
/// waits to be taken is open no more, and a copy of its event behind the dedupe window starts it anew.
fn effects(shared: &Shared, subject: &str, state: &mut State, (verb, id, brought): (&str, &str, &str)) {
    let effect = state.effects.entry(id.to_owned()).or_default();
    effect.was_cancelled |= verb == "cancelled";
    // the processor remembers that it was cancelled, and takes no outcome of one that a copy starts anew
    effect.is_open = verb == "started" && !(effect.was_cancelled && is_shy(id));
    if verb == "started" {
        effect.left += 1;
        return;
    }
    if is_stubborn(id) {
        shared.violation("dup-effect", || format!("{id} of {subject} is {verb}, and its processor cannot have said so"));
    } else if effect.left > 0 {
        effect.left -= 1;
    } else {
        shared.violation("dup-effect", || format!("{id} of {subject} is {verb}, but was not open"));
    }
    let calls = shared.calls.borrow();
    let known = brought.parse().ok().and_then(|number: usize| calls.get(number));
    if verb == "ended" && brought != "nothing" && known.is_none_or(|call| call.key.id.strip_prefix("e/") != Some(id)) {
        shared.violation("dup-effect", || format!("{id} of {subject} brought {brought}, which no call of it did"));
    }
}

/// The first two rows of the range, and the first behind the second name there may be.
fn listed(shared: &Shared, subject: &str, state: &State, listed: &str, now: i64) {
    let live: Vec<_> = state.items.iter().filter(|(_, (_, until))| *until > now).collect();
    let behind = live.iter().position(|(item, _)| item.as_str() > "1");
    let wanted = (0..live.len()).filter(|at| *at < 2 || Some(*at) == behind);
    let wanted: Vec<_> = wanted.map(|at| format!("{}={}", live[at].0, live[at].1.0)).collect();
    let wanted = format!("[{}]", wanted.join("+"));
    if wanted != listed {
        shared.violation("range", || format!("{subject} #{} lists {listed}, there is {wanted}", state.seq));
    }
}

/// Results of the followed stream, and what was told of them.
struct Followed {
    by_cause: HashMap<String, (i64, Heard)>,
    counts: BTreeMap<EventKey, i64>,
    /// Offset of the last one that was told, per subject.
    at: HashMap<String, i64>,
}

impl Followed {
    fn of(shared: &Shared, shard: i32) -> Self {
        let mut kafka = shared.kafka.borrow_mut();
        let all: Vec<_> = kafka.input(followed(shard)).committed(0).map(|(offset, record)| (offset, heard(record))).collect();
        let counts = all.iter().map(|(_, heard)| (heard.key, -heard.results)).collect();
        let by_cause = all.into_iter().map(|(offset, heard)| (heard.key.to_string(), (offset, heard))).collect();
        Self { by_cause, counts, at: HashMap::new() }
    }

    /// A result of `subject` names `cause`. False when that is no followed one.
    fn told(&mut self, shared: &Shared, subject: &str, cause: &str) -> bool {
        let Some((offset, heard)) = self.by_cause.get(cause) else { return false };
        *self.counts.entry(heard.key).or_default() += 1;
        if !heard.late {
            let at = self.at.entry(subject.to_owned()).or_insert(-1);
            if offset <= at {
                shared.violation("order", || format!("{subject}: the followed result at {offset} comes after the one at {at}"));
            }
            *at = *offset;
        }
        true
    }
}
