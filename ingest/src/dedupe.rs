//! Stage *dedupe*: which events of a request are sent. Best effort and never wrong; the processors are the authority (E6).

use std::collections::HashMap;
use std::time::Duration;

use metrics::counter;

use schemas::key::EventKey;
use schemas::plan::code;

use crate::arena::Record;
use crate::fault::finding;
use crate::metrics::{DEDUPE_EVICTIONS, DEDUPE_HITS};
use crate::send::{LOG_RETRY_MS, SOON_MS, Work, now_ms, receipt};
use crate::verdict::{Invalid, Position, Retry, Verdict};
use crate::window::{Claim, Window};

/// A partition that has records in flight and acknowledged none for this long takes no more of them. It is its own probe:
/// when those records are acknowledged or given up, the next ones are sent.
const SILENCE: Duration = Duration::from_secs(3);

/// What is to be done with an event after the dedupe.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// It has its verdict.
    Done,
    /// The same event stands earlier in the request.
    Repeats(usize),
    /// To be sent, with this slot of the acks.
    Send(usize),
}

/// Claims of the request's events; what is not settled when this is dropped is released, so no key stays in flight.
pub(crate) struct Claims<'w> {
    window: &'w Window<Position>,
    open: HashMap<usize, EventKey>,
}

impl<'w> Claims<'w> {
    /// None yet.
    pub(crate) fn new(window: &'w Window<Position>) -> Self {
        Self { window, open: HashMap::new() }
    }

    /// The record of this slot was acknowledged.
    pub(crate) fn settle(&mut self, slot: usize, at: Position, now_ms: i64) {
        if let Some(key) = self.open.remove(&slot) {
            let evicted = self.window.settle(key, at, now_ms);
            if evicted > 0 {
                counter!(DEDUPE_EVICTIONS).increment(evicted as u64);
            }
        }
    }

    /// The record of this slot failed, or its outcome was lost.
    pub(crate) fn release(&mut self, slot: usize) {
        if let Some(key) = self.open.remove(&slot) {
            self.window.release(key);
        }
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for key in self.open.values() {
            self.window.release(*key);
        }
    }
}

/// What was seen of the request so far.
struct Seen {
    /// First event and fingerprint by key.
    keys: HashMap<EventKey, (usize, u64)>,
    /// Per partition whether it takes records; asked once, so that a request does not change its mind between two events (E5).
    silent: Vec<Option<bool>>,
    now_ms: i64,
}

/// Decides for every event whether it is sent; gives those that are not their verdict, except repeats.
pub(crate) fn dedupe(work: &mut Work, claims: &mut Claims<'_>) -> Vec<Fate> {
    let partitions = usize::try_from(work.stream.partitions).unwrap_or_default();
    let mut seen = Seen { keys: HashMap::new(), silent: vec![None; partitions], now_ms: now_ms() };
    let mut fates = Vec::with_capacity(work.arena.events.len());
    let mut slots = 0;
    for index in 0..work.arena.events.len() {
        let fate = match fate(work, index, &mut seen) {
            Ok(None) => {
                let slot = slots;
                slots += 1;
                if let Ok(record) = &work.arena.events[index].record
                    && record.repeatable
                {
                    claims.open.insert(slot, work.stream.window_key(record.key));
                }
                Fate::Send(slot)
            }
            Ok(Some(first)) => {
                counter!(DEDUPE_HITS, "by" => "request").increment(1);
                Fate::Repeats(first)
            }
            Err(verdict) => {
                work.arena.events[index].verdict = Some(verdict);
                Fate::Done
            }
        };
        fates.push(fate);
    }
    fates
}

/// `Ok(None)`: send it. `Ok(Some(first))`: it repeats that one. `Err`: its verdict.
fn fate(work: &Work, index: usize, seen: &mut Seen) -> Result<Option<usize>, Verdict> {
    let event = &work.arena.events[index];
    let record = event.record.as_ref().map_err(|fault| Verdict::Invalid(fault.clone()))?;
    if work.withheld {
        return Err(Verdict::Retry { reason: Retry::Withheld, after_ms: 0 });
    }
    let fingerprint = fingerprint(work, index, record);
    if record.repeatable
        && let Some((first, print)) = seen.keys.get(&record.key)
    {
        return if *print == fingerprint { Ok(Some(*first)) } else { Err(reused(work, index)) };
    }
    if seen.is_silent(work, record.partition) {
        return Err(Verdict::Retry { reason: Retry::LogUnavailable, after_ms: LOG_RETRY_MS });
    }
    if !record.repeatable {
        return Ok(None);
    }
    seen.keys.insert(record.key, (index, fingerprint));
    match work.edge.window.claim(work.stream.window_key(record.key), fingerprint, seen.now_ms) {
        Claim::New => Ok(None),
        Claim::InFlight => Err(Verdict::Retry { reason: Retry::InProgress, after_ms: SOON_MS }),
        Claim::Reused => Err(reused(work, index)),
        Claim::Duplicate { first, seen_ms } => {
            counter!(DEDUPE_HITS, "by" => "window").increment(1);
            let receipt = receipt(work, index, record, Some(first.offset), seen_ms);
            Err(Verdict::Duplicate { at: first, receipt, first_seen: Some(seen_ms), duplicate_of: None })
        }
    }
}

impl Seen {
    fn is_silent(&mut self, work: &Work, partition: i32) -> bool {
        let asked = || work.edge.producer.progress().silence(&work.stream.topic, partition) >= SILENCE;
        match usize::try_from(partition).ok().and_then(|partition| self.silent.get_mut(partition)) {
            Some(known) => *known.get_or_insert_with(asked),
            None => asked(),
        }
    }
}

fn fingerprint(work: &Work, index: usize, record: &Record) -> u64 {
    let event = &work.arena.events[index];
    let kind = event.kind.and_then(|kind| work.stream.kinds.get(kind)).map_or("", |kind| kind.ce_type.as_str());
    let subject = event.subject.map_or(&[][..], |subject| work.arena.get(subject));
    work.edge.window.fingerprint(&[kind.as_bytes(), subject, work.arena.get(record.value)])
}

fn reused(work: &Work, index: usize) -> Verdict {
    let id = work.arena.events[index].id.map_or("", |id| work.arena.text(id));
    let message = "this id was used before for an event with other content";
    Verdict::invalid(Invalid::IdReused, finding("/id", code::BAD_FORMAT, "", id, message))
}
