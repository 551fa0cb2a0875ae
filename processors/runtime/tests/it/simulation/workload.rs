//! What is sent, what the processor makes of it, and what must come of each event.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use runtime::engine::dedupe::MINUTE_MS;
use runtime::engine::headers::HeaderList;
use runtime::engine::input::{Arrived, Feed, Writer};
use runtime::engine::settings::{EngineIds, EventSpec, Limits, Settings};
use runtime::processor::Timer;
use runtime::{Context, Decision, Processor, Reads, Refusal, Rejection, Rows};
use schemas::catalog::{Catalog, HeaderStyle, Ordering, Retry, Tracking};
use schemas::datum::{DecodeError, Union};
use schemas::key::EventKey;
use schemas::names;
use schemas::partition::partition_of;

use super::plan::{Plan, stream};
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
/// What timers are told as.
pub(super) const FIRED: &str = "timer";
/// Row `child` lives this long.
pub(super) const CHILD_US: i64 = 20_000_000;
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
            Self::Flaky | Self::Loose | Self::Wait => 1,
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

/// The state behind `what`, as the processor and the oracle count it.
pub(super) fn fold(state: &str, what: &str) -> String {
    blake3::hash(format!("{state}|{what}").as_bytes()).to_hex()[..10].to_owned()
}

/// What a result says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) before: String,
    pub(super) child: String,
    pub(super) after: String,
    pub(super) now: i64,
    /// What it does to a timer: `set`, `cleared` or `fired`, its name and when it is due.
    pub(super) timer: String,
}

impl Told {
    fn text(&self) -> Text {
        let Self { id, before, child, after, now, timer } = self;
        Text(format!("{id}|{before}|{child}|{after}|{now}|{timer}"))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('|').map(ToOwned::to_owned).collect();
        let [id, before, child, after, now, timer] = <[String; 6]>::try_from(parts).ok()?;
        Some(Self { id, before, child, after, now: now.parse().ok()?, timer })
    }
}

/// Text that stands for every record here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text(pub(super) String);

impl Union for Text {
    fn decode(_name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        String::from_utf8(datum.to_vec()).map(Text).map_err(|_| DecodeError::Invalid { what: "text", at: 0 })
    }

