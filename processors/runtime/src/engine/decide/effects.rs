//! Effects: what a decision starts and cancels, and the attempts that a frame records before they are made.

use std::sync::Arc;
use std::time::Duration;

use schemas::catalog::{Retry, Tracking};
use state::records::{CANCELLED, Effect, EventStatus, Item, State};
use state::{AgendaKey, StatusKey, StatusWrite};

use super::again::backoff;
use super::{ShardWork, Stop};
use crate::dead_letter::Reason;
use crate::effects::{EFFECT_BYTES_MAX, EFFECT_KEY_MAX, EFFECTS_PER_SUBJECT_MAX, Error, LATER_MAX, Policy, Start};
use crate::engine::agenda::{Named, effect_id, effect_name};
use crate::engine::batch::Fate;
use crate::engine::due::Origin;
use crate::engine::emit::Told;
use crate::engine::step::Attempt;
use crate::processor::effect_id_of;

/// What the status of an effect says beside its state.
#[derive(Default)]
struct Note {
    due: Option<i64>,
    detail: Option<String>,
    outcome: Option<&'static str>,
}

impl ShardWork<'_, '_> {
    /// Checks what a decision says of effects; nothing changes.
    pub(super) fn check_effects(&self, at: usize, effects: &[Start]) -> Result<(), Stop> {
        for Start { name, argument, key } in effects {
            if self.effects.policy(name).is_none() {
                return Err(Stop::Dead(Reason::Terminal, format!("{} has no effect {name:?}", self.settings.stream)));
            }
            if argument.len() > EFFECT_BYTES_MAX {
                return Err(Stop::Dead(Reason::TooLarge, format!("the argument of effect {name:?} is {} bytes", argument.len())));
            }
            if key.len() > EFFECT_KEY_MAX {
                return Err(Stop::Dead(Reason::TooLarge, format!("the key of effect {name:?} is {} bytes", key.len())));
            }
        }
        let open = self.works[at].head.timers.keys().filter(|name| name.starts_with('~')).count();
        if !effects.is_empty() && open + effects.len() > EFFECTS_PER_SUBJECT_MAX {
            return Err(Stop::Dead(Reason::Terminal, format!("{open} effects are open; {EFFECTS_PER_SUBJECT_MAX} are allowed")));
        }
        Ok(())
    }

    /// Starts effects: the first attempt is under way with this frame where a place is free; else it is due at once. One
    /// that is open already under its id (a copy of its event came behind the dedupe window) stays the one it is.
    pub(super) fn start_effects(&mut self, at: usize, told: &Told<'_>, tracking: Tracking, effects: &[Start]) {
        let event = (told.cause.is_none() && tracking != Tracking::None).then_some((told.key.0, told.record.offset));
        for (index, Start { name, argument, key }) in (0..).zip(effects) {
            let id = effect_id_of(told.key.0, index);
            if self.works[at].head.timers.contains_key(&effect_name(&id)) {
                continue;
            }
            let mut effect = Effect {
                name: name.clone(),
                argument: argument.clone(),
                key: key.clone(),
                attempts: 0,
                processing: false,
                event,
                history: Vec::new(),
            };
            self.tell_effect(at, &id, &mut effect, State::Queued, Note::default());
            if self.places.take(&Named::from(&effect)) {
                self.begin_attempt(at, &id, effect);
            } else {
                self.put_effect(at, &id, self.ts, effect);
            }
        }
    }

    /// Takes effects out of the agenda; what a running attempt brings is dropped, and one that this very frame would have
    /// recorded is not made.
    pub(super) fn cancel_effects(&mut self, at: usize, ids: &[String]) {
        for id in ids {
            // one that this very batch would have made is not made
            let item = effect_id(id);
            self.attempts.retain(|attempt| attempt.key.id != item);
            let work = &mut self.works[at];
            let Some(due) = work.head.timers.remove(&effect_name(id)) else { continue };
            work.changed = true;
            let key = AgendaKey { due, id: item };
            let written = work.agenda.insert(key.clone(), None);
            let place = (self.shard.shard.number, key);
            let found = written.or_else(|| self.shard.agenda.item(&place.1).map(Option::<&bytes::Bytes>::cloned));
            match found.or_else(|| self.items.get(&place).cloned()) {
                None => self.missing.push(place),
                Some(item) => self.tell_cancelled(at, id, item.as_deref()),
            }
        }
    }

