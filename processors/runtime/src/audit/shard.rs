//! The audit of one shard: log, events, results, dead letters, store; in as many passes as its keys need.

use std::ops::ControlFlow;

use schemas::catalog::Stream;
use state::Shard;

use super::book::Book;
use super::chain::Chain;
use super::events::Events;
use super::report::{Check, Counts, Finding, Findings};
use super::results::{Dead, Results};
use super::store::StoreAudit;
use super::stripe::Stripe;
use super::told::{self, Receipts};
use super::window::WindowAudit;
use super::{Audit, Error, effects, moves};
use crate::source::{HANGING, Span};

/// More passes than this are not made; the bound on keys gives way then.
const PASSES_MAX: u32 = 1_024;
/// Records between two words about the progress.
const TELL_EACH: u64 = 10_000;

/// Ends of a shard's topics, found in this order: what the log's end covers is in the others.
struct Spans {
    log: Span,
    events: Span,
    results: Span,
    dead: Span,
}

/// What an audit of a shard leaves for its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    /// Position of the events, and their end.
    pub(crate) position: i64,
    pub(crate) end: i64,
}

/// Names without prefix, for findings.
struct Names {
    log: String,
    events: String,
    results: String,
    dead: String,
}

impl Names {
    fn of(stream: &str) -> Self {
        let name = |topic: &str| format!("{stream}.{topic}");
        Self { log: name("log"), events: name("events"), results: name("results"), dead: name("dead") }
    }
}

impl Audit {
    /// Audits a shard, whole or the asked part of it.
    pub(crate) fn shard(&mut self, number: i32) -> Result<Seen, Error> {
        let stream = self.stream()?.clone();
        let spans = self.spans(number)?;
        let mut parts = 1;
        loop {
            let of = self.options.sample.max(1).saturating_mul(parts);
            let mut findings = Findings::new(self.options.findings_max);
            let mut seen = Seen { end: spans.events.end, ..Seen::default() };
            let mut whole = true;
            for part in 0..parts {
                // the asked part is one in `sample`; its own parts are those indexes that are equal to it modulo `sample`
                let index = self.options.stripe % self.options.sample.max(1) + part * self.options.sample.max(1);
                findings.muted = part > 0;
                let bounded = parts < PASSES_MAX;
                whole = self.pass(&stream, (number, &spans), Stripe::new(index, of), bounded, &mut findings, &mut seen)?;
                if !whole {
                    break;
                }
            }
            if whole {
                self.passes = self.passes.max(parts);
                findings.muted = false;
                self.findings.append(findings);
                return Ok(seen);
            }
            parts *= 2;
        }
    }

    fn spans(&mut self, number: i32) -> Result<Spans, Error> {
        let stream = self.options.stream.clone();
        let names = Names::of(&stream);
        let mut span = |topic: String, name: &str| {
            let span = self.source.span(&topic, number, HANGING)?;
            if let Some(end) = span.undecided {
                let what = format!("an open transaction has held {name} at {} of {end} for {} s", span.end, HANGING.as_secs());
                self.findings.add(Finding::new(Check::C8, number, what).at(name, span.end));
            }
            Ok::<_, Error>(span)
        };
        Ok(Spans {
            log: span(self.topics.log(&stream), &names.log)?,
            events: span(self.topics.events(&stream), &names.events)?,
            results: span(self.topics.results(&stream), &names.results)?,
            dead: span(self.topics.dead(&stream), &names.dead)?,
        })
    }

