//! What the processor does with the rows and timers of its shard.

use std::sync::Arc;

use runtime::processor::Timer;
use runtime::{Context, Decision, Reads, Rows};
use schemas::partition::{SHARD_PREFIX, shard_subject};

use super::chains::{Chains, Text, Told, add, fold, is_short, span_us};
use super::{SHARDS, settings, subjects};

/// Sorts of what a shard was told, with how often.
pub(in crate::simulation) const HEARD: &str = "heard/";
/// Sorts of the timers of a shard that have fired, with when they did.
pub(in crate::simulation) const RUNG: &str = "rung/";
/// The row that each of those who count takes on.
const TALLY: &str = "tally";
/// A row that some of them leave for a while.
const BRIEF: &str = "brief";
/// It lives this long.
pub(in crate::simulation) const BRIEF_US: i64 = 10_000_000;

/// Names of timers of shards begin with it, and no others do.
const ARRANGED: &str = "shard-";

/// The subjects that shards are.
fn homes() -> impl Iterator<Item = Arc<str>> {
    (0..SHARDS).map(|shard| shard_subject(shard).into())
}

/// What readers look at: subjects, and the shard itself.
pub(in crate::simulation) fn shown(shard: i32) -> Vec<Arc<str>> {
    subjects(shard).into_iter().chain([shard_subject(shard).into()]).collect()
}

pub(super) fn is_arranged(timer: &Timer) -> bool {
    timer.name.starts_with(ARRANGED)
}

/// What an input asks for.
pub(super) fn reads(op: &str, id: &str, reads: Reads) -> Reads {
    match op {
        "count" => reads.shard_row(TALLY).shard_row(BRIEF).shard_range(HEARD, settings::HEARD_MAX),
        "hear" => Reads::none().row(&format!("{HEARD}{id}")),
        _ => reads,
    }
}

/// A subject's input that has to do with its shard.
pub(super) fn decide(op: &str, id: &str, told: Told, rows: &Rows<Text>, ctx: &Context) -> Decision<Chains> {
    match op {
        "count" => {
            let text = |sort| rows.shard(sort).map_or("", |row| row.0.as_str());
            let (before, brief) = (text(TALLY), text(BRIEF));
            let after = fold(before, id);
            let heard = rows.shard_range(HEARD).map(|(sort, row)| format!("{}={}", &sort[HEARD.len()..], row.0));
            let heard = heard.collect::<Vec<_>>().join("+");
            let until = told.now + BRIEF_US;
            let counted = add(&told.doing(format!("counted {before}>{after}>{brief} [{heard}]")));
            let counted = counted.put_in_shard(TALLY, Text(after));
            if is_short(id) { counted.put_in_shard_until(BRIEF, Text(id.to_owned()), until) } else { counted }
        }
        "arrange" => {
            let name = format!("{ARRANGED}{id}@{}", ctx.append_time);
            let due = ctx.now + span_us(id);
            add(&told.doing(format!("arranged {name} {due}"))).set_shard_timer(&name, due, "")
        }
        _ => {
            let to = homes().map(|home| home.to_string()).collect::<Vec<_>>().join("+");
            add(&told.doing(format!("broadcast {to} {id}"))).broadcast(Text(format!("hear {id}/{}", ctx.subject)))
        }
    }
}

/// The shard is told something, and counts how often.
pub(super) fn hear(id: &str, rows: &Rows<Text>, ctx: &Context) -> Decision<Chains> {
    assert!(ctx.subject.starts_with(SHARD_PREFIX), "{} hears what is for shards", ctx.subject);
    let sort = format!("{HEARD}{id}");
    let before: u32 = rows.get(&sort).map_or(0, |row| row.0.parse().unwrap());
    Decision::new().put(&sort, Text((before + 1).to_string()))
}

pub(super) fn arranged_reads(timer: &Timer) -> Reads {
    Reads::none().row(&format!("{RUNG}{}", timer.name))
}

/// A timer of the shard fires: each time is kept.
pub(super) fn arranged(timer: &Timer, rows: &Rows<Text>, ctx: &Context) -> Decision<Chains> {
    let sort = format!("{RUNG}{}", timer.name);
    let before = rows.get(&sort).map_or("", |row| &row.0);
    Decision::new().put(&sort, Text(format!("{before} {}", ctx.now)))
}
