//! C5 and C7: the group's offsets, and whether work moves.

use std::sync::Arc;
use std::time::Duration;

use state::StateStore;
use state::records::Head;

use super::Error;
use super::book::Book;
use super::report::{Check, Finding, Findings};

/// An agenda item may be late by this much before somebody must look.
const LATE_US: i64 = 60_000_000;
/// A running deployment with work before it moves within this time.
pub(crate) const STANDSTILL: Duration = Duration::from_secs(10);

/// C5: what the group has committed for a topic, against the position of the last trailer.
pub(crate) fn check_offset(
    book: &Book,
    (topic, position): (&str, i64),
    committed: Option<i64>,
    live: bool,
    findings: &mut Findings,
) {
    let what = match committed {
        Some(committed) if committed == position || (live && committed > position) => return,
        Some(committed) => {
            format!("the group's offset is {committed}, the last trailer's position {position}; the engine goes by the trailer")
        }
        None => format!("the group has no offset, the last trailer's position is {position}; the engine goes by the trailer"),
    };
    findings.add(Finding::new(Check::C5, book.shard, what).at(topic, position));
}

/// C7: heads and agenda items belong together; a held subject has an item that will free it.
pub(crate) fn check_heads(book: &Book, findings: &mut Findings) {
    if !book.complete {
        return;
    }
    for (name, subject) in &book.subjects {
        for what in subject.head.iter().flat_map(|head| headless(book, name, head)) {
            findings.add(Finding::new(Check::C7, book.shard, what).of(name));
        }
    }
    for (key, item) in book.items.iter().filter(|(key, item)| item.image.digest.is_some() && key.id.starts_with("t/")) {
        let head = book.subjects.get(&item.subject).and_then(|subject| subject.head.as_ref());
        let name = key.id.strip_prefix(&format!("t/{}/", item.subject)).unwrap_or_default();
        if head.and_then(|head| head.timers.get(name)) != Some(&key.due) {
            let what = format!("timer item {:?} due {} is not in its subject's head", key.id, key.due);
            findings.add(Finding::new(Check::C7, book.shard, what).of(&item.subject).frame(item.image.ts));
        }
    }
}

fn headless(book: &Book, name: &Arc<str>, head: &Head) -> Vec<String> {
    let there = |due: i64, id: String| {
        let key = state::AgendaKey { due, id: id.into() };
        book.items.get(&key).is_some_and(|item| item.image.digest.is_some())
    };
    let mut wrong = Vec::new();
    for (timer, due) in &head.timers {
        // an effect is known by its agenda id behind a tilde
        let id = timer.strip_prefix('~').map_or_else(|| format!("t/{name}/{timer}"), str::to_owned);
        if !there(*due, id) {
            wrong.push(format!("timer {timer:?} due {due} has no agenda item: it will never fire"));
        }
    }
    if head.front < head.back && !head.held_item.is_some_and(|due| there(due, format!("h/{name}"))) {
        let parked = head.back - head.front;
        wrong.push(format!("the subject is held with {parked} parked events, and no item will free it"));
    }
    wrong
}

/// C7 of a running deployment: items long due that are still there.
pub(crate) async fn check_overdue(
    book: &Book,
    shard: &state::Shard,
    store: &Arc<dyn StateStore>,
    now: i64,
    findings: &mut Findings,
) -> Result<(), Error> {
    let live = book.items.iter().filter(|(_, item)| item.image.digest.is_some());
    for (key, item) in live.take_while(|(key, _)| key.due < now - LATE_US) {
        if store.agenda_item(shard, key).await?.is_some() {
            let late = (now - key.due) / 1_000_000;
            let what = format!("agenda item {:?} is {late} s overdue", key.id);
            findings.add(Finding::new(Check::C7, book.shard, what).of(&item.subject).frame(item.image.ts));
        }
    }
    Ok(())
}

/// C7 of a running deployment: the position has not moved although events wait.
pub(crate) fn check_standstill(shard: i32, topic: &str, before: i64, after: i64, end: i64, findings: &mut Findings) {
    if end > before && after <= before {
        let what = format!(
            "{} events wait and the position has not moved for {} s: is the shard halted, or no processor up?",
            end - before,
            STANDSTILL.as_secs()
        );
        findings.add(Finding::new(Check::C7, shard, what).at(topic, before));
    }
}