    fn name(&self) -> &str {
        "test.chain"
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// Folds every event into its subject's state and tells from where to where it went.
pub(super) struct Chains;

impl Processor for Chains {
    const NAME: &'static str = "chains";
    type Input = Text;
    type Row = Text;
    type ResultEvent = Text;
    type SendEvent = Text;

    fn reads(&self, _input: &Text) -> Reads {
        Reads::root().row("child").row("timers")
    }

    fn timer_reads(&self, _timer: &Timer) -> Reads {
        Reads::root().row("child").row("timers")
    }

    fn timer(&self, timer: Timer, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let Timer { name, due, .. } = timer;
        let subject = Subject::of(rows);
        let mut told = subject.told(FIRED, ctx, true);
        told.timer = format!("fired {name} {due}");
        let left = subject.timers.split_whitespace().filter(|other| *other != name).collect::<Vec<_>>().join(" ");
        Ok(Decision::new().put("", Text(told.after.clone())).put("timers", Text(left)).emit(told.text()))
    }

    fn decide(&self, input: Text, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let (op, id) = input.0.split_once(' ').unwrap();
        let subject = Subject::of(rows);
        let told = subject.told(id, ctx, true);
        let add = |told: Told| Decision::new().put("", Text(told.after.clone())).emit(told.text());
        Ok(match op {
            "add" => add(told),
            "two" => {
                let second = Subject { root: told.after.clone(), ..subject }.told(id, ctx, true);
                Decision::new().emit(told.text()).put("", Text(second.after.clone())).emit(second.text())
            }
            "delete" => Decision::new().delete("").emit(Told { after: String::new(), ..told }.text()),
            "child" => {
                let kept = subject.told(id, ctx, false).text();
                Decision::new().put_until("child", Text(told.after), ctx.now + CHILD_US).emit(kept)
            }
            "timer" => {
                // each copy that takes effect sets a timer of its own
                let name = format!("{id}@{}", ctx.append_time);
                let due = ctx.now + span_us(id);
                let timers = Text(format!("{} {name}", subject.timers));
                add(Told { timer: format!("set {name} {due}"), ..told }).put("timers", timers).set_timer(&name, due, "")
            }
            "clear" => match subject.timers.split_whitespace().next() {
                None => add(told),
                Some(name) => {
                    let left = subject.timers.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
                    add(Told { timer: format!("cleared {name} 0"), ..told }).put("timers", Text(left)).clear_timer(name)
                }
            },
            "flaky" if ctx.now < ctx.append_time + FLAKY_US => return Err(Rejection::Retry("not yet".into())),
            "wait" if !subject.timers.trim().is_empty() => return Err(Rejection::Retry("a timer is set".into())),
            "flaky" | "wait" => add(told),
            "never" => return Err(Rejection::Retry("never".into())),
            "unchanged" => Decision::unchanged(),
            "refuse" => return Err(Rejection::Refused(Refusal { code: "wrong_state", ..Refusal::default() })),
            "terminal" => return Err(Rejection::Terminal("never".into())),
            // no hook: a planted panic is no news
            _ => std::panic::resume_unwind(Box::new("planted")),
        })
    }
}

/// What `decide` sees of a subject.
struct Subject {
    root: String,
    child: String,
    timers: String,
}

impl Subject {
    fn of(rows: &Rows<Text>) -> Self {
        let row = |sort| rows.get(sort).map_or("", |row: &Text| &row.0).to_owned();
        Self { root: row(""), child: row("child"), timers: row("timers") }
    }

    /// What input `id` makes of it, or that it leaves it alone.
    fn told(&self, id: &str, ctx: &Context, changes: bool) -> Told {
        let after = if changes { fold(&fold(&self.root, &self.child), id) } else { self.root.clone() };
        let (before, child) = (self.root.clone(), self.child.clone());
        Told { id: id.to_owned(), before, child, after, now: ctx.now, timer: String::new() }
    }
}

/// From a few seconds to beyond what the agenda keeps in memory.
fn span_us(id: &str) -> i64 {
    3_000_000 + i64::from(blake3::hash(id.as_bytes()).as_bytes()[0]) * 700_000
}

/// The stream's settings, without rules that a plan takes away.
pub(super) fn settings() -> &'static Settings {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        // any record will do: the processor reads its bytes as text
        let reader = Catalog::embedded().unwrap().event("flight.departed").unwrap().1.schema.clone();
        let record = reader.full_name.clone();
        let event = EventSpec {
            name: "chain.do".into(),
            reader,
            tracking: Tracking::All,
            ordering: Ordering::Strict,
            retry: Retry { base_ms: 500, cap_ms: 4_000, attempts: 1_000, ..Retry::default() },
        };
        let pass = EventSpec { name: "chain.pass".into(), ordering: Ordering::Relaxed, ..event.clone() };
        let brief = EventSpec { name: "chain.brief".into(), retry: Retry { attempts: 3, ..event.retry }, ..event.clone() };
        let event_types = [event, pass, brief].map(|event| (event.name.to_string(), event));
        let limits = Limits { batch_inputs: 6, backlog_frames: 4, cache_bytes: 600, dedupe_window: WINDOW, ..Limits::default() };
        Settings {
            stream: stream(),
            events: "chains.events".into(),
            partitions: SHARDS,
            headers: HeaderStyle::CloudEvents,
            event_types: event_types.into(),
            event_names: [(1, record.as_str().into())].into(),
            by_record: [(record, "chain.do".into())].into(),
            follows: Vec::new(),
            results: [("test.chain".to_owned(), 3), ("chain.rejected".to_owned(), 4)].into(),
            rows: [("test.chain".to_owned(), 2)].into(),
            targets: Vec::new(),
            sends: HashMap::new(),
            effects: Vec::new(),
            row_readers: HashMap::new(),
            row_names: [(2, "test.chain".into())].into(),
            engine: EngineIds { data: 10, trailer: 11, claim: 12 },
            limits,
            rules: runtime::engine::rules::Rules::all(),
        }
    })
}

/// The settings of one run.
pub(super) fn settings_of(plan: &Plan) -> Arc<Settings> {
    Arc::new(Settings { rules: plan.rules, ..settings().clone() })
}
