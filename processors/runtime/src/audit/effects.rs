//! C9 of effects: what was started has one outcome, of an attempt that is on record.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::engine::LogData;
use schemas::key::EventKey;
use state::records::{self, Item, State};

use super::book::Book;
use super::report::{Check, Finding, Findings};

/// What the log and the results say of an effect, by its item's id `e/<id>`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    subject: Arc<str>,
    /// Offset of the last record that moved its item.
    offset: i64,
    /// Items that are there.
    items: i64,
    starts: u32,
    /// Ends without an item to end.
    ends_of_none: u32,
    /// Most attempts on record.
    attempts: i32,
    event: Option<EventKey>,
    /// Frame (ms) that told the results of its outcome; 0 = none seen.
    told_ms: i64,
    /// Further frames that did.
    told_again: u32,
}

impl Book {
    /// Takes over what one DATA record does to items of effects: an end deletes one, a move deletes one and puts another.
    pub(crate) fn put_effects(&mut self, subject: &Arc<str>, offset: i64, data: &LogData) {
        let mut moves: HashMap<&str, (bool, Option<records::Effect>)> = HashMap::new();
        for item in data.agenda.iter().filter(|item| item.id.starts_with("e/")) {
            let (gone, put) = moves.entry(&item.id).or_default();
            match item.val.as_deref().map(Item::decode) {
                None => *gone = true,
                Some(Ok(Item::Effect(effect))) => *put = Some(effect),
                Some(_) => {}
            }
        }
        if !self.stripe.takes_subject(subject) {
            return;
        }
        for (id, (gone, put)) in moves {
            let known = self.effects.contains_key(id);
            if !known && put.is_none() {
                continue; // cancelled by the frame that would have started it, or begun before the log does
            }
            let effect = self.effects.entry(id.into()).or_default();
            (effect.subject, effect.offset) = (subject.clone(), offset);
            effect.starts += u32::from(put.is_some() && !gone);
            effect.ends_of_none += u32::from(gone && put.is_none() && effect.items == 0);
            effect.items += i64::from(put.is_some()) - i64::from(gone && effect.items > 0);
            if let Some(put) = put {
                effect.attempts = effect.attempts.max(put.attempts);
                effect.event = put.event.map(|(key, _)| EventKey(key)).or(effect.event);
            }
        }
    }

    /// A result with this cause was told by the frame of that time.
    pub(crate) fn tell_outcome(&mut self, cause: &str, ms: i64) {
        if let Some(effect) = self.effects.get_mut(cause) {
            effect.told_again += u32::from(effect.told_ms != 0 && effect.told_ms != ms);
            effect.told_ms = ms;
        }
    }
}

/// C9: one outcome for each effect, and none without an attempt on record.
pub(crate) fn check_effects(book: &Book, findings: &mut Findings, log: &str) {
    if !book.complete {
        return;
    }
    for (id, effect) in &book.effects {
        for what in wrong(book, effect) {
            let finding = Finding::new(Check::C9, book.shard, format!("effect {id}: {what}"));
            findings.add(finding.at(log, effect.offset).of(&effect.subject));
        }
    }
    for ((_, part), status) in &book.status {
        let Some((effect, (state, attempts))) = book.effects.get(part).zip(status.effect) else { continue };
        let open = !matches!(state, State::Succeeded | State::FailedTerminal);
        let what = match effect.items {
            0 if open => format!("is told to be open ({state:?}), and its item is gone"),
            1.. if !open => format!("is told to have ended ({state:?}), and its item is there"),
            _ if attempts != effect.attempts => {
                format!("is told to have {attempts} attempts, {} are on record", effect.attempts)
            }
            _ => continue,
        };
        let finding = Finding::new(Check::C9, book.shard, format!("effect {part}: {what}"));
        findings.add(finding.at(log, status.image.offset).of(&effect.subject).frame(status.image.ts));
    }
}

fn wrong(book: &Book, effect: &Effect) -> Vec<String> {
    let mut wrong = Vec::new();
    // a copy of its event behind the dedupe window starts it once more
    let taken_up = |key: &EventKey| 1 + book.again.get(key).map_or(0, Vec::len) as u32;
    if let Some(starts) = effect.event.as_ref().map(taken_up).filter(|times| effect.starts > *times) {
        wrong.push(format!("it was started {} times, its event was taken up {starts} times", effect.starts));
    }
    if effect.items > 1 {
        wrong.push(format!("it has {} items: each would be attempted", effect.items));
    }
    if effect.ends_of_none > 0 {
        wrong.push(format!("it ended {} more times than it was started", effect.ends_of_none));
    }
    if effect.told_again >= effect.starts.max(1) {
        wrong.push(format!("its outcome is told by {} frames", effect.told_again + 1));
    }
    if effect.told_ms != 0 && effect.attempts == 0 {
        wrong.push("it has an outcome and no attempt on record".to_owned());
    }
    wrong
}
