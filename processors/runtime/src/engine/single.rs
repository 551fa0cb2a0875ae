//! Inputs that end the process: after owners that died without a commit, what they may have died over is announced in the
//! log and tried alone. One that dies each time is a dead letter nobody looks at again.

use super::assignment::Assignment;
use super::due::Due;
use super::input::Arrived;
use super::log::{Trying, WriterId, process_of};
use super::recover::Claimed;
use super::settings::{Limits, Settings};

/// Source of what the agenda holds.
const AGENDA: &str = "agenda";

/// How the only input of a batch is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// It is announced, and decided.
    Tried,
    /// It ended the process this often.
    Condemned(i32),
}

/// A shard's inputs under suspicion.
#[derive(Debug)]
pub struct Single {
    /// Inputs until it is over.
    left: usize,
    /// Records up to this append time (ms, the broker's) were there when the shard was claimed.
    until_ms: i64,
    /// And items that were due up to then (µs, the own clock).
    until_us: i64,
    /// The last input that was announced and led to no frame.
    last: Option<Trying>,
    /// This owner has announced it.
    announced: bool,
}

impl Single {
    /// What claims without a frame behind them say to an owner who claims the shard at `now` (µs). Those of its own process
    /// say nothing: it lives.
    #[must_use]
    pub fn after(claims: &[Claimed], own: &WriterId, limits: &Limits, now: i64) -> Option<Self> {
        let others: Vec<_> = claims.iter().filter(|claim| process_of(&claim.writer) != process_of(own)).collect();
        let last = others.iter().rev().find_map(|claim| claim.trying.clone());
        (last.is_some() || others.len() >= limits.single_claims).then_some(Self {
            left: limits.single_inputs,
            until_ms: i64::MIN,
            until_us: now,
            last,
            announced: false,
        })
    }

    /// The shard's claim is in the log since then, ms. What came later met nobody who died.
    pub fn claimed(&mut self, appended_ms: i64) {
        self.until_ms = appended_ms;
    }

    /// Takes over that `input` is announced.
    pub fn announced(&mut self, input: Trying) {
        self.last = Some(input);
        self.announced = true;
    }

    /// A frame of the shard was committed: whatever was announced did not end the process. True when nothing is suspect any more.
    pub fn is_over_after_frame(&mut self) -> bool {
        self.last = None;
        if std::mem::take(&mut self.announced) {
            self.left = self.left.saturating_sub(1);
        }
        self.left == 0
    }

    /// How `input` is met; none when it must be announced first, as it is then.
    fn meet(&self, input: &mut Trying, limits: &Limits) -> Option<Alone> {
        let before = self.last.as_ref().filter(|last| {
            (&last.source, last.offset, &last.id) == (&input.source, input.offset, &input.id) //
        });
        input.tries = before.map_or(0, |last| last.tries);
        if self.announced && before.is_some() {
            return Some(Alone::Tried);
        }
        if input.tries >= limits.single_tries {
            return Some(Alone::Condemned(input.tries));
        }
        input.tries += 1;
        None
    }
}

/// The first of the next inputs that must be met alone.
pub enum Suspect {
    /// Others come before it: so many.
    Behind(usize),
    /// It is the first, and it is announced.
    First(Alone),
    /// It is the first, and must be announced in the log of its shard.
    Unannounced(i32, Trying),
}

/// Looks for a suspect among what comes next.
pub fn suspect<'a>(
    assignment: &Assignment,
    due: &[Due],
    records: impl Iterator<Item = &'a Arrived>,
    settings: &Settings,
) -> Option<Suspect> {
    if assignment.shards.values().all(|shard| shard.single.is_none()) {
        return None;
    }
    let single = |shard: &i32| assignment.shards.get(shard)?.single.as_ref();
    let due = due.iter().map(|due| match due {
        // the item of a held subject moves with every step of it
        Due::Entry { shard, key, ended: None, .. } => {
            let single = single(shard).filter(|single| key.due <= single.until_us || key.id.starts_with("h/"))?;
            let id = Some(key.id.to_string());
            Some((*shard, single, Trying { source: AGENDA.to_owned(), offset: key.due, id, tries: 0 }))
        }
        Due::Entry { .. } | Due::Inputs(_) => None,
    });
    let records = records.map(|record| {
        let single = single(&record.shard).filter(|single| record.appended_ms <= single.until_ms)?;
        let source = settings.topic(record.feed).to_string();
        Some((record.shard, single, Trying { source, offset: record.offset, id: None, tries: 0 }))
    });
    let (at, (shard, single, mut input)) = due.chain(records).enumerate().find_map(|(at, found)| Some((at, found?)))?;
    if at > 0 {
        return Some(Suspect::Behind(at));
    }
    Some(match single.meet(&mut input, &settings.limits) {
        Some(alone) => Suspect::First(alone),
        None => Suspect::Unannounced(shard, input),
    })
}
