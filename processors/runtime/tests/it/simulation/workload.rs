//! What is sent, what the processor makes of it, and what must come of each event.

mod chains;
mod settings;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use runtime::engine::dedupe::MINUTE_MS;
use runtime::engine::headers::HeaderList;
use runtime::engine::input::{Arrived, Feed, Writer};
use schemas::key::EventKey;
use schemas::names;
use schemas::partition::partition_of;

pub(super) use self::chains::{CHILD_US, Chains, Told, fold};
use self::settings::settings;
pub(super) use self::settings::settings_of;
use super::random::Random;

/// Shards of the stream: one transaction covers all that a worker has.
pub(super) const SHARDS: i32 = 2;
/// Subjects of each shard.
const SUBJECTS: usize = 2;
/// Events of each shard, copies not counted.
const EVENTS: usize = 14;
/// The dedupe window: short, so that some copies come after it.
const WINDOW: Duration = Duration::from_secs(120);
/// Inputs that are tried again succeed this long after they came.
const FLAKY_US: i64 = 3_000_000;
/// When a run begins: any time will do.
pub(super) const BEGIN_US: i64 = 1_700_000_000_000_000;

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Folds itself into the subject's state.
    Add,
    /// The same twice, with two results.
    Two,
    /// Deletes the state.
    Delete,
    /// Sets a second row that lives for a while, and leaves the state alone.
    Child,
    /// Is fine and changes nothing.
    Unchanged,
    Refuse,
    /// Sets a timer.
    Timer,
    /// Clears the oldest timer of the subject.
    Clear,
    /// Starts an effect.
    Effect,
    /// Cancels the oldest open effect of the subject.
    Cancel,
    /// Is tried again for a while; later ones wait behind it.
    Flaky,
    /// Is tried again for a while; later ones pass.
    Loose,
    /// Is tried again until the subject has no timer: those pass it.
    Wait,
    /// Is tried again in vain.
    Never,
    Terminal,
    Panic,
    /// Value without a frame.
    Unframed,
    /// Schema nobody knows.
    UnknownSchema,
    /// Datum that cannot be read.
    BadDatum,
    /// On a partition its key does not name.
    Foreign,
    /// Without a key.
    NoSubject,
}

impl Op {
    const WEIGHTED: &[(Self, usize)] = &[
        (Self::Add, 30),
        (Self::Two, 8),
        (Self::Delete, 14),
        (Self::Child, 14),
        (Self::Unchanged, 6),
        (Self::Refuse, 8),
        (Self::Timer, 22),
        (Self::Clear, 8),
        (Self::Effect, 16),
        (Self::Cancel, 5),
        (Self::Flaky, 10),
        (Self::Loose, 8),
        (Self::Wait, 6),
        (Self::Never, 3),
        (Self::Terminal, 3),
        (Self::Panic, 3),
        (Self::Unframed, 2),
        (Self::UnknownSchema, 2),
        (Self::BadDatum, 2),
        (Self::Foreign, 2),
        (Self::NoSubject, 2),
    ];

    fn random(random: &mut Random) -> Self {
        let mut at = random.below(Self::WEIGHTED.iter().map(|(_, weight)| weight).sum());
        for (op, weight) in Self::WEIGHTED {
            if at < *weight {
                return *op;
            }
            at -= weight;
        }
        Self::Add
    }

    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Two => "two",
            Self::Delete => "delete",
            Self::Child => "child",
            Self::Unchanged => "unchanged",
            Self::Refuse => "refuse",
            Self::Timer => "timer",
            Self::Clear => "clear",
            Self::Effect => "effect",
            Self::Cancel => "cancel",
            Self::Flaky | Self::Loose => "flaky",
            Self::Wait => "wait",
            Self::Never => "never",
            Self::Terminal => "terminal",
            Self::Panic => "panic",
            Self::Unframed | Self::UnknownSchema | Self::BadDatum | Self::Foreign | Self::NoSubject => "poison",
        }
    }

    /// Its event type, which says whether later ones wait and how often it is tried.
    fn event_type(self) -> &'static str {
        match self {
            Self::Loose => "chain.pass",
            Self::Never => "chain.brief",
            _ => "chain.do",
        }
    }

    /// Results it has.
    pub(super) fn results(self) -> usize {
        match self {
            Self::Add | Self::Delete | Self::Child | Self::Refuse | Self::Timer | Self::Clear => 1,
            Self::Effect | Self::Cancel | Self::Flaky | Self::Loose | Self::Wait => 1,
            Self::Two => 2,
            _ => 0,
        }
    }

    /// Reason of its dead letter.
    pub(super) fn dead(self) -> Option<&'static str> {
        match self {
            Self::Terminal => Some("terminal"),
            Self::Never => Some("retries_exhausted"),
            Self::Panic => Some("panic"),
            Self::Unframed | Self::BadDatum => Some("undecodable"),
            Self::UnknownSchema => Some("unknown_schema"),
            Self::Foreign => Some("wrong_partition"),
            Self::NoSubject => Some("no_subject"),
            _ => None,
        }
    }
}

