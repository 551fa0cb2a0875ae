//! A batch before it is decided: inputs opened, and the rows they need.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use schemas::datum::DecodeError;
use schemas::frame;
use schemas::key::EventKey;
use schemas::partition::{partition_of, shard_of};
use schemas::{names, resolve};
use state::records::{Effect, Source};
use state::{AgendaKey, RowKey};

use super::assignment::Assignment;
use super::due::{Due, Origin};
use super::input::{Arrived, Envelope, Writer};
use super::ranges::Ranges;
use super::settings::{EventSpec, FollowSpec, Policy, Settings};
use super::single::Alone;
use super::step::Needs;
use crate::dead_letter::Reason;
use crate::logic::{Logic, Opened};
use crate::processor::Reads;

/// Sort of the head row of every subject.
pub const HEAD: &str = "~head";

/// Sends between the first event and its last consequence: beyond it goes in a circle.
pub const HOPS_MAX: u32 = 16;

/// An input with everything known about it before it is decided.
pub struct Prepared {
    /// The record as polled.
    pub record: Arrived,
    /// Its envelope.
    pub envelope: Envelope,
    /// The key duplicates are found by.
    pub key: EventKey,
    /// Record key as text; empty when there is none.
    pub subject: Arc<str>,
    /// What comes of it.
    pub fate: Fate,
    /// Where it comes from.
    pub origin: Origin,
    /// What it is restored from when it waits and is no record.
    pub source: Option<Source>,
    /// The effect whose outcome it is; its status is told with it.
    pub effect: Option<Effect>,
}

/// Whether an input can be decided at all.
pub enum Fate {
    /// A result of a followed stream that nobody asked for.
    PassedOver,
    /// A dead letter, and why.
    Dead(Reason, String),
    /// Ready to be decided.
    Ready {
        /// How it is treated.
        policy: Policy,
        /// The decoded input; taken when decided.
        opened: Box<dyn Opened>,
        /// Rows it needs beside the head.
        reads: Reads,
    },
    /// An effect is attempted.
    Attempt(Effect),
    /// An attempt failed and another one is left.
    Requeue(Effect, crate::effects::Error),
}

impl Fate {
    /// Of an input that ended its process this often.
    #[must_use]
    pub fn condemned(tries: i32) -> Self {
        Self::Dead(
            Reason::Crash,
            format!("the process ended each of the {tries} times this was tried alone; it was not looked at again"),
        )
    }
}

/// Agenda items that were read, by shard; `None` where there is none.
pub type Items = HashMap<(i32, AgendaKey), Option<Bytes>>;

/// Inputs that are decided together, and what was read for them.
pub struct Batch {
    /// Due entries, oldest first: they are decided before the records.
    pub due: Vec<Due>,
    /// Records; those of one shard in offset order.
    pub records: Vec<Prepared>,
    /// Ranges that were read.
    pub ranges: Ranges,
    /// Agenda items that were read.
    pub items: Items,
    /// Ended attempts at the head of `due`.
    pub ended: usize,
    /// No more than this many are decided.
    pub inputs_max: usize,
    /// Its only input may have ended processes before.
    pub alone: Option<Alone>,
}

/// Opens `record`. Pure: a redo gives the same again.
pub fn prepare(record: Arrived, settings: &Settings, logic: &dyn Logic) -> Prepared {
    let (mut envelope, key, subject) = addressed(&record, settings);
    let followed = settings.followed(record.feed);
    if followed.is_some_and(|follow| !is_wanted(follow, &record, &envelope)) {
        return Prepared {
            record,
            envelope,
            key,
            subject,
            fate: Fate::PassedOver,
            origin: Origin::Topic,
            source: None,
            effect: None,
        };
    }
    let fate = match open(&record, &mut envelope, &subject, settings, logic) {
        Ok((event, opened, reads)) => Fate::Ready { policy: Policy::from(&event), opened, reads },
        Err((reason, detail)) => Fate::Dead(reason, detail),
    };
    Prepared { record, envelope, key, subject, fate, origin: Origin::Topic, source: None, effect: None }
}

