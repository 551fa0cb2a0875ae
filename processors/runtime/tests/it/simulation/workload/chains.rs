//! The processor: folds every input into its subject's state and tells from where to where it went.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runtime::effects::{Effects, Error, Policy};
use runtime::processor::{Outcome, Timer};
use runtime::{Context, Decision, Processor, Reads, Refusal, Rejection, Rows};
use schemas::catalog::Retry;
use schemas::datum::{DecodeError, Union};

use super::{FLAKY_US, SHARDS, shards, subjects};

/// What timers are told as.
pub(in crate::simulation) const FIRED: &str = "timer";
/// What outcomes of effects are told as.
pub(in crate::simulation) const ENDED: &str = "outcome";
/// Row `child` lives this long.
pub(in crate::simulation) const CHILD_US: i64 = 20_000_000;
/// Rows of the range live this long, half of them.
const ITEM_US: i64 = 15_000_000;
/// Rows of the range that there may be.
const ITEMS: u8 = 5;
/// Subjects of the other stream.
const BOXES: u8 = 3;
/// Sorts of the range begin with it.
const ITEM: &str = "item/";
/// The effect there is.
const CALL: &str = "call";
/// Times that an outcome is not wanted yet: fewer than the attempts there are.
const REFUSALS: u32 = 6;
/// What another stream is sent.
pub(super) const MAIL: &str = "test.mail";
/// How long an attempt may take, with the engine's margin.
const LEASE: Duration = Duration::from_secs(8);

thread_local! {
    /// The process that decides now has ended.
    static DIED: Cell<bool> = const { Cell::new(false) };
}

/// True when the last step of a core ended its process.
pub(in crate::simulation) fn has_died() -> bool {
    DIED.take()
}

/// The state behind `what`, as the processor and the oracle count it.
pub(in crate::simulation) fn fold(state: &str, what: &str) -> String {
    blake3::hash(format!("{state}|{what}").as_bytes()).to_hex()[..10].to_owned()
}

/// What a result says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Told {
    pub(in crate::simulation) id: String,
    pub(in crate::simulation) before: String,
    pub(in crate::simulation) child: String,
    pub(in crate::simulation) after: String,
    pub(in crate::simulation) now: i64,
    /// What it does beside: a verb, a name and a third word, divided by spaces; nothing when it does nothing.
    /// `set`, `cleared` or `fired` a timer that is due then; `started`, `cancelled` or `ended` an effect, which brought that;
    /// `sent` an event to two subjects, `mailed` one to another stream; `put` a row until then, `dropped` it, `listed` what there is; `counted` in its shard
    /// (before, after and the brief row, divided by `>`) and saw what that has heard; `arranged` a timer of it; `broadcast`.
    pub(in crate::simulation) does: String,
}

impl Told {
    fn text(&self) -> Text {
        let Self { id, before, child, after, now, does } = self;
        Text(format!("{id}|{before}|{child}|{after}|{now}|{does}"))
    }

    pub(super) fn doing(self, does: String) -> Self {
        Self { does, ..self }
    }

    pub(in crate::simulation) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('|').map(ToOwned::to_owned).collect();
        let [id, before, child, after, now, does] = <[String; 6]>::try_from(parts).ok()?;
        Some(Self { id, before, child, after, now: now.parse().ok()?, does })
    }
}

/// Text that stands for every record here.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::simulation) struct Text(pub(in crate::simulation) String);

impl Union for Text {
    fn decode(_name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        String::from_utf8(datum.to_vec()).map(Text).map_err(|_| DecodeError::Invalid { what: "text", at: 0 })
    }

    fn name(&self) -> &str {
        if self.0.starts_with("mail ") { MAIL } else { "test.chain" }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// See the module.
#[derive(Default)]
pub(in crate::simulation) struct Chains {
    /// How often outcomes were not wanted, by effect: not even what the clock decides may go on for ever.
    refused: Mutex<HashMap<String, u32>>,
}

impl Chains {
    /// True when the outcome of `id` may be refused once more.
    fn may_refuse(&self, id: &str) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let times = refused.entry(id.to_owned()).or_default();
        *times += 1;
        *times <= REFUSALS
    }
}

impl Processor for Chains {
    const NAME: &'static str = "chains";
    type Input = Text;
    type Row = Text;
    type ResultEvent = Text;
    type SendEvent = Text;

    fn reads(&self, input: &Text) -> Reads {
        let reads = Subject::reads();
        match input.0.split_once(' ').unwrap() {
            ("list", _) => reads.range(ITEM, 2).range_after(ITEM, "item/1", 1),
            (op, id) => shards::reads(op, id, reads),
        }
    }

    fn timer_reads(&self, timer: &Timer) -> Reads {
        if shards::is_arranged(timer) { shards::arranged_reads(timer) } else { Subject::reads() }
    }

    fn outcome_reads(&self, _outcome: &Outcome) -> Reads {
        Subject::reads()
    }

