//! C1: every event below the position was taken up once, is a duplicate of one that was, or is too old to tell.

use std::collections::BTreeMap;

use schemas::key::EventKey;

use super::book::{Accepted, Book};
use super::report::{Check, Counts, Finding, Findings};
use crate::engine::dedupe::MINUTE_MS;
use crate::engine::input::{Arrived, Envelope, Feed, Writer};
use crate::source::{Record, Span};

/// Events whose lifecycle is asked for, per shard and pass.
const RECEIPTS: usize = 32;

/// An event whose lifecycle is to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Sampled {
    pub(crate) offset: i64,
    pub(crate) appended_ms: i64,
    pub(crate) event_type: Option<String>,
}

/// What became of an event, by the log.
enum Fate {
    Effect,
    Duplicate,
    TwiceInWindow,
    Lost,
    /// Retention removed what would tell.
    Unknown,
}

/// Reads the events below the position against what the log accepted.
pub(crate) struct Events<'a> {
    book: &'a mut Book,
    findings: &'a mut Findings,
    counts: &'a mut Counts,
    /// `<stream>.events`.
    topic: &'a str,
    window_ms: i64,
    span: Span,
    /// Highest append time so far, ms.
    horizon: i64,
    /// Minute of the first event that is still there.
    first_minute: Option<i64>,
    /// The keys are hashes, so the lowest are a fair sample.
    sample: BTreeMap<EventKey, Sampled>,
}

impl<'a> Events<'a> {
    pub(crate) fn new(
        book: &'a mut Book,
        findings: &'a mut Findings,
        counts: &'a mut Counts,
        topic: &'a str,
        (window_ms, span): (i64, Span),
    ) -> Self {
        Self { book, findings, counts, topic, window_ms, span, horizon: 0, first_minute: None, sample: BTreeMap::new() }
    }

    /// First offset that is not processed yet, as the last trailer says.
    pub(crate) fn position(&self) -> i64 {
        self.book.tip.positions.get(self.topic).copied().unwrap_or(0)
    }

    pub(crate) fn take(&mut self, record: Record) {
        let offset = record.offset;
        let arrived = Arrived {
            feed: Feed::EVENTS,
            shard: self.book.shard,
            offset,
            appended_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: record.headers,
            writer: Writer::Unframed,
        };
        let envelope = Envelope::of(&arrived, self.topic);
        let key = envelope.key();
        self.horizon = self.horizon.max(arrived.appended_ms);
        let minute = self.horizon.div_euclid(MINUTE_MS);
        self.first_minute.get_or_insert(minute);
        if !self.book.stripe.takes_key(&key) {
            return;
        }
        self.counts.events += 1;
        let subject = arrived.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let (shard, topic) = (self.book.shard, self.topic);
        let find = |what: String| Finding::new(Check::C1, shard, what).at(topic, offset).of(&subject);
        match self.fate(&key, offset, minute) {
            Fate::Effect => {
                self.sample.insert(key, Sampled { offset, appended_ms: self.horizon, event_type: envelope.event_type });
                if self.sample.len() > RECEIPTS {
                    self.sample.pop_last();
                }
            }
            Fate::Duplicate => self.counts.duplicates += 1,
            Fate::Unknown => self.counts.moved += 1,
            Fate::TwiceInWindow => {
                self.findings.add(find(format!("event {key} was taken up although it is a duplicate within the window")));
            }
            Fate::Lost => self.findings.add(find(format!(
                "event {key} is lost: it lies below the position, no frame took it up, and it is no duplicate"
            ))),
        }
    }

    fn fate(&mut self, key: &EventKey, offset: i64, minute: i64) -> Fate {
        let first_minute = (self.horizon - self.window_ms).div_euclid(MINUTE_MS);
        let retained = self.retained(offset);
        let mut all: Vec<&mut Accepted> = self.book.accepted.get_mut(key).into_iter().collect();
        all.extend(self.book.again.get_mut(key).into_iter().flatten());
        let last = all.iter().filter(|accepted| accepted.found).map(|accepted| accepted.minute).max();
        let held = last.is_some_and(|last| last >= first_minute);
        match all.into_iter().find(|accepted| !accepted.found && accepted.minute == minute) {
            Some(accepted) => {
                accepted.found = true;
                if held { Fate::TwiceInWindow } else { Fate::Effect }
            }
            // the window is kept in whole minutes, so a duplicate may be found for a minute longer
            None if last.is_some_and(|last| last >= first_minute - 1) => Fate::Duplicate,
            None if retained => Fate::Lost,
            None => Fate::Unknown,
        }
    }

    /// True when the log still has all that would tell of the event at `offset`.
    fn retained(&self, offset: i64) -> bool {
        let Some(first) = self.book.first.as_ref().filter(|_| !self.book.complete) else { return true };
        offset >= first.positions.get(self.topic).copied().unwrap_or(0) && self.horizon > first.horizon + self.window_ms
    }

    /// What was accepted without an event; returns the sample.
    pub(crate) fn finish(self) -> BTreeMap<EventKey, Sampled> {
        let position = self.position();
        if position > self.span.end {
            let what = format!("the position is {position}, the topic ends at {}: it was truncated or made anew", self.span.end);
            self.findings.add(Finding::new(Check::C1, self.book.shard, what).at(self.topic, self.span.end));
        }
        // with events removed by retention, only what is younger than the first of the rest must have one
        let oldest = if self.span.start == 0 { Some(i64::MIN) } else { self.first_minute };
        let Some(oldest) = oldest else { return self.sample };
        let all = self
            .book
            .accepted
            .iter()
            .chain(self.book.again.iter().flat_map(|(key, list)| list.iter().map(move |one| (key, one))));
        for (key, accepted) in all.filter(|(_, accepted)| !accepted.found && accepted.minute > oldest) {
            let what = format!("event {key} was taken up once more than it stands in {}", self.topic);
            self.findings.add(Finding::new(Check::C1, self.book.shard, what).at(&log_of(self.topic), accepted.offset));
        }
        self.sample
    }
}

fn log_of(events: &str) -> String {
    format!("{}.log", events.strip_suffix(".events").unwrap_or(events))
}
