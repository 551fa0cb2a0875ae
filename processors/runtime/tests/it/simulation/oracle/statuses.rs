//! Where events are, as the log tells it and as people with receipts were told: the answer is a step of the event's way,
//! and never an earlier one than was told before.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::key::EventKey;
use state::reader::{Answer, Lifecycle, Stage, Tracking};
use state::records::{EventStatus, State};

use super::log::Seen;
use crate::simulation::receipts::{Receipts, Shown, tracking};
use crate::simulation::workload::{Sent, accepted};
use crate::simulation::world::Shared;

/// How far an event is, when its success is known by the absence of a failure.
const DERIVED: usize = usize::MAX;

/// What the log tells of events.
#[derive(Default)]
pub(super) struct Statuses {
    /// Statuses in the order of their frames.
    written: HashMap<EventKey, Vec<EventStatus>>,
    /// The last status of each effect that an event started.
    effects: HashMap<EventKey, HashMap<Arc<str>, EventStatus>>,
    /// Copies that take effect.
    taken: HashMap<EventKey, Vec<Sent>>,
}

impl Statuses {
    pub(super) fn take(&mut self, sent: &[Sent], chain: &[Seen]) {
        for write in chain.iter().flat_map(|seen| &seen.data).flat_map(|data| &data.status) {
            let (key, status) = (EventKey(write.key), EventStatus::decode(&write.val).expect("the log holds statuses"));
            match write.part.strip_prefix("e/") {
                Some(id) => drop(self.effects.entry(key).or_default().insert(id.into(), status)),
                None => self.written.entry(key).or_default().push(status),
            }
        }
        for event in accepted(sent) {
            self.taken.entry(event.key).or_default().push(event.clone());
        }
    }

    pub(super) fn judge(&self, shared: &Shared, receipts: &Receipts) {
        let wrong = |what: String| shared.violation("lifecycle", || what);
        for (key, taken) in &self.taken {
            let written = self.written.get(key).map_or(&[][..], Vec::as_slice);
            let last = written.last().map(|status| self.end(key, status));
            // of several copies behind the window the last one tells
            let [event] = &taken[..] else { continue };
            let end = if event.dead().is_some() { State::FailedTerminal } else { State::Succeeded };
            let derived = last.is_none() && end == State::Succeeded && tracking(event.op) == Tracking::Failures;
            if last != Some(end) && !derived {
                wrong(format!("{event:?} ends as {last:?}"));
            }
            let settled = |status: &EventStatus| matches!(status.state, State::Succeeded | State::FailedTerminal);
            if written.iter().rev().skip(1).any(settled) || written.iter().any(|status| status.offset != event.offset) {
                wrong(format!("{event:?} was {written:?}"));
            }
        }
        let far: Vec<_> = receipts.shown.iter().map(|shown| self.far(shown)).collect();
        for (at, shown) in receipts.shown.iter().enumerate() {
            let Ok(now) = &far[at] else {
                wrong(format!("{shown:?}: {}", far[at].as_ref().err().map_or("", String::as_str)));
                continue;
            };
            let is_single = self.taken.get(&shown.key).is_some_and(|taken| taken.len() == 1);
            let same = |other: &usize| {
                let other = &receipts.shown[*other];
                (other.key, other.offset) == (shown.key, shown.offset)
            };
            let before = (0..shown.after).filter(same).filter_map(|other| far[other].as_ref().ok()).max();
            if is_single && before.is_some_and(|before| before > now) {
                wrong(format!("{shown:?} is behind what was told before"));
            }
        }
    }

    /// Where an event is in the end: one that is decided and settles with its effects has succeeded once they have ended.
    fn end(&self, key: &EventKey, last: &EventStatus) -> State {
        let effects = || self.effects.get(key).into_iter().flat_map(HashMap::values);
        let decided = last.state == State::Processing && last.outcome.is_some();
        if decided && effects().count() > 0 && effects().all(EventStatus::settled) { State::Succeeded } else { last.state }
    }

    /// How many steps of its way an event has gone, as it was told; what is wrong with that else.
    fn far(&self, shown: &Shown) -> Result<usize, String> {
        let written = self.written.get(&shown.key).map_or(&[][..], Vec::as_slice);
        let Answer::Known(told) = &shown.answer else { return Err("nothing is known of it".into()) };
        let Lifecycle { stage, status, duplicate_of, derived, effects, .. } = &**told;
        match status {
            Some(status) => {
                let at = written.iter().rposition(|written| written == status).ok_or("no frame says so")?;
                let first = shown.offset.filter(|offset| *offset != status.offset).map(|_| status.offset);
                if *duplicate_of != first {
                    return Err(format!("it is a duplicate of {first:?}"));
                }
                let with_effects = *stage == Stage::Succeeded && status.state == State::Processing;
                let started = self.effects.get(&shown.key).map_or(0, HashMap::len);
                if with_effects && (effects.len() < started || !effects.iter().all(|(_, effect)| effect.settled())) {
                    return Err("not all of its effects have ended".into());
                }
                Ok(at + 1 + usize::from(with_effects))
            }
            // rows of another copy say nothing about this one
            None if *derived && written.iter().all(|status| shown.offset.is_some_and(|offset| offset != status.offset)) => {
                Ok(DERIVED)
            }
            None if *derived => Err(format!("it was {written:?}")),
            None if *stage == Stage::Queued || (*stage == Stage::Received && shown.offset.is_none()) => Ok(0),
            None => Err("no status leads there".into()),
        }
    }
}
