//! What a world is told: events, and results of a stream that it follows.

use std::sync::Arc;

use bytes::Bytes;
use schemas::catalog::{FollowStart, Ordering, Tracking};
use schemas::names;

use super::World;
use crate::engine::headers::HeaderList;
use crate::engine::input::{Arrived, Feed, Writer};
use crate::engine::settings::{EventSpec, FollowSpec};

impl World {
    pub(in crate::engine::tests) fn send_all<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        for text in texts {
            let id = format!("{}", self.events.values().map(Vec::len).sum::<usize>());
            self.send_with_id(text, &id);
        }
    }

    pub(in crate::engine::tests) fn send_with_id(&mut self, text: &str, id: &str) {
        let (subject, body) = text.split_once(' ').unwrap();
        let writer = self.writer();
        self.append(Some(subject), Self::home(subject), body.as_bytes(), id, writer);
    }

    /// Sends with these headers beside the usual ones.
    pub(in crate::engine::tests) fn send_with(&mut self, text: &str, headers: &[(&str, &str)]) {
        self.extra = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.send_all([text]);
        self.extra.clear();
    }

    pub(in crate::engine::tests) fn send_to_partition(&mut self, text: &str, partition: i32) {
        let (subject, body) = text.split_once(' ').unwrap();
        let writer = self.writer();
        self.append(Some(subject), partition, body.as_bytes(), "foreign", writer);
    }

    pub(in crate::engine::tests) fn send_raw(&mut self, subject: Option<&str>, value: &[u8]) {
        let writer = if value.first() == Some(&0) { Writer::Unknown(7) } else { Writer::Unframed };
        let id = format!("raw {}", value.len());
        self.append(subject, subject.map_or(0, Self::home), value, &id, writer);
    }

    pub(super) fn writer(&self) -> Writer {
        Writer::Current(self.settings.event_types["sum.add"].reader.full_name.as_str().into())
    }

    fn append(&mut self, subject: Option<&str>, shard: i32, body: &[u8], id: &str, writer: Writer) {
        let mut headers = HeaderList::builder(64);
        headers.push(names::HEADER_CE_ID, id.as_bytes());
        headers.push(names::HEADER_CE_SOURCE, b"test");
        // relaxed ones pass a held subject
        let (ce_type, body) = match body.strip_prefix(b"pass:") {
            Some(body) => (&b"sum.pass"[..], body),
            None => (&b"sum.add"[..], body),
        };
        headers.push(names::HEADER_CE_TYPE, ce_type);
        for (name, value) in &self.extra {
            headers.push(name, value.as_bytes());
        }
        let mut value = Vec::new();
        schemas::frame::begin(1, &mut value);
        value.extend_from_slice(body);
        let key = subject.map(|subject| Bytes::copy_from_slice(subject.as_bytes()));
        self.arrive(shard, key, value.into(), headers.finish(), writer);
    }

    pub(super) fn arrive(&mut self, shard: i32, key: Option<Bytes>, value: Bytes, headers: HeaderList, writer: Writer) {
        let queue = self.events.entry(shard).or_default();
        let offset = queue.len() as i64;
        queue.push(Arrived { feed: Feed::EVENTS, shard, offset, appended_ms: self.clock / 1_000, key, value, headers, writer });
    }

    /// A new owner runs a version that follows a stream, all of it or its `other.added`.
    pub(in crate::engine::tests) fn follow(&mut self, start: FollowStart, all: bool) {
        let mut settings = (*self.settings).clone();
        let wanted = EventSpec {
            name: "other.added".into(),
            ordering: Ordering::Relaxed,
            tracking: Tracking::None,
            ..settings.event_types["sum.add"].clone()
        };
        settings.follows = vec![FollowSpec {
            stream: "other".into(),
            topic: "other.results".into(),
            start,
            by_record: [(wanted.reader.full_name.clone(), wanted.name.clone())].into(),
            event_types: [("other.added".to_owned(), wanted)].into(),
            all,
        }];
        self.settings = Arc::new(settings);
        self.take_over();
    }

    /// The followed stream tells a result of this type.
    pub(in crate::engine::tests) fn other_tells(&mut self, ce_type: &str, text: &str, hops: &str) {
        let (subject, body) = text.split_once(' ').unwrap();
        let mut headers = HeaderList::builder(64);
        headers.push(names::HEADER_CE_ID, b"always the same");
        headers.push(names::HEADER_CE_TYPE, ce_type.as_bytes());
        headers.push(names::HEADER_CE_HOPS, hops.as_bytes());
        let mut value = Vec::new();
        schemas::frame::begin(1, &mut value);
        value.extend_from_slice(body.as_bytes());
        let (shard, writer) = (Self::home(subject), self.writer());
        let queue = self.followed.entry(shard).or_default();
        let (offset, key) = (queue.len() as i64, Some(Bytes::copy_from_slice(subject.as_bytes())));
        // a processor's clock may be ahead of the broker's
        let appended_ms = self.clock / 1_000 + 3_600_000;
        queue.push(Arrived {
            feed: Feed(1),
            shard,
            offset,
            appended_ms,
            key,
            value: value.into(),
            headers: headers.finish(),
            writer,
        });
    }
}
