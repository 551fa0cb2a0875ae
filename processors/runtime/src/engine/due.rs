//! Due entries of the agenda on their way to being inputs: look at the item, then at what it speaks of.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use schemas::key::EventKey;
use state::records::{Head, Input, Item, PARK_SORT, Parked, Source, Step};
use state::{AgendaKey, RowKey};

use super::agenda::timer_id;
use super::assignment::{Assignment, ShardState};
use super::batch::{self, Fate, HEAD, Prepared};
use super::headers::HeaderList;
use super::input::{Arrived, Envelope, Feed, Writer};
use super::settings::{Policy, Settings};
use super::step::Needs;
use super::versions::Versions;
use crate::dead_letter::Reason;
use crate::logic::Logic;
use crate::processor::Timer;

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
        /// Name of the timer, when it is one that fires; else an input that is tried again.
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
    /// Items the store was asked for.
    pub items: &'a HashMap<(i32, AgendaKey), Option<Bytes>>,
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
        let Due::Entry { shard: number, key, subject } = due else { return Ok(()) };
        let Some(shard) = self.assignment.shards.get_mut(number) else { return Ok(()) };
        let item = match (shard.agenda.item(key), self.items.get(&(*number, key.clone()))) {
            (Some(item), _) => item.cloned(),
            (None, Some(item)) => item.clone(),
            (None, None) => {
                missing.needs.items.push((*number, key.clone()));
                return Ok(());
            }
        };
        let Some(item) = item else {
            shard.agenda.forget(key);
            *due = Due::Inputs(Vec::new());
            return Ok(());
        };
        let mut wants = Missing::default();
        let item = Item::decode(&item).map_err(|error| format!("agenda item {}: {error}", key.id))?;
        let inputs = match item {
            Item::Timer { name, payload } => {
                let origin = Origin::Item { key: key.clone(), timer: Some(name.clone()), before: Before::default() };
                vec![timer(*number, subject, Timer { name, due: key.due, payload }, origin, self.logic)]
            }
            Item::Retry(parked) => {
                let origin = |before| Origin::Item { key: key.clone(), timer: None, before };
                let place = (*number, &*subject);
                restored(parked, place, origin, self, &mut wants).into_iter().collect()
            }
            Item::Held => parked(shard, *number, key, subject, &mut wants)?
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
    for n in head.front..head.back.min(head.front + PARKED_MAX) {
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
            return Some(timer(shard, subject, Timer { name, due, payload: value }, origin, look.logic));
        }
        // of a stream that is followed no more: no type of it is known, and it becomes a dead letter
        Source::Record { topic, offset, headers } => {
            (look.settings.feed_of(&topic).unwrap_or_default(), offset, HeaderList::from_flat(headers))
        }
    };
    let writer = look.versions.writer(&value, look.settings).map_err(|id| wants.schemas.push(id)).ok()?;
    let key = Some(Bytes::copy_from_slice(subject.as_bytes()));
    let record = Arrived { feed, shard, offset, appended_ms, key, value, headers, writer };
    Some(Prepared { origin, ..batch::prepare(record, look.settings, look.logic) })
}

/// A timer that fires, as an input.
fn timer(shard: i32, subject: &Arc<str>, timer: Timer, origin: Origin, logic: &dyn Logic) -> Prepared {
    let id = timer_id(subject, &timer.name);
    let key = EventKey::of("~agenda", &format!("{id}@{}", timer.due), None);
    let record = Arrived {
        feed: Feed::EVENTS,
        shard,
        offset: -1,
        appended_ms: timer.due / 1_000,
        key: Some(Bytes::copy_from_slice(subject.as_bytes())),
        value: timer.payload.clone(),
        headers: HeaderList::default(),
        writer: Writer::Unframed,
    };
    let envelope = Envelope { id: id.to_string(), time: Some(timer.due), cause: Some(id.to_string()), ..Envelope::default() };
    let opened = logic.timer(timer);
    let fate = match catch_unwind(AssertUnwindSafe(|| opened.reads())) {
        Ok(reads) => Fate::Ready { policy: Policy::timer(), opened, reads },
        Err(_) => Fate::Dead(Reason::Panic, "timer_reads panicked".to_owned()),
    };
    Prepared { record, envelope, key, subject: subject.clone(), fate, origin }
}
