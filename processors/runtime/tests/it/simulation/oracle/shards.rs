//! Rows of a shard: those who count there take on from each other, whatever their subjects; what shards are told counts
//! once in each; timers of a shard fire once, and never early.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemas::frame;
use schemas::partition::shard_subject;

use super::log::Cells;
use crate::simulation::store::Key;
use crate::simulation::workload::{BRIEF_US, HEARD, HEARD_MAX, Op, RUNG, Sent, Told, fold, is_short};
use crate::simulation::world::Shared;

/// A shard as results tell of it.
#[derive(Default)]
pub(super) struct Home {
    tally: String,
    /// What somebody has left there, and when it ends.
    brief: Option<(String, i64)>,
    /// What was seen of what it was told, and how often.
    heard: BTreeMap<String, i64>,
    /// Timers that were set, and when they are due.
    timers: BTreeMap<String, i64>,
}

impl Home {
    /// A result on the shard tells that somebody counts there or sets a timer of it.
    pub(super) fn told(&mut self, shared: &Shared, told: &Told, (verb, name, third): (&str, &str, &str)) {
        if verb == "arranged" {
            self.timers.insert(name.to_owned(), third.parse().unwrap_or(i64::MAX));
            return;
        }
        let brief = self.brief.as_ref().filter(|(_, until)| *until > told.now).map_or("", |(id, _)| id);
        let after = fold(&self.tally, &told.id);
        let expected = format!("{}>{after}>{brief}", self.tally);
        if name != expected {
            shared.violation("shard-rows", || format!("{expected} expected, told {told:?}"));
        }
        if is_short(&told.id) {
            self.brief = Some((told.id.clone(), told.now + BRIEF_US));
        }
        self.tally = name.split('>').nth(1).unwrap_or_default().to_owned();
        let heard = third.trim_matches(['[', ']']).split('+').filter_map(|heard| heard.split_once('='));
        let heard: BTreeMap<_, _> = heard.map(|(what, times)| (what.to_owned(), times.parse().unwrap_or(0))).collect();
        // a look sees the first few; what was seen and is behind the last of them now says nothing
        let full = heard.len() >= HEARD_MAX;
        let last = heard.keys().next_back().filter(|_| full).cloned();
        let within = |what: &String| last.as_ref().is_none_or(|last| what <= last);
        for (what, times) in self.heard.iter().filter(|(what, _)| within(what)) {
            if heard.get(what).is_none_or(|now| now < times) {
                shared.violation("shard-rows", || format!("{what} was heard {times} times before {told:?}"));
            }
        }
        self.heard.extend(heard);
    }

    /// What must be true in the end; `cells` is what the log says.
    pub(super) fn judge(self, shared: &Shared, shard: i32, accepted: &[&Sent], cells: &Cells) {
        let home: Arc<str> = shard_subject(shard).into();
        let rows = |prefix: &str| -> BTreeMap<String, String> {
            let of_home = cells.iter().filter_map(|(key, cell)| match key {
                Key::Row(_, subject, sort) if *subject == home => Some((sort.strip_prefix(prefix)?, cell.val.as_ref()?)),
                _ => None,
            });
            of_home.map(|(sort, val)| (sort.to_owned(), String::from_utf8_lossy(&val[frame::HEAD..]).into_owned())).collect()
        };
        let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
        for event in accepted.iter().filter(|event| event.op == Op::Hear && event.dead().is_none()) {
            *wanted.entry(event.text.clone()).or_default() += 1;
        }
        let heard: BTreeMap<_, _> = rows(HEARD).into_iter().map(|(what, times)| (what, times.parse().unwrap_or(0))).collect();
        if heard != wanted {
            shared.violation("broadcast", || format!("shard {shard} was told {wanted:?}, and has heard {heard:?}"));
        }
        if let Some((what, times)) = self.heard.iter().find(|(what, times)| heard.get(*what).is_none_or(|all| all < times)) {
            shared
                .violation("broadcast", || format!("{what} was seen {times} times in shard {shard}, which has heard {heard:?}"));
        }
        let mut rung = rows(RUNG);
        for (timer, due) in self.timers {
            let times = rung.remove(&timer).unwrap_or_default();
            match times.split_whitespace().collect::<Vec<_>>()[..] {
                [at] if at.parse().is_ok_and(|at: i64| at >= due) => {}
                [_] => shared.violation("early-timer", || format!("{timer} of shard {shard} fired at {times}, due at {due}")),
                [] => shared.violation("lost-timer", || format!("{timer} of shard {shard}, due at {due}")),
                _ => shared.violation("dup-timer", || format!("{timer} of shard {shard} fired at {times}")),
            }
        }
        if !rung.is_empty() {
            shared.violation("dup-timer", || format!("nobody set {rung:?} of shard {shard}"));
        }
    }
}