/// An input that is a dead letter without being looked at: it ended the process this often.
pub fn condemned(record: Arrived, tries: i32, settings: &Settings) -> Prepared {
    let (envelope, key, subject) = addressed(&record, settings);
    let fate = Fate::condemned(tries);
    Prepared { record, envelope, key, subject, fate, origin: Origin::Topic, source: None, effect: None }
}

/// What is known of a record without its value.
fn addressed(record: &Arrived, settings: &Settings) -> (Envelope, EventKey, Arc<str>) {
    let mut envelope = Envelope::of(record, settings.topic(record.feed));
    if let Some(follow) = settings.followed(record.feed) {
        // compact results leave it out; and following is a step like a send
        envelope.source = names::stream_source(&follow.stream);
        envelope.hops = envelope.hops.saturating_add(1);
    }
    let key = envelope.key();
    let subject = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default().into();
    (envelope, key, subject)
}

fn is_wanted(follow: &FollowSpec, record: &Arrived, envelope: &Envelope) -> bool {
    let by_record = || match &record.writer {
        Writer::Current(name) => follow.by_record.get(&**name),
        Writer::Other(schema) => follow.by_record.get(&schema.full_name),
        Writer::Unknown(_) | Writer::Unframed => None,
    };
    let wanted = |name: &str| follow.event_types.contains_key(name);
    follow.all || envelope.event_type.as_deref().map_or_else(|| by_record().is_some(), wanted)
}

type Open = (EventSpec, Box<dyn Opened>, Reads);

fn open(
    record: &Arrived,
    envelope: &mut Envelope,
    subject: &str,
    settings: &Settings,
    logic: &dyn Logic,
) -> Result<Open, (Reason, String)> {
    if subject.is_empty() || (subject.starts_with('~') && !is_broadcast(subject, envelope, settings)) {
        let what = "the record key must be the subject: UTF-8, not empty, not starting with ~ unless a processor broadcasts";
        return Err((Reason::NoSubject, what.into()));
    }
    let home = partition_of(subject, settings.partitions);
    if home != record.shard {
        return Err((Reason::WrongPartition, format!("murmur2 of the key gives partition {home} of {}", settings.partitions)));
    }
    if envelope.hops > HOPS_MAX {
        return Err((Reason::Hops, format!("over {HOPS_MAX} sends lie between the first event and this one")));
    }
    if record.value.len() + record.headers.size() > settings.limits.input_bytes {
        return Err((Reason::TooLarge, format!("value and headers are over {} bytes", settings.limits.input_bytes)));
    }
    let written_as = match &record.writer {
        Writer::Current(name) => name.clone(),
        Writer::Other(schema) => schema.full_name.as_str().into(),
        Writer::Unknown(id) => return Err((Reason::UnknownSchema, format!("the registry does not know schema id {id}"))),
        Writer::Unframed => return Err((Reason::Undecodable, "the value must start with 0 and the schema id as int32".into())),
    };
    let (types, by_record) = match settings.followed(record.feed) {
        Some(follow) => (&follow.event_types, &follow.by_record),
        None => (&settings.event_types, &settings.by_record),
    };
    if envelope.event_type.is_none() {
        envelope.event_type = by_record.get(&*written_as).map(ToString::to_string);
    }
    let event = envelope.event_type.as_deref().and_then(|name| types.get(name)).cloned();
    let Some(event) = event.filter(|event| event.reader.full_name == *written_as) else {
        let name = envelope.event_type.as_deref().unwrap_or("(none)");
        return Err((
            Reason::UnknownSchema,
            format!("type {name} with record {written_as} is not in the catalog of {}", settings.stream),
        ));
    };
    let opened = open_datum(record, &event, logic).map_err(|error| (Reason::Undecodable, error.to_string()))?;
    let reads = catch_unwind(AssertUnwindSafe(|| opened.reads()))
        .map_err(|_| (Reason::Panic, format!("reads of {} panicked", event.name)))?;
    Ok((event, opened, reads))
}

