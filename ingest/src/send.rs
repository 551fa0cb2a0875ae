//! Stages *dedupe* and *send*: from here on the work belongs to a registered task, so that nothing is half sent because
//! a client hung up (E4).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use tokio::sync::oneshot;
use tracing::Span;

use chassis::auth::{Action, Principal};
use chassis::kafka::produce::{Acks, Cause, Outcome, Record as KafkaRecord};
use schemas::key::EventKey;
use schemas::names;
use schemas::plan::code;
use schemas::receipt::Receipt;

use crate::admission::Held;
use crate::arena::{Arena, Record};
use crate::dedupe::{Claims, Fate, dedupe};
use crate::edge::Edge;
use crate::fault::finding;
use crate::metrics::{BYTES, DEDUPE_ENTRIES, EVENTS, number};
use crate::stream::Stream;
use crate::verdict::{Invalid, Position, Retry, Unknown, Verdict};

/// Told with what may work at once.
pub(crate) const SOON_MS: u64 = 1_000;
/// Told when the log does not answer: the producer looks for it that often.
pub(crate) const LOG_RETRY_MS: u64 = 2_000;

/// A request whose events are encoded, ready to be sent.
pub(crate) struct Work {
    pub(crate) edge: Arc<Edge>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) principal: Arc<Principal>,
    /// `/accounts/<account>`.
    pub(crate) own_source: String,
    /// When the request arrived, ms since the Unix epoch.
    pub(crate) arrival_ms: i64,
    /// `traceparent`, when sampled.
    pub(crate) traceparent: Option<String>,
    /// Ends with the last report or the deadline.
    pub(crate) span: Option<Span>,
    pub(crate) arena: Arena,
    /// The memory of it all, held until the last report.
    pub(crate) held: Held,
    /// When the caller must have its answer.
    pub(crate) deadline: Instant,
    /// Nothing may be sent: an event is invalid and the request is strict.
    pub(crate) withheld: bool,
    /// The claim of the request's `Idempotency-Key`.
    pub(crate) promise: Option<Promise>,
}

/// What a request is told.
pub(crate) struct Settled {
    /// Every event has its verdict.
    pub(crate) arena: Arena,
    /// Time in the stage *dedupe*.
    pub(crate) dedupe: Duration,
    /// Time until the last report, or the deadline.
    pub(crate) ack: Duration,
}

/// A claim on an `Idempotency-Key`; dropped without [`Promise::keep`] it is forgotten.
pub(crate) struct Promise {
    edge: Arc<Edge>,
    key: Option<EventKey>,
}

impl Promise {
    /// Takes over a claim that came out as new.
    pub(crate) fn new(edge: Arc<Edge>, key: EventKey) -> Self {
        Self { edge, key: Some(key) }
    }

    /// From now on the key belongs to this body.
    fn keep(mut self, now_ms: i64) {
        if let Some(key) = self.key.take() {
            self.edge.keys.settle(key, (), now_ms);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.edge.keys.release(key);
        }
    }
}

/// Sends everything that is to be sent, answers by the deadline, and stays until the last report is in.
pub(crate) async fn run(mut work: Work, answer: oneshot::Sender<Settled>) {
    let edge = Arc::clone(&work.edge);
    let begun = Instant::now();
    let mut claims = Claims::new(&edge.window);
    let fates = dedupe(&mut work, &mut claims);
    let dedupe_time = begun.elapsed();
    let acks = enqueue(&work, &fates);
    let enqueued = Instant::now();
    // past the deadline the pending slots become `ack_timeout`
    let _ = tokio::time::timeout_at(work.deadline.into(), acks.wait()).await;
    let now_ms = now_ms();
    judge(&mut work, &fates, &acks, &mut claims, now_ms);
    let ack = enqueued.elapsed();
    drop(work.span.take());
    count(&work);
    if let Some(promise) =
        work.promise.take().filter(|_| work.arena.events.iter().any(|event| may_be_written(event.verdict.as_ref())))
    {
        promise.keep(now_ms);
    }
    gauge!(DEDUPE_ENTRIES).set(number(edge.window.len()));
    let late = acks.pending() > 0;
    // whoever asked may be gone; the work is done nonetheless
    let _ = answer.send(Settled { arena: work.arena, dedupe: dedupe_time, ack });
    if late {
        acks.wait().await;
        settle_late(&fates, &acks, &mut claims);
    }
    drop(work.held);
}

fn may_be_written(verdict: Option<&Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Accepted { .. } | Verdict::Duplicate { .. } | Verdict::Unknown { .. }))
}

