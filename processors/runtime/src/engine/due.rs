//! Due entries of the agenda on their way to being inputs: look at the item, then at what it speaks of.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use schemas::key::EventKey;
use state::records::{Effect, Head, Input, Item, PARK_SORT, Parked, Source, Step};
use state::{AgendaKey, RowKey};

use super::agenda::{effect_id, effect_name, timer_id};
use super::assignment::{Assignment, ShardState};
use super::batch::{self, Fate, HEAD, Prepared};
use super::headers::HeaderList;
use super::input::{Arrived, Envelope, Feed, Writer};
use super::rules::Rule;
use super::settings::{Policy, Settings};
use super::single::Alone;
use super::step::Needs;
use super::versions::Versions;
use crate::dead_letter::Reason;
use crate::effects::{self, Effects};
use crate::logic::{Logic, Opened};
use crate::processor::{Outcome, Timer};

/// Parked inputs of one subject that are tried in one frame.
const PARKED_MAX: i64 = 64;

/// Where an input comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Its topic, for the first time.
    Topic,
    /// An item of the agenda, which goes with it.
    Item {
        /// The item.
        key: AgendaKey,
        /// Name in the head row, when it is a timer that fires or an effect; else an input that is tried again.
        timer: Option<String>,
        /// What happened to it before.
        before: Before,
    },
    /// The park of its subject, which is held.
    Park {
        /// The item that tries it.
        key: AgendaKey,
        /// Its number there.
        n: i64,
        /// What happened to it before.
        before: Before,
    },
}

/// What happened to an input before.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// Attempts made.
    pub attempts: i32,
    /// When it was to be tried again, µs.
    pub next_attempt: i64,
    /// Steps of its lifecycle.
    pub history: Vec<Step>,
}

/// A due entry.
pub enum Due {
    /// Nobody has looked yet.
    Entry {
        /// Shard number.
        shard: i32,
        /// The item.
        key: AgendaKey,
        /// Its subject.
        subject: Arc<str>,
        /// What the attempt brought whose lease ends then; `None` when it is only due.
        ended: Option<Result<Bytes, effects::Error>>,
    },
    /// What became of it: inputs in order, none when the item is gone.
    Inputs(Vec<Prepared>),
}

/// What looking at due entries works with.
pub struct Look<'a> {
    /// The assignment.
    pub assignment: &'a mut Assignment,
    /// Schemas of other versions.
    pub versions: &'a Versions,
    /// Settings.
    pub settings: &'a Settings,
    /// The processor.
    pub logic: &'a dyn Logic,
    /// Its effects.
    pub effects: &'a Effects,
    /// Items the store was asked for.
    pub items: &'a HashMap<(i32, AgendaKey), Option<Bytes>>,
    /// The entry is tried alone.
    pub alone: Option<Alone>,
}

/// What an entry still waits for.
#[derive(Debug, Default)]
pub struct Missing {
    /// From the store.
    pub needs: Needs,
    /// From the registry.
    pub schemas: Vec<i32>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.needs.is_empty() && self.schemas.is_empty()
    }
}

impl Look<'_> {
    /// Looks at an entry. It stays one while something is missing.
    ///
    /// # Errors
    /// What cannot be: see [`super::decide::Undecided::Torn`].
    pub fn at(&mut self, due: &mut Due, missing: &mut Missing) -> Result<(), String> {
        let Due::Entry { shard: number, key, subject, ended } = due else { return Ok(()) };
        let Some(shard) = self.assignment.shards.get_mut(number) else { return Ok(()) };
        let item = match (shard.agenda.item(key), self.items.get(&(*number, key.clone()))) {
            (Some(item), _) => item.cloned(),
            (None, Some(item)) => item.clone(),
            (None, None) => {
                missing.needs.items.push((*number, key.clone()));
                return Ok(());
            }
        };
        let unchecked = ended.is_some() && !self.settings.rules.keep(Rule::OutcomeOfItsAttempt);
        let Some(item) = item.or_else(|| unchecked.then(|| Item::Effect(Effect::default()).encode())) else {
            shard.agenda.forget(key);
            *due = Due::Inputs(Vec::new());
            return Ok(());
        };
        let mut wants = Missing::default();
        let item = Item::decode(&item).map_err(|error| format!("agenda item {}: {error}", key.id))?;
        let inputs = match item {
            Item::Timer { name, payload } => {
                let origin = Origin::Item { key: key.clone(), timer: Some(name.clone()), before: Before::default() };
                let place = (*number, &*subject);
                vec![timer(place, Timer { name, due: key.due, payload }, origin, self)]
            }
            Item::Retry(parked) => {
                let origin = |before| Origin::Item { key: key.clone(), timer: None, before };
                let place = (*number, &*subject);
                restored(parked, place, origin, self, &mut wants).into_iter().collect()
            }
            Item::Effect(effect) => vec![attempted(effect, (*number, &*subject), key, ended.take(), self)],
            Item::Held => parked(shard, *number, key, subject, if self.alone.is_some() { 1 } else { PARKED_MAX }, &mut wants)?
                .into_iter()
                .filter_map(|(n, row)| {
                    let origin = |before| Origin::Park { key: key.clone(), n, before };
                    restored(row, (*number, &*subject), origin, self, &mut wants)
                })
                .collect(),
        };
        if wants.is_empty() {
            *due = Due::Inputs(inputs);
        } else {
            missing.needs.rows.append(&mut wants.needs.rows);
            missing.schemas.append(&mut wants.schemas);
        }
        Ok(())
    }
}

