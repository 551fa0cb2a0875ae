//! C3: the log of one shard, record by record. A reading of its own, apart from the engine's recovery, so that one
//! may find what the other overlooks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use schemas::datum::Datum;
use schemas::engine::{LogClaim, LogData, LogTrailer};
use schemas::key::EventKey;
use schemas::partition::{SHARD_PREFIX, partition_of};
use schemas::{frame, names};
use state::AgendaKey;
use state::records::HEAD_SORT;

use super::book::{Book, Image, Place};
use super::report::{Check, Finding, Findings};
use crate::engine::log::{KIND_CLAIM, KIND_TRAILER, VERSION};
use crate::source::Record;

/// Frames without trailer that are kept while their trailer may come.
const OPEN_MAX: usize = 16;

type FrameId = (i64, [u8; 8]);

/// DATA of a frame whose trailer has not come yet.
struct Open {
    offset: i64,
    hasher: blake3::Hasher,
    data: Vec<(i64, LogData)>,
}

/// Reads the log into a [`Book`].
pub(crate) struct Chain<'a> {
    book: &'a mut Book,
    findings: &'a mut Findings,
    topic: &'a str,
    partitions: i32,
    open: BTreeMap<FrameId, Open>,
}

impl<'a> Chain<'a> {
    /// `topic` is the log's name without prefix.
    pub(crate) fn new(book: &'a mut Book, findings: &'a mut Findings, topic: &'a str, partitions: i32) -> Self {
        Self { book, findings, topic, partitions, open: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, record: &Record) {
        let version = record.header(names::HEADER_V);
        if version.is_some_and(|version| version != VERSION) {
            self.find(
                record.offset,
                format!("was written by a newer version ({}): use that version", version.unwrap_or_default()),
            );
            return;
        }
        let taken = match record.header(names::HEADER_KIND) {
            None => self.data(record),
            Some(kind) if kind == KIND_TRAILER => decode(record).map(|trailer| self.close(record.offset, trailer)),
            Some(kind) if kind == KIND_CLAIM => decode(record).map(|claim| self.claim(record.offset, &claim)),
            Some(kind) => Err(format!("is of unknown kind {kind:?}")),
        };
        if let Err(what) = taken {
            self.find(record.offset, what);
        }
    }

    /// Keys the book holds by now.
    pub(crate) fn keys(&self) -> u64 {
        self.book.keys()
    }

    /// The end of the log: what is still open has lost its trailer.
    pub(crate) fn finish(mut self) {
        for (id, open) in std::mem::take(&mut self.open) {
            self.orphan(id, &open);
        }
    }

    fn find(&mut self, offset: i64, what: impl Into<String>) {
        self.findings.add(Finding::new(Check::C3, self.book.shard, what).at(self.topic, offset));
    }

    fn orphan(&mut self, (n, _): FrameId, open: &Open) {
        let subjects: Vec<_> = open.data.iter().take(3).map(|(_, data)| data.subject.as_str()).collect();
        let what = format!("{} DATA records of frame {n} have no trailer (subjects {})", open.data.len(), subjects.join(", "));
        let finding = Finding::new(Check::C3, self.book.shard, what).at(self.topic, open.offset);
        self.findings.add(match subjects.first() {
            Some(subject) => finding.of(subject),
            None => finding,
        });
    }

    fn data(&mut self, record: &Record) -> Result<(), String> {
        let data: LogData = decode(record)?;
        if record.subject() != data.subject {
            self.find(record.offset, format!("has key {:?} and DATA of subject {:?}", record.subject(), data.subject));
        }
        let id = (data.n, data.writer);
        let open = self.open.entry(id).or_insert_with(|| Open {
            offset: record.offset,
            hasher: blake3::Hasher::new(),
            data: Vec::new(),
        });
        open.hasher.update(&record.value);
        open.data.push((record.offset, data));
        if self.open.len() > OPEN_MAX
            && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.offset).map(|(id, _)| *id)
            && let Some(open) = self.open.remove(&oldest)
        {
            self.orphan(oldest, &open);
        }
        Ok(())
    }

    fn claim(&mut self, offset: i64, claim: &LogClaim) {
        let tip = &self.book.tip;
        if tip.n > 0 && claim.after_n != tip.n {
            let what =
                format!("a claim by slot {:?} says it follows frame {}, the log stands at {}", claim.slot, claim.after_n, tip.n);
            self.find(offset, what);
        }
    }

    fn close(&mut self, offset: i64, trailer: LogTrailer) {
        let open = self.open.remove(&(trailer.n, trailer.writer));
        let (count, digest, data) = match open {
            Some(open) => (open.data.len(), open.hasher.finalize(), open.data),
            None => (0, blake3::Hasher::new().finalize(), Vec::new()),
        };
        if count as i64 != i64::from(trailer.count) || digest.as_bytes()[..16] != trailer.digest {
            let same = if count as i64 == i64::from(trailer.count) { "other bytes" } else { "not all of them" };
            let what = format!(
                "frame {} is torn: its trailer counts {} DATA records, {count} are there, {same}; the engine ignores it",
                trailer.n, trailer.count
            );
            self.findings.add(Finding::new(Check::C3, self.book.shard, what).at(self.topic, offset).frame(trailer.ts));
            return;
        }
        self.check_link(offset, &trailer);
        self.book.tip = Place {
            applied: offset + 1,
            n: trailer.n,
            ts: trailer.ts,
            positions: trailer.positions.into_iter().collect(),
            horizon: trailer.horizon.max(self.book.tip.horizon),
        };
        if self.book.first.is_none() {
            self.book.first = Some(self.book.tip.clone());
        }
        self.book.frames += 1;
        self.book.frames_ms.push(trailer.ts / 1_000);
        for entry in &trailer.accepted {
            for key in entry.keys.as_chunks::<16>().0 {
                self.book.accept(EventKey(*key), entry.minute, offset);
            }
        }
        self.images(trailer.ts, data);
    }