/// Gives every event that is to be sent to the producer, in request order (E5).
fn enqueue(work: &Work, fates: &[Fate]) -> Arc<Acks> {
    let count = fates.iter().filter(|fate| matches!(fate, Fate::Send(_))).count();
    let acks = Acks::new(count);
    let (arrival, principal) = (crate::answer::time(work.arrival_ms).unwrap_or_default(), work.principal.full_name());
    let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(16);
    let mut bytes = 0;
    for (event, fate) in work.arena.events.iter().zip(fates) {
        let (Fate::Send(slot), Ok(record)) = (fate, &event.record) else { continue };
        let arena = &work.arena;
        let kind = event.kind.and_then(|kind| work.stream.kinds.get(kind)).map_or("", |kind| kind.ce_type.as_str());
        let subject = event.subject.map_or("", |subject| arena.text(subject));
        headers.clear();
        headers.push((names::HEADER_CE_ID, event.id.map_or(&[][..], |id| arena.get(id))));
        // what can be derived is left out of compact headers
        if !work.stream.compact {
            headers.push((names::HEADER_CE_SPECVERSION, b"1.0"));
            headers.push((names::HEADER_CE_TYPE, kind.as_bytes()));
        }
        match record.source {
            Some(source) => headers.push((names::HEADER_CE_SOURCE, arena.get(source))),
            None if work.stream.compact => {}
            None => headers.push((names::HEADER_CE_SOURCE, work.own_source.as_bytes())),
        }
        match record.time {
            Some(time) => headers.push((names::HEADER_CE_TIME, arena.get(time))),
            None if work.stream.compact => {}
            None => headers.push((names::HEADER_CE_TIME, arrival.as_bytes())),
        }
        headers.push((names::HEADER_CE_PRINCIPAL, principal.as_bytes()));
        if work.principal.may(Action::Admin, &work.stream.name, subject) {
            headers.push((names::HEADER_CE_ADMIN, b"true"));
        }
        if let Some(traceparent) = &work.traceparent {
            headers.push((names::HEADER_TRACEPARENT, traceparent.as_bytes()));
        }
        let (first, more) = record.extensions;
        let extensions = arena.extensions.get(first..first + more).unwrap_or_default();
        headers.extend(extensions.iter().map(|(name, value)| (arena.text(*name), arena.get(*value))));
        let value = arena.get(record.value);
        bytes += value.len() + subject.len();
        let full = KafkaRecord {
            topic: &work.stream.topic,
            partition: record.partition,
            key: subject.as_bytes(),
            value,
            headers: &headers,
        };
        work.edge.producer.send(full, &acks, *slot);
    }
    counter!(BYTES, "stream" => work.stream.name.clone(), "direction" => "record").increment(bytes as u64);
    acks
}

/// Gives every event its verdict by what is known now.
fn judge(work: &mut Work, fates: &[Fate], acks: &Acks, claims: &mut Claims<'_>, now_ms: i64) {
    let mut acknowledged = 0;
    let mut lost = (0, None);
    for (index, fate) in fates.iter().enumerate() {
        let verdict = match *fate {
            Fate::Done => continue,
            Fate::Repeats(first) => repeat(work.arena.events[first].verdict.as_ref(), first),
            Fate::Send(slot) => {
                let outcome = acks.outcome(slot);
                learn(&outcome, slot, claims, now_ms);
                if let (Outcome::Acked { .. }, Ok(record)) = (&outcome, &work.arena.events[index].record) {
                    acknowledged += record.value.len();
                }
                if let Outcome::NotPersisted(cause) | Outcome::PossiblyPersisted(cause) = &outcome {
                    lost = (lost.0 + 1, lost.1.or_else(|| Some(cause.clone())));
                }
                verdict(work, index, &outcome)
            }
        };
        work.arena.events[index].verdict = Some(verdict);
    }
    work.edge.pool.acknowledged(acknowledged, now_ms);
    match lost {
        (_, None) => {}
        // admission must keep the queue from filling up: the two settings do not fit each other
        (count, Some(cause @ Cause::QueueFull)) => {
            tracing::error!(stream = work.stream.name, count, %cause, "records were not taken");
        }
        (count, Some(cause)) => {
            tracing::info!(stream = work.stream.name, count, %cause, "records were not acknowledged");
        }
    }
}