/// The first parked inputs of a held subject, by number.
fn parked(
    shard: &mut ShardState,
    number: i32,
    key: &AgendaKey,
    subject: &Arc<str>,
    max: i64,
    wants: &mut Missing,
) -> Result<Vec<(i64, Parked)>, String> {
    let row = |sort: &str| (number, RowKey { subject: subject.clone(), sort: sort.into() });
    let Some(head) = shard.cache.get(subject, HEAD) else {
        wants.needs.rows.push(row(HEAD));
        return Ok(Vec::new());
    };
    let head =
        head.val.as_deref().map(Head::decode).transpose().map_err(|error| format!("the head row of {subject}: {error}"))?;
    let Some(head) = head.filter(|head| head.held_item == Some(key.due) && head.front < head.back) else {
        return Err(format!("{subject} has the item {} of {} and is not held by it", key.id, key.due));
    };
    let mut parked = Vec::new();
    for n in head.front..head.back.min(head.front + max) {
        let sort = format!("{PARK_SORT}{n}");
        match shard.cache.get(subject, &sort) {
            None => wants.needs.rows.push(row(&sort)),
            Some(image) => {
                let val = image.val.as_deref().ok_or_else(|| format!("the parked input {n} of {subject} is missing"))?;
                parked.push((n, Parked::decode(val).map_err(|error| format!("the parked input {n} of {subject}: {error}"))?));
            }
        }
    }
    Ok(parked)
}

/// An input as it arrived, opened again; `None` while its schema is not known.
fn restored(
    parked: Parked,
    (shard, subject): (i32, &Arc<str>),
    origin: impl FnOnce(Before) -> Origin,
    look: &Look<'_>,
    wants: &mut Missing,
) -> Option<Prepared> {
    let Parked { input: Input { source, appended_ms, value }, attempts, next_attempt, history } = parked;
    let origin = origin(Before { attempts, next_attempt, history });
    let (feed, offset, headers) = match source {
        Source::Timer { name, due } => {
            return Some(timer((shard, subject), Timer { name, due, payload: value }, origin, look));
        }
        Source::Outcome { id, name, attempts, ok } => {
            let text = || String::from_utf8_lossy(&value).into_owned();
            let result = if ok { Ok(value.clone()) } else { Err(text()) };
            return Some(outcome((shard, subject), Outcome { id, name, attempts, result }, origin, look));
        }
        // of a stream that is followed no more: no type of it is known, and it becomes a dead letter
        Source::Record { topic, offset, headers } => {
            (look.settings.feed_of(&topic).unwrap_or_default(), offset, HeaderList::from_flat(headers))
        }
    };
    let key = Some(Bytes::copy_from_slice(subject.as_bytes()));
    let record = Arrived { feed, shard, offset, appended_ms, key, value, headers, writer: Writer::Unframed };
    if let Some(Alone::Condemned(tries)) = look.alone {
        return Some(Prepared { origin, ..batch::condemned(record, tries, look.settings) });
    }
    let writer = look.versions.writer(&record.value, look.settings).map_err(|id| wants.schemas.push(id)).ok()?;
    let record = Arrived { writer, ..record };
    Some(Prepared { origin, ..batch::prepare(record, look.settings, look.logic) })
}

