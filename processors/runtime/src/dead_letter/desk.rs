//! Dead letters for operators: found by what they say, and made events again.
//!
//! Called by `forebay dead-letters`. A re-driven event carries the position of its dead letter, which is part of its
//! event key: it is not taken for a duplicate of the event that died, and a second one of the same letter is.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use schemas::catalog::Stream;
use schemas::names::{self, Topics};
use schemas::partition::partition_of;

use crate::source::{Error, Record, Source};

/// Letters of one page at the most.
pub const PAGE_LETTERS: usize = 1_000;
/// Bytes behind which a page ends early.
pub const PAGE_BYTES: usize = 16 << 20;
/// Ends of a topic are known at once; a transaction that is open now has nothing to tell yet.
const PATIENCE: Duration = Duration::ZERO;

/// One dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Partition of the dead letter topic.
    pub partition: i32,
    /// Its record: original key, value and headers, and why.
    pub record: Record,
}

/// Which letters are wanted; what is left out fits all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `dead_reason`.
    pub reason: Option<String>,
    /// Written at or after, ms.
    pub since_ms: Option<i64>,
    /// Written before, ms.
    pub until_ms: Option<i64>,
    /// `ce_type`.
    pub event_type: Option<String>,
    /// The subject; with `*` at its end whatever begins so.
    pub subject: Option<String>,
}

/// Letters of one partition, and where the next page begins.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In order.
    pub letters: Vec<Letter>,
    /// `None` at the end.
    pub next: Option<i64>,
}

/// Why a letter cannot become an event again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It was no event of the stream.
    #[error("it is no event of the stream but a result it followed: re-drive its cause there")]
    Foreign,
    /// Its key names nobody.
    #[error("it has no subject, and would come back")]
    NoSubject,
}

/// The event that a letter becomes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// Partition that owns the subject.
    pub partition: i32,
    /// Record key.
    pub key: Bytes,
    /// The original bytes.
    pub value: Bytes,
    /// The original headers and `ce_redriveof`.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Letter {
    /// `<stream>.dead/<partition>/<offset>`: how it is named on the command line and in `ce_redriveof`.
    #[must_use]
    pub fn position(&self, stream: &str) -> String {
        format!("{stream}.dead/{}/{}", self.partition, self.record.offset)
    }

    /// A header of it; empty when it is not there or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.record.header(name).unwrap_or_default()
    }

    /// Its event again.
    ///
    /// # Errors
    /// [`Unfit`] when that makes no sense.
    pub fn redrive(&self, stream: &str, partitions: i32) -> Result<Redriven, Unfit> {
        let origin = self.header(names::HEADER_DEAD_ORIGIN);
        if !origin.starts_with(&format!("{stream}.events/")) {
            return Err(Unfit::Foreign);
        }
        let subject = self.record.subject();
        if subject.is_empty() {
            return Err(Unfit::NoSubject);
        }
        let of_the_letter = |name: &str| {
            let dead = [names::HEADER_DEAD_REASON, names::HEADER_DEAD_DETAIL, names::HEADER_DEAD_AT, names::HEADER_DEAD_ORIGIN];
            dead.contains(&name) || name == names::HEADER_CE_REDRIVEOF
        };
        let original = self.record.headers.iter().filter(|(name, _)| !of_the_letter(name));
        let mut headers: Vec<_> = original.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        if !headers.iter().any(|(name, value)| name == names::HEADER_CE_ID && !value.is_empty()) {
            // without an id an event is named by its place; a new place would make every re-drive another event
            headers.push((names::HEADER_CE_ID.to_owned(), origin.as_bytes().to_vec()));
        }
        headers.push((names::HEADER_CE_REDRIVEOF.to_owned(), self.position(stream).into_bytes()));
        let key = self.record.key.clone().unwrap_or_default();
        Ok(Redriven { partition: partition_of(subject, partitions), key, value: self.record.value.clone(), headers })
    }
}

impl Filter {
    /// True when `letter` is wanted.
    #[must_use]
    pub fn fits(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| letter.header(name) == wanted);
        let subject = |wanted: &str| match wanted.strip_suffix('*') {
            Some(prefix) => letter.record.subject().starts_with(prefix),
            None => letter.record.subject() == wanted,
        };
        is(&self.reason, names::HEADER_DEAD_REASON)
            && is(&self.event_type, names::HEADER_CE_TYPE)
            && self.since_ms.is_none_or(|since| letter.record.timestamp_ms >= since)
            && self.until_ms.is_none_or(|until| letter.record.timestamp_ms < until)
            && self.subject.as_deref().is_none_or(subject)
    }
}

/// Reads the dead letters of one stream. Its calls block.
pub struct Desk {
    source: Source,
    topics: Topics,
    stream: String,
    partitions: i32,
}

impl Desk {
    /// A desk for `stream`, in the deployment with that topic prefix.
    ///
    /// # Errors
    /// [`Error::Client`] when the settings are wrong.
    pub fn open(kafka: &chassis::kafka::Settings, prefix: &str, stream: &Stream) -> Result<Self, Error> {
        let topics = Topics::new(prefix);
        Ok(Self {
            source: Source::new(kafka, "forebay.readers")?,
            topics,
            stream: stream.name.clone(),
            partitions: stream.partitions,
        })
    }

    /// Partitions of the stream.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// Topic that re-driven events go to, prefix included.
    #[must_use]
    pub fn events(&self) -> String {
        self.topics.events(&self.stream)
    }