    /// The frame continues the one before. The first one may continue what retention removed.
    fn check_link(&mut self, offset: i64, trailer: &LogTrailer) {
        let tip = &self.book.tip;
        let mut wrong = Vec::new();
        let follows = self.book.complete || self.book.frames > 0;
        if follows && trailer.n > tip.n + 1 {
            wrong.push(match trailer.n - tip.n {
                2 => format!("frame {} is missing: frame {} follows frame {}", tip.n + 1, trailer.n, tip.n),
                _ => {
                    format!("frames {} to {} are missing: frame {} follows frame {}", tip.n + 1, trailer.n - 1, trailer.n, tip.n)
                }
            });
        } else if follows && trailer.n <= tip.n {
            wrong.push(format!("frame {} stands behind frame {}", trailer.n, tip.n));
        } else if follows && trailer.prev_ts != tip.ts {
            wrong.push(format!("frame {} says the one before it has ts {}, it has {}", trailer.n, trailer.prev_ts, tip.ts));
        }
        if trailer.ts <= tip.ts {
            wrong.push(format!("the ts of frame {} does not rise: {} after {}", trailer.n, trailer.ts, tip.ts));
        }
        let new: BTreeMap<&str, i64> = trailer.positions.iter().map(|(topic, at)| (topic.as_str(), *at)).collect();
        for (topic, at) in &tip.positions {
            match new.get(topic.as_str()) {
                Some(new) if new >= at => {}
                Some(new) => wrong.push(format!("frame {} moves the position of {topic} back from {at} to {new}", trailer.n)),
                None => wrong.push(format!("frame {} forgets the position of {topic} ({at})", trailer.n)),
            }
        }
        for what in wrong {
            self.findings.add(Finding::new(Check::C3, self.book.shard, what).at(self.topic, offset).frame(trailer.ts));
        }
    }

    fn images(&mut self, ts: i64, data: Vec<(i64, LogData)>) {
        let mut seen: HashSet<(Arc<str>, String)> = HashSet::new();
        let mut headless: BTreeMap<Arc<str>, i64> = BTreeMap::new();
        let mut headed: HashSet<Arc<str>> = HashSet::new();
        for (offset, data) in data {
            let subject: Arc<str> = data.subject.as_str().into();
            self.book.put_effects(&subject, offset, &data);
            let shard = self.book.shard;
            let find = |findings: &mut Findings, what: String| {
                findings.add(Finding::new(Check::C3, shard, what).at(self.topic, offset).of(&subject).frame(ts));
            };
            if !data.rows.is_empty() && partition_of(&subject, self.partitions) != shard {
                find(self.findings, format!("a row of a subject of shard {}", partition_of(&subject, self.partitions)));
            }
            for row in data.rows {
                if !seen.insert((subject.clone(), row.sort.clone())) {
                    find(self.findings, format!("row {:?} stands twice in one frame", row.sort));
                }
                if row.sort == HEAD_SORT {
                    headed.insert(subject.clone());
                } else {
                    headless.entry(subject.clone()).or_insert(offset);
                }
                let image = Image::of(ts, offset, row.val.as_deref(), row.expire_at);
                self.book.put_row(&subject, &row.sort, image, row.val.as_deref());
            }
            for item in data.agenda {
                if item.val.is_some() && item.due < ts {
                    find(self.findings, format!("agenda item {:?} is due at {}, before its frame", item.id, item.due));
                }
                let image = Image::of(ts, offset, item.val.as_deref(), None);
                self.book.put_item(AgendaKey { due: item.due, id: item.id.into() }, &subject, image);
            }
            for status in data.status {
                let image = Image::of(ts, offset, Some(&status.val), status.expire_at);
                self.book.put_status(status.key, &status.part, image, &status.val);
            }
        }
        // a delete leaves no readable write time, so the head's stands for it
        for (subject, offset) in headless.into_iter().filter(|(subject, _)| !headed.contains(subject)) {
            if !subject.starts_with(SHARD_PREFIX) {
                let finding = Finding::new(Check::C3, self.book.shard, "rows change without their subject's head");
                self.findings.add(finding.at(self.topic, offset).of(&subject).frame(ts));
            }
        }
    }
}

fn decode<T: Datum>(record: &Record) -> Result<T, String> {
    let (_, datum) = frame::split(&record.value).map_err(|error| format!("is no record of the log: {error}"))?;
    T::decode(datum).map_err(|error| format!("is no {}: {error}", T::RECORD))
}