/// Only processors write to shards, and only where the catalog has room for it.
fn is_broadcast(subject: &str, envelope: &Envelope, settings: &Settings) -> bool {
    let shard = shard_of(subject).is_some_and(|shard| shard < settings.partitions);
    settings.shard_rows && shard && envelope.source.starts_with(names::ENGINE_SOURCE)
}

fn open_datum(record: &Arrived, event: &EventSpec, logic: &dyn Logic) -> Result<Box<dyn Opened>, DecodeError> {
    let (_, datum) = frame::split(&record.value).map_err(|_| DecodeError::Truncated { at: record.value.len() })?;
    if let Writer::Other(writer) = &record.writer {
        return logic.open(&event.name, &resolve::to_reader(writer, &event.reader, datum)?);
    }
    logic.open(&event.name, datum)
}

impl Batch {
    /// A batch with nothing read yet.
    #[must_use]
    pub fn of(due: Vec<Due>, ended: usize, records: Vec<Prepared>, inputs_max: usize) -> Self {
        let ended = ended.min(inputs_max).min(due.len());
        Self { due, records, ranges: Ranges::default(), items: HashMap::new(), ended, inputs_max, alone: None }
    }

    /// What is decided, in order.
    pub fn into_inputs(self) -> (Vec<Prepared>, Ranges, Items) {
        let due = self.due.into_iter().flat_map(|due| match due {
            Due::Inputs(inputs) => inputs,
            Due::Entry { .. } => Vec::new(),
        });
        (due.chain(self.records).take(self.inputs_max).collect(), self.ranges, self.items)
    }

    /// What must still be read from the store before the batch can be decided at `now` (µs).
    pub fn needs(&mut self, assignment: &mut Assignment, now: i64) -> Needs {
        let (mut asked, mut ranges) = (HashSet::new(), HashSet::new());
        let mut needs = Needs::default();
        let none = Reads::none();
        let due = self.due.iter().flat_map(|due| match due {
            Due::Inputs(inputs) => &inputs[..],
            Due::Entry { .. } => &[],
        });
        for input in due.chain(&self.records) {
            let reads = match &input.fate {
                Fate::Ready { reads, .. } => reads,
                Fate::Attempt(_) | Fate::Requeue(..) => &none,
                // its item goes all the same, and the head row knows of it
                Fate::Dead(..) if !matches!(input.origin, Origin::Topic) => &none,
                Fate::Dead(..) | Fate::PassedOver => continue,
            };
            let number = input.record.shard;
            let Some(shard) = assignment.shards.get_mut(&number) else { continue };
            if let Some(rows) = &shard.rows {
                // any input may write there
                let home = rows.subject();
                if shard.cache.get(home, HEAD).is_none() && asked.insert((home.clone(), HEAD)) {
                    needs.rows.push((number, RowKey { subject: home.clone(), sort: HEAD.into() }));
                }
                let question = rows.question().map(|question| (number, question.clone()));
                needs.ranges.extend(question.filter(|question| ranges.insert(question.clone())));
                if *home == input.subject {
                    continue;
                }
            }
            for sort in std::iter::once(HEAD).chain(reads.rows.iter().map(String::as_str)) {
                if shard.cache.get(&input.subject, sort).is_none() && asked.insert((input.subject.clone(), sort)) {
                    needs.rows.push((number, RowKey { subject: input.subject.clone(), sort: sort.into() }));
                }
            }
            for range in &reads.ranges {
                let place = (number, input.subject.clone(), range.clone());
                let question = self.ranges.question(&place, shard.cache.rows(&input.subject), now);
                needs
                    .ranges
                    .extend(question.map(|question| (number, question)).filter(|question| ranges.insert(question.clone())));
            }
        }
        needs.rows.sort_by_key(|(shard, _)| *shard);
        needs
    }
}