/// What a report means for the window: acknowledged events are remembered, failed ones forgotten, pending ones stay in flight.
fn learn(outcome: &Outcome, slot: usize, claims: &mut Claims<'_>, now_ms: i64) {
    match outcome {
        Outcome::Pending => {}
        Outcome::Acked { partition, offset, .. } => {
            claims.settle(slot, Position { partition: *partition, offset: *offset }, now_ms);
        }
        Outcome::NotPersisted(_) | Outcome::PossiblyPersisted(_) | Outcome::TooLarge => claims.release(slot),
    }
}

fn settle_late(fates: &[Fate], acks: &Acks, claims: &mut Claims<'_>) {
    let now_ms = now_ms();
    for fate in fates {
        if let Fate::Send(slot) = *fate {
            learn(&acks.outcome(slot), slot, claims, now_ms);
        }
    }
}

/// A repeat inside the request: a duplicate of what was written, else the first one's verdict.
fn repeat(first_verdict: Option<&Verdict>, first: usize) -> Verdict {
    match first_verdict {
        Some(Verdict::Accepted { at, receipt }) => {
            Verdict::Duplicate { at: *at, receipt: receipt.clone(), first_seen: None, duplicate_of: Some(first) }
        }
        Some(Verdict::Duplicate { at, receipt, first_seen, .. }) => {
            Verdict::Duplicate { at: *at, receipt: receipt.clone(), first_seen: *first_seen, duplicate_of: Some(first) }
        }
        Some(other) => other.clone(),
        // the first one stands earlier and has its verdict; were it otherwise, nothing was sent for this one
        None => Verdict::Retry { reason: Retry::InProgress, after_ms: SOON_MS },
    }
}

fn verdict(work: &Work, index: usize, outcome: &Outcome) -> Verdict {
    let Ok(record) = &work.arena.events[index].record else {
        return Verdict::Retry { reason: Retry::LogUnavailable, after_ms: LOG_RETRY_MS };
    };
    let receipt = |offset| receipt(work, index, record, offset, work.arrival_ms);
    match outcome {
        Outcome::Acked { partition, offset, .. } => {
            let (partition, offset) = (*partition, *offset);
            Verdict::Accepted { at: Position { partition, offset }, receipt: receipt(Some(offset)) }
        }
        Outcome::Pending => Verdict::Unknown { reason: Unknown::AckTimeout, receipt: receipt(None), after_ms: SOON_MS },
        Outcome::PossiblyPersisted(_) => Verdict::Unknown { reason: Unknown::AckLost, receipt: receipt(None), after_ms: SOON_MS },
        Outcome::NotPersisted(Cause::QueueFull) => Verdict::Retry { reason: Retry::Overloaded, after_ms: SOON_MS },
        Outcome::NotPersisted(Cause::Purged) if work.edge.lifecycle.is_draining() => {
            Verdict::Retry { reason: Retry::ShuttingDown, after_ms: LOG_RETRY_MS }
        }
        Outcome::NotPersisted(_) => Verdict::Retry { reason: Retry::LogUnavailable, after_ms: LOG_RETRY_MS },
        Outcome::TooLarge => {
            let message = "the record is larger than the topic takes";
            Verdict::invalid(Invalid::TooLarge, finding("", code::BAD_LENGTH, "", "", message))
        }
    }
}

pub(crate) fn receipt(work: &Work, index: usize, record: &Record, offset: Option<i64>, accepted_ms: i64) -> String {
    let subject = work.arena.events[index].subject.map_or("", |subject| work.arena.text(subject));
    work.edge.receipts.seal(&Receipt {
        // `seal` puts its own
        key_id: 0,
        partition: record.partition,
        offset,
        event_key: record.key,
        accepted_ms,
        stream: work.stream.name.clone(),
        subject: subject.to_owned(),
        tracking: work.arena.events[index].kind.and_then(|kind| work.stream.kinds.get(kind)).map(|kind| kind.tracking),
    })
}

fn count(work: &Work) {
    let mut counts: HashMap<(Option<usize>, &str, &str), u64> = HashMap::new();
    for event in &work.arena.events {
        let Some(verdict) = &event.verdict else { continue };
        *counts.entry((event.kind, verdict.kind().name(), verdict.reason())).or_default() += 1;
    }
    for ((kind, verdict, reason), count) in counts {
        let ce_type = kind.and_then(|kind| work.stream.kinds.get(kind)).map_or("unknown", |kind| kind.ce_type.as_str());
        let labels = [
            ("stream", work.stream.name.clone()),
            ("type", ce_type.to_owned()),
            ("verdict", verdict.to_owned()),
            ("reason", reason.to_owned()),
        ];
        counter!(EVENTS, &labels).increment(count);
    }
}

/// Wall clock, ms since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