    /// Letters of `partition` from offset `from` on, up to [`PAGE_LETTERS`] or [`PAGE_BYTES`].
    ///
    /// # Errors
    /// [`Error`] when they cannot be read.
    pub fn page(&self, partition: i32, from: i64, filter: &Filter) -> Result<Page, Error> {
        let topic = self.topics.dead(&self.stream);
        let span = self.source.span(&topic, partition, PATIENCE)?;
        let (mut page, mut bytes) = (Page::default(), 0);
        self.source.read(&topic, partition, (from.max(span.start), span.end), |record| {
            let next = record.offset + 1;
            let letter = Letter { partition, record };
            if filter.fits(&letter) {
                bytes += letter.record.value.len();
                page.letters.push(letter);
            }
            if page.letters.len() < PAGE_LETTERS && bytes < PAGE_BYTES {
                return ControlFlow::Continue(());
            }
            page.next = Some(next);
            ControlFlow::Break(())
        })?;
        Ok(page)
    }

    /// The letter at a place; `None` when there is none.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    pub fn letter(&self, partition: i32, offset: i64) -> Result<Option<Letter>, Error> {
        let topic = self.topics.dead(&self.stream);
        let span = self.source.span(&topic, partition, PATIENCE)?;
        let mut found = None;
        if offset >= span.start {
            self.source.read(&topic, partition, (offset, (offset + 1).min(span.end)), |record| {
                found = (record.offset == offset).then_some(Letter { partition, record });
                ControlFlow::Break(())
            })?;
        }
        Ok(found)
    }

    /// Positions of the letters whose events stand in a partition of the events again, of those written since a time.
    /// The dedupe window forgets; this does not, as far back as the topic reaches.
    ///
    /// # Errors
    /// [`Error`] when the events cannot be read.
    pub fn redriven(&self, partition: i32, since_ms: i64) -> Result<HashSet<String>, Error> {
        let topic = self.events();
        let span = self.source.span(&topic, partition, PATIENCE)?;
        let from = self.source.offset_at(&topic, partition, since_ms)?.unwrap_or(span.end);
        let mut found = HashSet::new();
        self.source.read(&topic, partition, (from.max(span.start), span.end), |record| {
            found.extend(record.header(names::HEADER_CE_REDRIVEOF).map(str::to_owned));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use schemas::key::EventKey;

    use super::*;
    use crate::engine::headers::HeaderList;

    fn letter(offset: i64, key: Option<&str>, headers: &[(&str, &str)]) -> Letter {
        let mut list = HeaderList::builder(64);
        headers.iter().for_each(|(name, value)| list.push(name, value.as_bytes()));
        let key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
        let record = Record { offset, timestamp_ms: 10, key, value: Bytes::from_static(b"v"), headers: list.finish() };
        Letter { partition: 3, record }
    }

    fn header<'a>(redriven: &'a Redriven, name: &str) -> &'a str {
        let (_, value) = redriven.headers.iter().find(|(key, _)| key == name).unwrap();
        std::str::from_utf8(value).unwrap()
    }

    #[test]
    fn a_redriven_event_keeps_its_identity_and_names_its_letter() {
        let letter = letter(
            17,
            Some("ATL"),
            &[
                ("ce_id", "c-1"),
                ("ce_source", "/a"),
                ("dead_reason", "panic"),
                ("dead_origin", "flights.events/3/9"),
                ("ce_redriveof", "old"),
            ],
        );
        let event = letter.redrive("flights", 16).unwrap();
        let names: Vec<_> = event.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ce_id", "ce_source", "ce_redriveof"]);
        assert_eq!(header(&event, "ce_redriveof"), "flights.dead/3/17");
        assert_eq!((event.partition, &event.key[..], &event.value[..]), (partition_of("ATL", 16), &b"ATL"[..], &b"v"[..]));
        assert_ne!(EventKey::of("/a", "c-1", Some("flights.dead/3/17")), EventKey::of("/a", "c-1", None));
    }

    #[test]
    fn an_event_without_id_is_named_by_its_first_place() {
        let letter = letter(1, Some("ATL"), &[("dead_origin", "flights.events/3/9")]);
        assert_eq!(header(&letter.redrive("flights", 16).unwrap(), "ce_id"), "flights.events/3/9");
    }

    #[test]
    fn what_would_only_come_back_is_not_redriven() {
        assert_eq!(letter(1, None, &[("dead_origin", "flights.events/3/9")]).redrive("flights", 16), Err(Unfit::NoSubject));
        assert_eq!(letter(1, Some("a"), &[("dead_origin", "orders.results/3/9")]).redrive("flights", 16), Err(Unfit::Foreign));
    }

    #[test]
    fn filters_join() {
        let letter = letter(1, Some("acme/order/1"), &[("dead_reason", "panic"), ("ce_type", "order.placed")]);
        let with = |change: &dyn Fn(&mut Filter)| {
            let mut filter = Filter { reason: Some("panic".into()), subject: Some("acme/*".into()), ..Filter::default() };
            change(&mut filter);
            filter.fits(&letter)
        };
        assert!(with(&|_| {}));
        assert!(with(&|filter| (filter.since_ms, filter.until_ms) = (Some(10), Some(11))));
        assert!(!with(&|filter| filter.until_ms = Some(10)));
        assert!(!with(&|filter| filter.since_ms = Some(11)));
        assert!(!with(&|filter| filter.reason = Some("terminal".into())));
        assert!(!with(&|filter| filter.event_type = Some("order.shipped".into())));
        assert!(!with(&|filter| filter.subject = Some("acme".into())));
    }
}