    fn effects(&self) -> Effects {
        let retry = Retry { base_ms: 500, cap_ms: 4_000, attempts: 4, ..Retry::default() };
        let nobody = |_| async { Err(Error::Terminal("targets are simulated".into())) };
        Effects::default().with(CALL, Policy { lease: LEASE, retry, concurrency: 2, per_key: 1, ..Policy::default() }, nobody)
    }

    fn timer(&self, timer: Timer, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        if shards::is_arranged(&timer) {
            return Ok(shards::arranged(&timer, rows, ctx));
        }
        let Timer { name, due, .. } = timer;
        let subject = Subject::of(rows);
        let told = subject.told(FIRED, ctx).doing(format!("fired {name} {due}"));
        Ok(add(&told).put("timers", without(&subject.timers, &name)))
    }

    fn outcome(&self, outcome: Outcome, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let Outcome { id, result, .. } = outcome;
        let subject = Subject::of(rows);
        if is_stubborn(&id) {
            return Err(Rejection::Retry("the outcome is never wanted".into()));
        }
        if is_shy(&id) {
            if has(&subject.cancelled, &id) {
                return Ok(Decision::unchanged());
            }
            if ctx.now / 1_000_000 % 3 == 0 && self.may_refuse(&id) {
                return Err(Rejection::Retry("the outcome is not wanted yet".into()));
            }
        }
        let brought = result.map_or_else(|_| "nothing".into(), |brought| String::from_utf8_lossy(&brought).into_owned());
        let told = subject.told(ENDED, ctx).doing(format!("ended {id} {brought}"));
        Ok(add(&told).put("effects", without(&subject.effects, &id)))
    }

    fn decide(&self, input: Text, rows: &Rows<Text>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let (op, id) = input.0.split_once(' ').unwrap();
        let subject = Subject::of(rows);
        let told = subject.told(id, ctx);
        Ok(match op {
            "add" => add(&told),
            "two" => {
                let second = Subject { root: told.after.clone(), ..subject }.told(id, ctx);
                Decision::new().emit(told.text()).put("", Text(second.after.clone())).emit(second.text())
            }
            "delete" => Decision::new().delete("").emit(Told { after: String::new(), ..told }.text()),
            "child" => {
                let kept = Told { after: subject.root, ..told.clone() }.text();
                Decision::new().put_until("child", Text(told.after), ctx.now + CHILD_US).emit(kept)
            }
            "timer" => {
                // each copy that takes effect sets a timer of its own
                let name = format!("{id}@{}", ctx.append_time);
                let due = ctx.now + span_us(id);
                let timers = with(&subject.timers, &name);
                add(&told.doing(format!("set {name} {due}"))).put("timers", timers).set_timer(&name, due, "")
            }
            "clear" => match first(&subject.timers) {
                None => add(&told),
                Some(name) => {
                    let told = told.doing(format!("cleared {name} 0"));
                    add(&told).put("timers", without(&subject.timers, name)).clear_timer(name)
                }
            },
            "effect" => {
                let name = ctx.effect_id(0);
                let started = add(&told.doing(format!("started {name} 0"))).effect_for(CALL, &name[..1], name.clone());
                // nobody cancels what is not in the row
                let open = with(&without(&subject.effects, &name).0, &name);
                if is_stubborn(&name) { started } else { started.put("effects", open) }
            }
            "cancel" => match first(&subject.effects) {
                None => add(&told),
                Some(name) => {
                    let told = told.doing(format!("cancelled {name} 0"));
                    let (open, cancelled) = (without(&subject.effects, name), with(&subject.cancelled, name));
                    add(&told).put("effects", open).put("cancelled", cancelled).cancel_effect(name)
                }
            },
            "send" | "ring" | "mail" => sends(op, id, told, ctx),
            "item" | "drop" | "list" => ranges(op, id, told, rows),
            "count" | "broadcast" | "arrange" => shards::decide(op, id, told, rows, ctx),
            "hear" => shards::hear(id, rows, ctx),
            "heard-late" if ctx.now < ctx.append_time + FLAKY_US => return Err(Rejection::Retry("not yet".into())),
            "relay" | "heard" | "heard-late" => add(&told),
            "flaky" if ctx.now < ctx.append_time + FLAKY_US => return Err(Rejection::Retry("not yet".into())),
            "wait" if first(&subject.timers).is_some() => return Err(Rejection::Retry("a timer is set".into())),
            "flaky" | "wait" => add(&told),
            "never" => return Err(Rejection::Retry("never".into())),
            "unchanged" => Decision::unchanged(),
            "refuse" => return Err(Rejection::Refused(Refusal { code: "wrong_state", ..Refusal::default() })),
            "terminal" => return Err(Rejection::Terminal("never".into())),
            "killer" => {
                DIED.set(true);
                std::panic::resume_unwind(Box::new("dead"))
            }
            // no hook: a planted panic is no news
            _ => std::panic::resume_unwind(Box::new("planted")),
        })
    }
}

/// What sends to other subjects, of this stream or another.
fn sends(op: &str, id: &str, told: Told, ctx: &Context) -> Decision<Chains> {
    if op == "ring" {
        let next = next_of(&ctx.subject);
        return add(&told.doing(format!("rang {next} {id}"))).send(&next, Text(format!("ring {id}")));
    }
    if op == "mail" {
        let to = format!("box{}", hash(id, 6) % BOXES);
        return add(&told.doing(format!("mailed {to} {id}"))).send(&to, Text(format!("mail {id}/{}", ctx.subject)));
    }
    let (one, two) = (other(id, 0), other(id, 1));
    let relay = |n| Text(format!("relay {id}/{n}/{}", ctx.subject));
    add(&told.doing(format!("sent {one}+{two} {id}"))).send(&one, relay(0)).send(&two, relay(1))
}

/// What changes rows of the range, or looks at them.
fn ranges(op: &str, id: &str, told: Told, rows: &Rows<Text>) -> Decision<Chains> {
    let item = item_of(id);
    let (sort, until) = (format!("{ITEM}{item}"), told.now + ITEM_US);
    let row = || Text(id.to_owned());
    match op {
        "item" if is_short(id) => add(&told.doing(format!("put {item} {until}"))).put_until(&sort, row(), until),
        "item" => add(&told.doing(format!("put {item} {}", i64::MAX))).put(&sort, row()),
        "drop" => add(&told.doing(format!("dropped {item} 0"))).delete(&sort),
        _ => {
            let items = rows.range(ITEM).map(|(sort, row)| format!("{}={}", &sort[ITEM.len()..], row.0));
            add(&told.doing(format!("listed [{}] 0", items.collect::<Vec<_>>().join("+"))))
        }
    }
}

/// Takes the new state over and tells of it.
pub(super) fn add(told: &Told) -> Decision<Chains> {
    Decision::new().put("", Text(told.after.clone())).emit(told.text())
}

/// What `decide` sees of a subject.
struct Subject {
    root: String,
    child: String,
    /// Names of timers that are set.
    timers: String,
    /// Ids of effects that are open.
    effects: String,
    /// And of those that were cancelled.
    cancelled: String,
}

impl Subject {
    fn reads() -> Reads {
        Reads::root().row("child").row("timers").row("effects").row("cancelled")
    }

