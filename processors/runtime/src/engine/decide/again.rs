//! What waits for its time: timers, inputs that are tried again, subjects that are held meanwhile.

use std::sync::Arc;

use bytes::Bytes;
use schemas::catalog::{Ordering, Retry, Tracking};
use schemas::key::EventKey;
use state::AgendaKey;
use state::records::{Input, Item, PARK_SORT, Parked, Source, State, Step};

use super::subject::Work;
use super::{Done, ShardWork, Stop};
use crate::dead_letter::Reason;
use crate::engine::agenda::{held_id, retry_id, timer_id};
use crate::engine::cache::Image;
use crate::engine::due::Origin;
use crate::engine::emit::Told;
use crate::engine::rules::Rule;
use crate::engine::settings::Policy;
use crate::processor::{TIMER_NAME_MAX, TIMER_PAYLOAD_MAX, TIMERS_MAX};

impl ShardWork<'_, '_> {
    /// Takes a due item out of the agenda. False when an earlier input of the batch has done so, or it is not its turn.
    pub(super) fn fires(&mut self, origin: &Origin, subject: &Arc<str>) -> Result<bool, Stop> {
        let (Origin::Item { key, .. } | Origin::Park { key, .. }) = origin else { return Ok(true) };
        let at = self.work(subject)?;
        let work = &mut self.works[at];
        // the outcome of an effect comes before its lease ends
        if key.due > self.ts && !key.id.starts_with("e/") {
            return Ok(false);
        }
        match origin {
            // the one before it waits again
            Origin::Park { n, .. } => return Ok(work.head.front == *n),
            _ if work.agenda.contains_key(key) => return Ok(false),
            Origin::Item { timer: Some(name), .. } => {
                let checked = !name.starts_with('~') || self.settings.rules.keep(Rule::OutcomeOfItsAttempt);
                if work.head.timers.remove(name) != Some(key.due) && checked {
                    return Err(Stop::Torn(format!("{subject} has the item {} and no timer of that time", key.id)));
                }
                work.changed = true;
            }
            Origin::Item { .. } | Origin::Topic => {}
        }
        if self.settings.rules.keep(Rule::ItemGoesWithFiring) {
            work.agenda.insert(key.clone(), None);
        }
        Ok(true)
    }

    /// True when the input waits behind another one.
    pub(super) fn waits(&mut self, subject: &Arc<str>, origin: &Origin, policy: &Policy) -> Result<bool, Stop> {
        let may_pass = match origin {
            Origin::Topic if policy.ordering == Ordering::Strict => false,
            Origin::Topic | Origin::Item { .. } => self.settings.rules.keep(Rule::TimersPassHolds),
            Origin::Park { .. } => true,
        };
        Ok(!may_pass && self.is_held(subject)?)
    }

    /// True while an input of the subject waits and strict ones wait behind it.
    fn is_held(&mut self, subject: &Arc<str>) -> Result<bool, Stop> {
        let at = self.work(subject)?;
        let Work { head, agenda, .. } = &self.works[at];
        let held = head.front < head.back;
        if held && !self.settings.rules.keep(Rule::DurableHold) {
            let key = head.held_item.map(|due| AgendaKey { due, id: held_id(subject) });
            return Ok(key.is_some_and(|key| agenda.contains_key(&key) || self.shard.agenda.item(&key).is_some()));
        }
        Ok(held)
    }

    /// Puts a strict input behind the one its subject waits for.
    pub(super) fn park(&mut self, told: &Told<'_>, tracking: Tracking) -> Result<Done, Stop> {
        let at = self.work(told.subject)?;
        let head = &self.works[at].head;
        if head.back - head.front >= self.settings.limits.park as i64 {
            return Err(Stop::Dead(Reason::ParkFull, format!("{} inputs wait already", head.back - head.front)));
        }
        let bytes = told.record.value.len() + told.record.headers.size();
        if self.works[at].bytes > 0 && self.works[at].bytes + bytes > self.settings.limits.row_bytes {
            return Err(Stop::Short);
        }
        let mut status = told.status(State::Queued, self.settings);
        status.history = vec![Step { state: State::Queued, at: told.appended * 1_000 }];
        status.attempts = 0;
        let history = status.history.clone();
        if tracking != Tracking::None {
            self.put_status(at, told.write(&status, self.settings));
        }
        let parked = Parked { input: self.input(told), attempts: 0, next_attempt: 0, history };
        self.put_parked(at, self.works[at].head.back, Some(&parked));
        self.works[at].head.back += 1;
        Ok(Done::Waits)
    }

    /// The input is to be tried again: after a backoff, or never any more.
    pub(super) fn again(&mut self, told: &Told<'_>, origin: &Origin, policy: &Policy, detail: String) -> Result<Done, Stop> {
        let attempts = told.before.attempts + 1;
        if attempts >= policy.retry.attempts as i32 {
            return Err(Stop::Dead(Reason::RetriesExhausted, detail));
        }
        let due = self.ts + backoff(policy.retry, told.key, attempts);
        let mut status = told.status(State::FailedRetryable, self.settings);
        status.next_attempt = Some(due);
        status.detail = Some(detail);
        let at = self.work(told.subject)?;
        if policy.tracking != Tracking::None {
            self.put_status(at, told.write(&status, self.settings));
        }
        let parked = Parked { input: self.input(told), attempts, next_attempt: due, history: status.history };
        match origin {
            Origin::Park { n, .. } => {
                self.put_parked(at, *n, Some(&parked));
                self.hold(at, Some(due));
            }
            Origin::Topic if policy.ordering == Ordering::Strict => {
                self.put_parked(at, self.works[at].head.back, Some(&parked));
                self.works[at].head.back += 1;
                self.hold(at, Some(due));
            }
            Origin::Item { .. } | Origin::Topic => {
                let key = AgendaKey { due, id: retry_id(&told.key) };
                self.works[at].agenda.insert(key, Some(Item::Retry(parked).encode()));
            }
        }
        Ok(Done::Waits)
    }