    /// The status of a cancelled effect says so; nothing follows it.
    fn tell_cancelled(&mut self, at: usize, id: &str, item: Option<&[u8]>) {
        let Some(Ok(Item::Effect(mut effect))) = item.map(Item::decode) else { return };
        let note = Note { outcome: Some(CANCELLED), ..Note::default() };
        self.tell_effect(at, id, &mut effect, State::Succeeded, note);
    }

    /// True when an attempt was under way at an effect and nobody has heard how it ended.
    pub(super) fn lease_has_ended(&self, origin: &Origin, fate: &Fate, ended: Option<&Effect>) -> bool {
        let due = matches!(origin, Origin::Item { key, .. } if key.due <= self.ts);
        let effect = if let Fate::Attempt(effect) = fate { Some(effect) } else { ended };
        due && effect.is_some_and(|effect| effect.processing)
    }

    /// Records that the next attempt is under way: it is made after the commit, and never before.
    pub(super) fn attempt(&mut self, subject: &Arc<str>, id: &str, effect: Effect) -> Result<(), Stop> {
        let at = self.work(subject)?;
        self.begin_attempt(at, id, effect);
        Ok(())
    }

    fn begin_attempt(&mut self, at: usize, id: &str, mut effect: Effect) {
        let lease = self.effects.policy(&effect.name).map_or(Policy::default().lease, |policy| policy.lease);
        let due = self.ts + lease.as_micros() as i64;
        effect.attempts += 1;
        effect.processing = true;
        self.tell_effect(at, id, &mut effect, State::Processing, Note::default());
        self.attempts.push(Attempt {
            shard: self.shard.shard.number,
            key: AgendaKey { due, id: effect_id(id) },
            subject: self.works[at].subject.clone(),
            named: Named::from(&effect),
            argument: effect.argument.clone(),
            attempt: effect.attempts,
            lease,
        });
        self.put_effect(at, id, due, effect);
    }

    /// An attempt failed and another one may do better.
    pub(super) fn requeue(&mut self, subject: &Arc<str>, id: &str, mut effect: Effect, why: &Error) -> Result<(), Stop> {
        let at = self.work(subject)?;
        let retry = self.effects.policy(&effect.name).map_or(Retry::default(), |policy| policy.retry);
        let key = schemas::key::EventKey::of("~effect", id, None);
        let asked = if let Error::Later(_, wait) = why { (*wait).min(LATER_MAX) } else { Duration::ZERO };
        let due = self.ts + backoff(retry, key, effect.attempts).max(asked.as_micros() as i64);
        effect.processing = false;
        self.tell_effect(
            at,
            id,
            &mut effect,
            State::FailedRetryable,
            Note { due: Some(due), detail: Some(why.to_string()), outcome: None },
        );
        self.put_effect(at, id, due, effect);
        Ok(())
    }

    /// The effect has its outcome.
    pub(super) fn end_effect(
        &mut self,
        subject: &Arc<str>,
        id: &str,
        mut effect: Effect,
        failed: Option<String>,
    ) -> Result<(), Stop> {
        let at = self.work(subject)?;
        let state = if failed.is_some() { State::FailedTerminal } else { State::Succeeded };
        self.tell_effect(at, id, &mut effect, state, Note { detail: failed, ..Note::default() });
        Ok(())
    }

    fn put_effect(&mut self, at: usize, id: &str, due: i64, effect: Effect) {
        let work = &mut self.works[at];
        work.agenda.insert(AgendaKey { due, id: effect_id(id) }, Some(Item::Effect(effect).encode()));
        work.head.timers.insert(effect_name(id), due);
        work.changed = true;
    }

    /// Writes the effect's part of the status of its event.
    fn tell_effect(&mut self, at: usize, id: &str, effect: &mut Effect, state: State, note: Note) {
        let Some((event, offset)) = effect.event else { return };
        let mut status = EventStatus {
            state,
            outcome: note.outcome.map(str::to_owned),
            code: Some(effect.name.clone()),
            detail: note.detail,
            history: std::mem::take(&mut effect.history),
            attempts: effect.attempts,
            next_attempt: note.due,
            stream: self.settings.stream.to_string(),
            subject: self.works[at].subject.to_string(),
            partition: self.shard.shard.number,
            offset,
            cause: None,
            products: Vec::new(),
            reason: None,
        };
        status.enter(state, self.ts);
        effect.history.clone_from(&status.history);
        let key = StatusKey { event, part: effect_id(id) };
        let life = self.settings.limits.status_life.as_micros() as i64;
        let written = &mut self.works[at].status;
        // a frame says one thing about one effect (I3)
        written.retain(|earlier| earlier.key != key);
        written.push(StatusWrite { key, val: status.encode(), expire_at: Some(self.ts + life) });
    }
}