    /// One reading of everything for one part of the keys. False when they were too many.
    fn pass(
        &mut self,
        stream: &Stream,
        (number, spans): (i32, &Spans),
        stripe: Stripe,
        bounded: bool,
        findings: &mut Findings,
        seen: &mut Seen,
    ) -> Result<bool, Error> {
        let names = Names::of(&stream.name);
        let muted = findings.muted;
        let mut book = Book::new(number, stripe, spans.log.start == 0);
        book.whole = spans.results.start == 0 && spans.dead.start == 0 && book.complete;
        if !self.read_log(&mut book, (number, spans.log), &names.log, bounded, findings)? {
            return Ok(false);
        }
        findings.muted = false; // what follows is bound to the part
        let counts = &mut seen.counts;
        if !muted {
            counts.last_frame = book.tip.n;
            counts.frames = book.frames;
        }
        let window = self.options.dedupe_window.as_millis() as i64;
        let mut events = Events::new(&mut book, findings, counts, &names.events, (window, spans.events));
        seen.position = events.position();
        let below = (spans.events.start, events.position().min(spans.events.end));
        self.read(&self.topics.events(&stream.name), number, below, |record| events.take(record))?;
        let sample = events.finish();
        self.read_results(&mut book, (number, spans), &names, findings, counts)?;
        findings.muted = muted;
        self.read_dead(&mut book, (number, spans), &names, findings, counts)?;
        findings.muted = false;
        told::check_status(&book, findings, &names.events);
        moves::check_heads(&book, findings);
        effects::check_effects(&book, findings, &names.log);
        self.keys_held.set(self.keys_held.get().max(book.keys()));
        counts.lag = spans.events.end - seen.position;
        if let Some(store) = &self.parts.store {
            let shard = Shard { stream: stream.name.as_str().into(), number };
            let (live, now) = (self.options.live, crate::time::now_us());
            let audit = StoreAudit { store, shard: &shard, book: &book, live, now, log: &names.log };
            let life_us = self.options.status_life.as_micros() as i64;
            let topic = &names.events;
            let receipts = Receipts { store, shard: &shard, stream, book: &book, topic, life_us, now, live };
            let window = WindowAudit { store, shard: &shard, book: &book, window_ms: window, live, log: &names.log };
            self.tokio.block_on(async {
                if audit.run(findings, counts).await? {
                    window.run(findings, counts).await?;
                    receipts.run(sample, findings, counts).await?;
                }
                if live { moves::check_overdue(&book, &shard, store, now, findings).await } else { Ok(()) }
            })?;
        }
        if !muted && book.tip.n > 0 {
            self.check_offsets(&book, number, findings)?;
        }
        Ok(true)
    }

    /// The group's offset of every topic that the shard reads.
    fn check_offsets(&self, book: &Book, number: i32, findings: &mut Findings) -> Result<(), Error> {
        for (name, position) in &book.tip.positions {
            let topic = format!("{}{name}", self.options.prefix);
            let committed = self.source.committed(&topic, number, *position, moves::STANDSTILL)?;
            moves::check_offset(book, (name, *position), committed, self.options.live, findings);
        }
        Ok(())
    }

    fn read_log(
        &self,
        book: &mut Book,
        (number, span): (i32, Span),
        name: &str,
        bounded: bool,
        findings: &mut Findings,
    ) -> Result<bool, Error> {
        let mut fits = true;
        let mut chain = Chain::new(book, findings, name, self.partitions);
        self.read_while(&self.topics.log(&self.options.stream), number, (span.start, span.end), |record| {
            chain.take(&record);
            fits = !bounded || chain.keys() <= self.options.keys_max;
            if fits { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        chain.finish();
        Ok(fits)
    }

    fn read_results(
        &self,
        book: &mut Book,
        (number, spans): (i32, &Spans),
        names: &Names,
        findings: &mut Findings,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let live = self.options.live;
        let complete = spans.results.start == 0;
        let mut results = Results { book, findings, counts, topic: &names.results, partitions: self.partitions, live, complete };
        let topic = self.topics.results(&self.options.stream);
        self.read(&topic, number, (spans.results.start, spans.results.end), |record| results.take(&record))?;
        results.finish();
        Ok(())
    }

    fn read_dead(
        &self,
        book: &mut Book,
        (number, spans): (i32, &Spans),
        names: &Names,
        findings: &mut Findings,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let mut dead = Dead { book, findings, counts, topic: &names.dead, live: self.options.live };
        let topic = self.topics.dead(&self.options.stream);
        self.read(&topic, number, (spans.dead.start, spans.dead.end), |record| dead.take(&record))
    }

    fn read(
        &self,
        topic: &str,
        number: i32,
        range: (i64, i64),
        mut take: impl FnMut(crate::source::Record),
    ) -> Result<(), Error> {
        self.read_while(topic, number, range, |record| {
            take(record);
            ControlFlow::Continue(())
        })
    }

    fn read_while(
        &self,
        topic: &str,
        number: i32,
        range: (i64, i64),
        mut take: impl FnMut(crate::source::Record) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let read = self.source.read(topic, number, range, |record| {
            let mut done = self.done.get();
            done.records += 1;
            self.done.set(done);
            if done.records.is_multiple_of(TELL_EACH) {
                (self.progress)(done);
            }
            take(record)
        });
        Ok(read?)
    }
}
