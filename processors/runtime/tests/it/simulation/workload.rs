//! What is sent, what the processor makes of it, and what must come of each event.

mod chains;
mod followed;
mod op;
mod settings;
mod shards;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use runtime::engine::dedupe::MINUTE_MS;
use runtime::engine::headers::HeaderList;
use runtime::engine::input::{Arrived, Inlet, Writer};
use runtime::engine::transaction::{OutRecord, Topic};
use schemas::key::EventKey;
use schemas::names;
use schemas::partition::partition_of;

pub(super) use self::chains::{CHILD_US, Chains, Told, fold, has_died, is_short, is_shy, is_stubborn};
pub(super) use self::followed::{Foreign, Heard, foreign, heard};
pub(super) use self::op::Op;
use self::settings::settings;
pub(super) use self::settings::{HEARD_MAX, MAIL_SHARDS, settings_of};
pub(super) use self::shards::{BRIEF_US, HEARD, RUNG, shown};
use super::random::Random;

/// Shards of the stream: one transaction covers all that a worker has.
pub(super) const SHARDS: i32 = 2;
/// Subjects of each shard.
const SUBJECTS: usize = 2;
/// Events of each shard, copies not counted.
const EVENTS: usize = 14;
/// The dedupe window: short, so that some copies come after it.
pub(super) const WINDOW: Duration = Duration::from_secs(120);
/// Inputs that are tried again succeed this long after they came.
const FLAKY_US: i64 = 3_000_000;
/// When a run begins: any time will do.
pub(super) const BEGIN_US: i64 = 1_700_000_000_000_000;

/// One event of `chains.events`.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) op: Op,
    /// What it says behind its verb.
    pub(super) text: String,
    pub(super) subject: Arc<str>,
    pub(super) key: EventKey,
    /// Sends between the first event and this one.
    pub(super) hops: u32,
    pub(super) offset: i64,
    pub(super) appended_ms: i64,
    /// Somebody killed its owners each time they tried it alone, and it is taken for what ended them.
    pub(super) condemned: bool,
}

impl Sent {
    /// Reason of its dead letter.
    pub(super) fn dead(&self) -> Option<&'static str> {
        match self.hops > runtime::engine::batch::HOPS_MAX {
            _ if self.condemned => Some("crash"),
            true => Some("hops"),
            false => self.op.dead(),
        }
    }

    /// Results it has.
    pub(super) fn results(&self) -> usize {
        if self.dead().is_some() { 0 } else { self.op.results() }
    }

    /// An event that the processor has sent, as it lies in its partition.
    pub(super) fn of(offset: i64, record: &OutRecord) -> Option<Self> {
        let text = std::str::from_utf8(record.value.get(schemas::frame::HEAD..)?).ok()?;
        let (verb, text) = text.split_once(' ')?;
        let op = match verb {
            "ring" => Op::Ring,
            "hear" => Op::Hear,
            _ => Op::Relay,
        };
        Some(Self {
            op,
            text: text.to_owned(),
            subject: std::str::from_utf8(record.key.as_deref()?).ok()?.into(),
            key: EventKey::of(header(record, names::HEADER_CE_SOURCE), header(record, names::HEADER_CE_ID), None),
            hops: header(record, names::HEADER_CE_HOPS).parse().ok()?,
            offset,
            appended_ms: record.timestamp_ms?,
            condemned: false,
        })
    }
}

/// A header of a record as text; empty when it has none.
pub(super) fn header<'a>(record: &'a OutRecord, name: &str) -> &'a str {
    let value = record.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value);
    value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
}

/// An event that will be sent.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) op: Op,
    pub(super) subject: Arc<str>,
    id: String,
    pub(super) at_us: i64,
    /// Offsets before it that are not ours.
    pub(super) foreign: i64,
    pub(super) record: OutRecord,
}

impl Planned {
    /// The event, once it has a place.
    pub(super) fn at(&self, offset: i64, appended_ms: i64) -> Sent {
        let key = EventKey::of("test", &self.id, None);
        Sent {
            op: self.op,
            text: self.id.clone(),
            subject: self.subject.clone(),
            key,
            hops: 0,
            offset,
            appended_ms,
            condemned: false,
        }
    }
}

/// All events, per shard in order; `deadly` ones among them or not.
pub(super) fn events(random: &mut Random, deadly: bool) -> Vec<Vec<Planned>> {
    (0..SHARDS).map(|shard| of_shard(shard, random, deadly)).collect()
}