    /// A parked input is done or dead: the next one is due now, or the subject is free.
    pub(super) fn unpark(&mut self, told: &Told<'_>, n: i64) -> Result<(), Stop> {
        let at = self.work(told.subject)?;
        self.put_parked(at, n, None);
        let head = &mut self.works[at].head;
        head.front = n + 1;
        let rest = head.front < head.back;
        let ts = self.ts;
        self.hold(at, rest.then_some(ts));
        Ok(())
    }

    /// Moves the item of a held subject, or takes it away.
    fn hold(&mut self, at: usize, due: Option<i64>) {
        let work = &mut self.works[at];
        let id = held_id(&work.subject);
        if let Some(old) = work.head.held_item {
            work.agenda.insert(AgendaKey { due: old, id: id.clone() }, None);
        }
        if let Some(due) = due {
            work.agenda.insert(AgendaKey { due, id }, Some(Item::Held.encode()));
        }
        work.head.held_item = due;
        work.changed = true;
    }

    fn put_parked(&mut self, at: usize, n: i64, parked: Option<&Parked>) {
        let image = Image { val: parked.map(Parked::encode), expire_at: None };
        self.works[at].put(format!("{PARK_SORT}{n}").into(), image);
    }

    /// The input as it can be restored.
    fn input(&self, told: &Told<'_>) -> Input {
        let source = told.source.cloned().unwrap_or_else(|| Source::Record {
            topic: self.settings.topic(told.record.feed).to_string(),
            offset: told.record.offset,
            headers: told.record.headers.flat(),
        });
        Input { source, appended_ms: told.appended, value: told.record.value.clone() }
    }

    /// Checks what a decision says of timers; nothing changes.
    pub(super) fn check_timers(&self, at: usize, timers: &[(String, Option<(i64, Bytes)>)]) -> Result<(), Stop> {
        let names = self.works[at].head.timers.keys().map(String::as_str);
        let mut names: Vec<&str> = names.filter(|name| !name.starts_with('~')).collect();
        for (name, set) in timers {
            let fits = (1..=TIMER_NAME_MAX).contains(&name.len()) && !name.contains('/') && !name.starts_with('~');
            if !fits {
                return Err(Stop::Dead(
                    Reason::Terminal,
                    format!("timer {name:?}: a name is 1 to {TIMER_NAME_MAX} bytes without /"),
                ));
            }
            names.retain(|other| other != name);
            if let Some((_, payload)) = set {
                names.push(name);
                if payload.len() > TIMER_PAYLOAD_MAX {
                    return Err(Stop::Dead(
                        Reason::TooLarge,
                        format!("the payload of timer {name:?} is {} bytes", payload.len()),
                    ));
                }
            }
        }
        if names.len() > TIMERS_MAX {
            return Err(Stop::Dead(Reason::Terminal, format!("{} timers; {TIMERS_MAX} are allowed per subject", names.len())));
        }
        Ok(())
    }

    /// Sets and clears timers; a past time is now.
    pub(super) fn set_timers(&mut self, at: usize, timers: &[(String, Option<(i64, Bytes)>)]) {
        let work = &mut self.works[at];
        for (name, set) in timers {
            let id = timer_id(&work.subject, name);
            if let Some(due) = work.head.timers.remove(name) {
                work.agenda.insert(AgendaKey { due, id: id.clone() }, None);
            }
            if let Some((due, payload)) = set {
                let due = (*due).max(self.ts);
                let item = Item::Timer { name: name.clone(), payload: payload.clone() };
                work.agenda.insert(AgendaKey { due, id }, Some(item.encode()));
                work.head.timers.insert(name.clone(), due);
            }
            work.changed = true;
        }
    }
}

/// What attempt `attempt` is followed by, µs: a random part (full jitter) of the exponential wait, the same in a redo.
pub(super) fn backoff(retry: Retry, key: EventKey, attempt: i32) -> i64 {
    let longest = retry.base_ms as f64 * retry.factor.powi(attempt - 1);
    let longest_us = longest.min(retry.cap_ms as f64) * 1_000.0;
    let mut hasher = blake3::Hasher::new_derive_key("forebay retry jitter v1");
    hasher.update(&key.0).update(&attempt.to_be_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    let part = (u64::from_be_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64;
    (longest_us * part) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_random_part_of_an_exponential_one_and_the_same_in_a_redo() {
        let retry = Retry { base_ms: 100, factor: 2.0, cap_ms: 1_000, attempts: 10 };
        let key = |n: i32| EventKey::of("test", &n.to_string(), None);
        for (attempt, longest) in [(1, 100_000), (2, 200_000), (4, 800_000), (5, 1_000_000), (500, 1_000_000)] {
            let waits: Vec<i64> = (0..200).map(|n| backoff(retry, key(n), attempt)).collect();
            assert!(waits.iter().all(|wait| (0..=longest).contains(wait)));
            assert!(*waits.iter().max().unwrap() > longest * 9 / 10 && *waits.iter().min().unwrap() < longest / 10);
            assert_eq!(waits[7], backoff(retry, key(7), attempt));
        }
    }
}