/// One record of `chains.events`.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) op: Op,
    pub(super) subject: Arc<str>,
    pub(super) key: EventKey,
    pub(super) at_us: i64,
    pub(super) record: Arrived,
}

/// All events, per shard in offset order.
pub(super) fn events(random: &mut Random) -> Vec<Vec<Sent>> {
    (0..SHARDS).map(|shard| of_shard(shard, random)).collect()
}

fn of_shard(shard: i32, random: &mut Random) -> Vec<Sent> {
    let subjects: Vec<Arc<str>> = subjects(shard);
    let mut texts: Vec<(Op, Arc<str>, String)> = Vec::new();
    for n in 0..EVENTS {
        texts.push((Op::random(random), random.pick(&subjects).clone(), format!("{shard}.{n}")));
    }
    // copies come later: most inside the window, some behind it
    for _ in 0..EVENTS / 4 {
        let from = random.below(texts.len());
        let to = random.between(from as i64 + 1, texts.len() as i64) as usize;
        texts.insert(to, texts[from].clone());
    }
    let (mut at, mut offset) = (BEGIN_US, 0);
    let mut sent = Vec::new();
    for (n, (op, subject, id)) in texts.into_iter().enumerate() {
        // bursts; what is not ours takes offsets as well
        at += if n % 4 == 3 { random.between(2_000_000, 60_000_000) } else { random.between(0, 20_000) };
        offset += if random.chance(0.2) { random.between(2, 4) } else { 1 };
        // the broker's clock is not steady
        let appended_ms = at / 1_000 - random.between(0, 3_000);
        let record = record(op, &subject, &id, shard, offset, appended_ms);
        sent.push(Sent { op, subject, key: EventKey::of("test", &id, None), at_us: at, record });
    }
    sent
}

fn record(op: Op, subject: &str, id: &str, shard: i32, offset: i64, appended_ms: i64) -> Arrived {
    let settings = settings();
    let mut headers = HeaderList::builder(64);
    headers.push(names::HEADER_CE_ID, id.as_bytes());
    headers.push(names::HEADER_CE_SOURCE, b"test");
    headers.push(names::HEADER_CE_TYPE, op.event_type().as_bytes());
    let mut value = Vec::new();
    schemas::frame::begin(1, &mut value);
    value.extend_from_slice(format!("{} {id}", op.name()).as_bytes());
    if op == Op::BadDatum {
        value.truncate(schemas::frame::HEAD);
        value.push(0xff);
    }
    let record = settings.event_types["chain.do"].reader.full_name.as_str();
    let writer = match op {
        Op::Unframed => Writer::Unframed,
        Op::UnknownSchema => Writer::Unknown(7),
        _ => Writer::Current(record.into()),
    };
    let key = match op {
        Op::NoSubject => None,
        Op::Foreign => Some(subjects((shard + 1) % SHARDS)[0].clone()),
        _ => Some(subject.into()),
    };
    let key = key.map(|key: Arc<str>| Bytes::copy_from_slice(key.as_bytes()));
    Arrived { feed: Feed::EVENTS, shard, offset, appended_ms, key, value: value.into(), headers: headers.finish(), writer }
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
        horizon = horizon.max(event.record.appended_ms);
        let first = (horizon - WINDOW.as_millis() as i64).div_euclid(MINUTE_MS);
        if minutes.get(&event.key).is_some_and(|minute| *minute >= first) {
            continue;
        }
        minutes.insert(event.key, horizon.div_euclid(MINUTE_MS));
        accepted.push(event);
    }
    accepted
}