/// A timer that fires, as an input.
fn timer((shard, subject): (i32, &Arc<str>), timer: Timer, origin: Origin, look: &Look<'_>) -> Prepared {
    let id = timer_id(subject, &timer.name);
    let cause = format!("{id}@{}", timer.due);
    let source = Source::Timer { name: timer.name.clone(), due: timer.due };
    let (due, payload) = (timer.due, timer.payload.clone());
    let prepared = born((shard, subject), (&id, &cause), payload, source, origin, look, || look.logic.timer(timer));
    Prepared { envelope: Envelope { time: Some(due), ..prepared.envelope }, ..prepared }
}

/// The outcome of an effect, as an input.
fn outcome((shard, subject): (i32, &Arc<str>), outcome: Outcome, origin: Origin, look: &Look<'_>) -> Prepared {
    let id = effect_id(&outcome.id);
    let value = outcome.result.clone().unwrap_or_else(Bytes::from);
    let Outcome { id: effect, name, attempts, result } = &outcome;
    let source = Source::Outcome { id: effect.clone(), name: name.clone(), attempts: *attempts, ok: result.is_ok() };
    born((shard, subject), (&id, &id), value, source, origin, look, || look.logic.outcome(outcome))
}

/// An input that the engine itself brings forth: `id` is told as its cause, `unique` names it.
fn born(
    (shard, subject): (i32, &Arc<str>),
    (id, unique): (&str, &str),
    value: Bytes,
    source: Source,
    origin: Origin,
    look: &Look<'_>,
    open: impl FnOnce() -> Box<dyn Opened>,
) -> Prepared {
    let record = Arrived {
        feed: Feed::EVENTS,
        shard,
        offset: -1,
        appended_ms: 0,
        key: Some(Bytes::copy_from_slice(subject.as_bytes())),
        value,
        headers: HeaderList::default(),
        writer: Writer::Unframed,
    };
    let envelope = Envelope { id: id.to_owned(), cause: Some(id.to_owned()), ..Envelope::default() };
    let ready = || {
        let opened = open();
        match catch_unwind(AssertUnwindSafe(|| opened.reads())) {
            Ok(reads) => Fate::Ready { policy: Policy::timer(), opened, reads },
            Err(_) => Fate::Dead(Reason::Panic, "the reads of it panicked".to_owned()),
        }
    };
    let fate = match look.alone {
        Some(Alone::Condemned(tries)) => Fate::condemned(tries),
        _ => ready(),
    };
    let key = EventKey::of("~agenda", unique, None);
    Prepared { record, envelope, key, subject: subject.clone(), fate, origin, source: Some(source), effect: None }
}

/// An effect that is due, or whose attempt has ended.
fn attempted(
    effect: Effect,
    place: (i32, &Arc<str>),
    key: &AgendaKey,
    ended: Option<Result<Bytes, effects::Error>>,
    look: &Look<'_>,
) -> Prepared {
    let id = key.id.strip_prefix("e/").unwrap_or_default().to_owned();
    let origin = Origin::Item { key: key.clone(), timer: Some(effect_name(&id)), before: Before::default() };
    let policy = look.effects.policy(&effect.name);
    let left = policy.is_some_and(|policy| effect.attempts < policy.retry.attempts as i32);
    let step = match ended {
        None if left => Ok(Fate::Attempt(effect.clone())),
        Some(Err(why)) if left && why.is_retryable() => Ok(Fate::Requeue(effect.clone(), why)),
        None if policy.is_none() => Err(Err(format!("there is no effect {:?} any more", effect.name))),
        None => Err(Err("the lease of the last attempt has ended".to_owned())),
        Some(Ok(brought)) => Err(Ok(brought)),
        Some(Err(why)) => Err(Err(why.to_string())),
    };
    let result = match &step {
        Ok(_) => Err(String::new()),
        Err(result) => result.clone(),
    };
    let told = Outcome { id, name: effect.name.clone(), attempts: effect.attempts, result };
    let prepared = outcome(place, told, origin, look);
    match step {
        Ok(fate) => Prepared { fate, ..prepared },
        Err(_) => Prepared { effect: Some(effect), ..prepared },
    }
}
