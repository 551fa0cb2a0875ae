//! C2: results are dense per subject, each comes from a frame of the log and from an accepted cause, and the heads of
//! the subjects agree. Dead letters (C1): one per origin, of an event below the position.

use schemas::key::EventKey;
use schemas::names;
use schemas::partition::partition_of;

use super::book::Book;
use super::report::{Check, Counts, Finding, Findings};
use crate::source::Record;

/// Reads results.
pub(crate) struct Results<'a> {
    pub(crate) book: &'a mut Book,
    pub(crate) findings: &'a mut Findings,
    pub(crate) counts: &'a mut Counts,
    /// `<stream>.results`.
    pub(crate) topic: &'a str,
    pub(crate) partitions: i32,
    pub(crate) live: bool,
    /// Retention has removed none of them.
    pub(crate) complete: bool,
}

impl Results<'_> {
    pub(crate) fn take(&mut self, record: &Record) {
        let subject = record.subject();
        if self.live && record.timestamp_ms > self.book.tip.ts / 1_000 {
            return; // of a frame behind the end that was read
        }
        if let Some(what) = self.cause(record) {
            self.find(record, what);
        }
        if !self.book.stripe.takes_subject(subject) {
            return;
        }
        self.counts.results += 1;
        if partition_of(subject, self.partitions) != self.book.shard {
            self.find(record, format!("a result of a subject of shard {}", partition_of(subject, self.partitions)));
        }
        if let Some(what) = unframed(self.book, record.timestamp_ms) {
            self.find(record, what);
        }
        let Some(seq) = record.header(names::HEADER_SEQ).and_then(|seq| seq.parse::<i64>().ok()) else {
            self.find(record, "a result without `seq`".to_owned());
            return;
        };
        let known = self.book.subjects.entry(subject.into()).or_default();
        let told = known.told;
        known.told = told.max(seq);
        let any = told == 0 && !self.complete;
        let what = match seq - told {
            1 => return,
            _ if any => return,
            ..=0 => format!("seq {seq} is told again, after {told}"),
            2 => format!("seq {} is missing: {seq} follows {told}", told + 1),
            _ => format!("seq {} to {} are missing: {seq} follows {told}", told + 1, seq - 1),
        };
        self.find(record, what);
    }

    /// What is wrong with the cause; `None` when it is fine, or of another pass.
    fn cause(&mut self, record: &Record) -> Option<String> {
        let Some(cause) = record.header(names::HEADER_CAUSE) else { return Some("a result without `cause`".to_owned()) };
        self.book.tell_outcome(cause, record.timestamp_ms);
        // an agenda item's id is no event key, and followed results have keys of their own
        let key: EventKey = cause.parse().ok().filter(|key| self.book.stripe.takes_key(key))?;
        let repeated = self.book.again.contains_key(&key);
        match self.book.accepted.get_mut(&key) {
            Some(accepted) => {
                let before = accepted.told_ms;
                accepted.results += 1;
                accepted.told_ms = record.timestamp_ms;
                let twice = before != 0 && before != record.timestamp_ms && !repeated;
                twice.then(|| {
                    format!("event {key} took effect in two frames: its results are of {before} and {} ms", record.timestamp_ms)
                })
            }
            None if self.book.complete && self.book.tip.positions.len() < 2 => {
                Some(format!("its cause {key} was never taken up"))
            }
            None => None,
        }
    }

    fn find(&mut self, record: &Record, what: String) {
        let finding = Finding::new(Check::C2, self.book.shard, what).at(self.topic, record.offset).of(record.subject());
        self.findings.add(finding.frame(record.timestamp_ms * 1_000));
    }

    /// The heads against the last results.
    pub(crate) fn finish(self) {
        for (name, subject) in &self.book.subjects {
            let Some(seq) = subject.head.as_ref().map(|head| head.seq) else { continue };
            let gone = subject.told == 0 && !self.complete;
            if seq == subject.told || gone {
                continue;
            }
            let what = match subject.told {
                0 => format!("the head says seq {seq}, there is no result"),
                told => format!("the head says seq {seq}, the last result is {told}"),
            };
            self.findings.add(Finding::new(Check::C2, self.book.shard, what).of(name));
        }
    }
}

/// Results and dead letters carry the time of their frame.
fn unframed(book: &Book, ms: i64) -> Option<String> {
    let first = book.frames_ms.first().copied().filter(|_| !book.complete);
    let known = book.has_frame_ms(ms) || first.is_some_and(|first| ms < first);
    (!known).then(|| format!("no frame of the log has its time ({ms} ms): it was not written by the engine, or twice"))
}

/// What is due later has no place in a topic: its dead letter names the agenda item.
const ITEMS: [&str; 4] = ["t/", "r/", "h/", "e/"];

/// Reads dead letters.
pub(crate) struct Dead<'a> {
    pub(crate) book: &'a mut Book,
    pub(crate) findings: &'a mut Findings,
    pub(crate) counts: &'a mut Counts,
    /// `<stream>.dead`.
    pub(crate) topic: &'a str,
    pub(crate) live: bool,
}

impl Dead<'_> {
    pub(crate) fn take(&mut self, record: &Record) {
        if self.live && record.timestamp_ms > self.book.tip.ts / 1_000 {
            return;
        }
        self.counts.dead += u64::from(!self.findings.muted);
        for what in self.wrong(record) {
            let finding = Finding::new(Check::C1, self.book.shard, what).at(self.topic, record.offset);
            self.findings.add(finding.of(&String::from_utf8_lossy(record.key.as_deref().unwrap_or_default())));
        }
    }

    fn wrong(&mut self, record: &Record) -> Vec<String> {
        let mut wrong: Vec<_> = unframed(self.book, record.timestamp_ms).into_iter().collect();
        let origin = record.header(names::HEADER_DEAD_ORIGIN).unwrap_or_default();
        if ITEMS.iter().any(|kind| origin.starts_with(kind)) {
            return wrong;
        }
        let mut parts = origin.rsplitn(3, '/');
        let (offset, shard, topic) = (parts.next(), parts.next(), parts.next());
        let place = (topic, shard.and_then(|shard| shard.parse::<i32>().ok()), offset.and_then(|at| at.parse::<i64>().ok()));
        let (Some(topic), Some(shard), Some(offset)) = place else {
            wrong.push(format!("a dead letter with origin {origin:?}, which is no place"));
            return wrong;
        };
        if shard != self.book.shard {
            wrong.push(format!("a dead letter of shard {shard} ({origin})"));
            return wrong;
        }
        let position = self.book.tip.positions.get(topic).copied().unwrap_or(0);
        if offset >= position {
            wrong.push(format!("a dead letter of {origin}, which is not processed yet: the position is {position}"));
        }
        if topic == events_of(self.topic)
            && let Some(first) = self.book.dead.insert(offset, record.offset)
        {
            wrong.push(format!("a second dead letter of {origin}; the first is at {first}"));
        }
        wrong
    }
}

fn events_of(dead: &str) -> String {
    format!("{}.events", dead.strip_suffix(".dead").unwrap_or(dead))
}