    fn of(rows: &Rows<Text>) -> Self {
        let row = |sort| rows.get(sort).map_or("", |row: &Text| &row.0).to_owned();
        Self { root: row(""), child: row("child"), timers: row("timers"), effects: row("effects"), cancelled: row("cancelled") }
    }

    /// What input `id` makes of it.
    fn told(&self, id: &str, ctx: &Context) -> Told {
        let after = fold(&fold(&self.root, &self.child), id);
        let (before, child) = (self.root.clone(), self.child.clone());
        Told { id: id.to_owned(), before, child, after, now: ctx.now, does: String::new() }
    }
}

fn first(names: &str) -> Option<&str> {
    names.split_whitespace().next()
}

fn has(names: &str, name: &str) -> bool {
    names.split_whitespace().any(|other| other == name)
}

fn with(names: &str, name: &str) -> Text {
    Text(format!("{names} {name}"))
}

fn without(names: &str, name: &str) -> Text {
    Text(names.split_whitespace().filter(|other| *other != name).collect::<Vec<_>>().join(" "))
}

/// Outcomes of these effects are not taken at any time. One that waits is no effect any more, so nothing but the
/// processor can know that it was cancelled.
pub(in crate::simulation) fn is_shy(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_digit())
}

/// Outcomes of these effects are never taken, and end as dead letters.
pub(in crate::simulation) fn is_stubborn(id: &str) -> bool {
    id.starts_with('f')
}

/// From a few seconds to beyond what the agenda keeps in memory.
pub(super) fn span_us(id: &str) -> i64 {
    3_000_000 + i64::from(blake3::hash(id.as_bytes()).as_bytes()[0]) * 700_000
}

fn hash(text: &str, at: usize) -> u8 {
    blake3::hash(text.as_bytes()).as_bytes()[at]
}

/// The row of the range that is meant, and whether it is to expire.
fn item_of(id: &str) -> u8 {
    hash(id, 2) % ITEMS
}

pub(in crate::simulation) fn is_short(id: &str) -> bool {
    hash(id, 3).is_multiple_of(2)
}

/// The subjects that a send goes to.
fn other(id: &str, nth: usize) -> String {
    let all = circle();
    all[usize::from(hash(id, 4 + nth)) % all.len()].to_string()
}

fn next_of(subject: &str) -> String {
    let all = circle();
    let at = all.iter().position(|other| **other == *subject).unwrap_or_default();
    all[(at + 1) % all.len()].to_string()
}

fn circle() -> Vec<Arc<str>> {
    (0..SHARDS).flat_map(subjects).collect()
}