fn of_shard(shard: i32, random: &mut Random, deadly: bool) -> Vec<Planned> {
    let subjects: Vec<Arc<str>> = subjects(shard);
    let mut texts: Vec<(Op, Arc<str>, String)> = Vec::new();
    for n in 0..EVENTS {
        let op = Some(Op::random(random)).filter(|op| deadly || *op != Op::Killer).unwrap_or(Op::Panic);
        texts.push((op, random.pick(&subjects).clone(), format!("{shard}.{n}")));
    }
    // copies come later: most inside the window, some behind it
    for _ in 0..EVENTS / 4 {
        let from = random.below(texts.len());
        let to = random.between(from as i64 + 1, texts.len() as i64) as usize;
        texts.insert(to, texts[from].clone());
    }
    let mut at_us = BEGIN_US;
    let mut planned = Vec::new();
    for (n, (op, subject, id)) in texts.into_iter().enumerate() {
        // bursts; what is not ours takes offsets as well
        at_us += if n % 4 == 3 { random.between(2_000_000, 60_000_000) } else { random.between(0, 20_000) };
        let foreign = if random.chance(0.2) { random.between(1, 3) } else { 0 };
        let record = record(op, &subject, &id, shard);
        planned.push(Planned { op, subject, id, at_us, foreign, record });
    }
    planned
}

fn record(op: Op, subject: &str, id: &str, shard: i32) -> OutRecord {
    let mut value = Vec::new();
    schemas::frame::begin(if op == Op::UnknownSchema { 7 } else { 1 }, &mut value);
    value.extend_from_slice(format!("{} {id}", op.name()).as_bytes());
    match op {
        Op::BadDatum => value[schemas::frame::HEAD] = 0xff,
        Op::Unframed => value.clear(),
        _ => {}
    }
    let key = match op {
        Op::NoSubject => None,
        Op::Foreign => Some(subjects((shard + 1) % SHARDS)[0].clone()),
        _ => Some(subject.into()),
    };
    let key = key.map(|key: Arc<str>| Bytes::copy_from_slice(key.as_bytes()));
    written(
        shard,
        key,
        value,
        &[(names::HEADER_CE_ID, id), (names::HEADER_CE_SOURCE, "test"), (names::HEADER_CE_TYPE, op.event_type())],
    )
}

fn written(shard: i32, key: Option<Bytes>, value: Vec<u8>, with: &[(&str, &str)]) -> OutRecord {
    let mut headers = HeaderList::builder(64);
    for (name, value) in with {
        headers.push(name, value.as_bytes());
    }
    let (value, headers) = (value.into(), headers.finish());
    OutRecord { topic: Topic::Events(0), shard, key, value, headers, timestamp_ms: None, trailer: false }
}

/// A record as a worker polls it.
pub(super) fn arrived(inlet: Inlet, offset: i64, record: &OutRecord) -> Arrived {
    let reader = settings().event_types["chain.do"].reader.full_name.as_str();
    let writer = match schemas::frame::split(&record.value) {
        Ok((1, _)) => Writer::Current(reader.into()),
        Ok((id, _)) => Writer::Unknown(id),
        Err(_) => Writer::Unframed,
    };
    let OutRecord { key, value, headers, timestamp_ms, .. } = record.clone();
    let Inlet { feed, shard } = inlet;
    Arrived { feed, shard, offset, appended_ms: timestamp_ms.unwrap_or_default(), key, value, headers, writer }
}

/// Subjects whose home is `shard`.
pub(super) fn subjects(shard: i32) -> Vec<Arc<str>> {
    static ALL: OnceLock<Vec<Vec<Arc<str>>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let of = |shard| {
            let names = (0..).map(|n| format!("s{n}")).filter(move |name| partition_of(name, SHARDS) == shard);
            names.take(SUBJECTS).map(Into::into).collect()
        };
        (0..SHARDS).map(of).collect()
    });
    all[shard as usize].clone()
}

/// Which of a shard's events take effect: the rule of the dedupe window, told once more.
pub(super) fn accepted(sent: &[Sent]) -> Vec<&Sent> {
    let mut minutes: HashMap<EventKey, i64> = HashMap::new();
    let mut horizon = 0;
    let mut accepted = Vec::new();
    for event in sent {
        horizon = horizon.max(event.appended_ms);
        let first = (horizon - WINDOW.as_millis() as i64).div_euclid(MINUTE_MS);
        if minutes.get(&event.key).is_some_and(|minute| *minute >= first) {
            continue;
        }
        minutes.insert(event.key, horizon.div_euclid(MINUTE_MS));
        accepted.push(event);
    }
    accepted
}
