//! What a batch does to the rows and results of one subject.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use schemas::catalog::Tracking;
use schemas::frame;
use state::records::{Head, Product};
use state::{AgendaKey, StatusWrite};

use super::{ShardWork, Stop};
use crate::dead_letter::Reason;
use crate::engine::batch::HEAD;
use crate::engine::cache::Image;
use crate::engine::emit;
use crate::engine::settings::Policy;
use crate::engine::shard_rows::size;
use crate::logic::{RawDecision, RawRow, RawRows};
use crate::processor::{Reads, Refusal};

/// What the batch does to one subject.
pub(super) struct Work {
    pub(super) subject: Arc<str>,
    pub(super) head: Head,
    pub(super) rows: Vec<Slot>,
    /// Bytes of the rows.
    pub(super) bytes: usize,
    /// It was held before this batch.
    pub(super) was_held: bool,
    pub(super) changed: bool,
    pub(super) agenda: BTreeMap<AgendaKey, Option<Bytes>>,
    pub(super) status: Vec<StatusWrite>,
}

impl Work {
    /// Changes a row; the last change of a batch stays.
    pub(super) fn put(&mut self, sort: Arc<str>, image: Image) {
        self.changed = true;
        match self.rows.iter_mut().find(|other| other.sort == sort) {
            Some(old) => {
                self.bytes = self.bytes + size(&sort, &image) - size(&sort, &old.image);
                old.image = image;
            }
            None => self.push(sort, image),
        }
    }

    /// Changes a row that was not changed before.
    pub(super) fn push(&mut self, sort: Arc<str>, image: Image) {
        self.bytes += size(&sort, &image);
        self.rows.push(Slot { sort, image });
    }

    /// A row, if the batch changes it.
    pub(super) fn changed(&self, sort: &str) -> Option<&Image> {
        self.rows.iter().find(|slot| &*slot.sort == sort).map(|slot| &slot.image)
    }
}

/// A row as the batch leaves it.
pub(super) struct Slot {
    pub(super) sort: Arc<str>,
    pub(super) image: Image,
}

impl ShardWork<'_, '_> {
    /// The subject's place in this batch.
    pub(super) fn work(&mut self, subject: &Arc<str>) -> Result<usize, Stop> {
        if let Some(at) = self.subjects.get(subject) {
            return Ok(*at);
        }
        let head = self.shard.cache.get(subject, HEAD).and_then(|image| image.val.as_ref());
        let head = head.map(|bytes| Head::decode(bytes)).transpose();
        let head = head.map_err(|error| Stop::Torn(format!("the head row of {subject}: {error}")))?.unwrap_or_default();
        self.works.push(Work {
            subject: subject.clone(),
            was_held: head.front < head.back,
            head,
            rows: Vec::new(),
            bytes: 0,
            changed: false,
            agenda: BTreeMap::new(),
            status: Vec::new(),
        });
        self.subjects.insert(subject.clone(), self.works.len() - 1);
        Ok(self.works.len() - 1)
    }

    /// The rows an input asked for, as they stand after everything before it.
    pub(super) fn rows(&mut self, at: usize, reads: &Reads) -> Result<RawRows, Stop> {
        if reads.of_shard() {
            self.home()?;
        }
        let shard = self.shard_rows(&reads.shard_rows, &reads.shard_ranges)?;
        let own = match self.is_home(at) {
            true => self.shard_rows(&reads.rows, &reads.ranges)?,
            false => self.own_rows(at, reads)?,
        };
        Ok(RawRows { own, shard })
    }

    fn own_rows(&mut self, at: usize, reads: &Reads) -> Result<Vec<RawRow>, Stop> {
        let work = &self.works[at];
        let mut rows = Vec::with_capacity(reads.rows.len());
        for range in &reads.ranges {
            let place = (self.shard.shard.number, work.subject.clone(), range.clone());
            let changed = work.rows.iter().map(|slot| (&slot.sort, &slot.image));
            let memory = self.shard.cache.rows(&work.subject).chain(changed);
            for (sort, image) in self.ranges.rows(&place, memory, self.ts).ok_or(Stop::Short)? {
                rows.extend(self.raw(sort, &image)?);
            }
        }
        for sort in &reads.rows {
            let image = work.changed(sort).or_else(|| self.shard.cache.get(&work.subject, sort));
            if let Some(image) = image.cloned() {
                rows.extend(self.raw(sort.as_str().into(), &image)?);
            }
        }
        Ok(rows)
    }

    /// A row without its frame; absent when it is deleted or has expired. Rows of other schema versions are turned into
    /// the present one when they are read, so whatever is in memory has a present id.
    pub(super) fn raw(&self, sort: Arc<str>, image: &Image) -> Result<Option<RawRow>, Stop> {
        let Some(framed) = image.at(self.ts) else { return Ok(None) };
        let torn = |what: String| Stop::Torn(format!("row {sort:?}: {what}"));
        let (id, datum) = frame::split(framed).map_err(|error| torn(error.to_string()))?;
        let record = self.settings.row_names.get(&id).ok_or_else(|| torn(format!("schema id {id} is not a present one")))?;
        let datum = framed.slice_ref(datum);
        Ok(Some(RawRow { record: record.clone(), datum, sort }))
    }

    /// Takes a decision over: its products, and how many events it sends. Everything is checked before anything changes.
    /// `kept`: the products are wanted for a status.
    pub(super) fn accept(
        &mut self,
        at: usize,
        told: &emit::Told<'_>,
        (tracking, kept): (Tracking, bool),
        decision: &RawDecision,
    ) -> Result<(Vec<Product>, u64), Stop> {
        let split = self.split(at, decision)?;
        self.check_size(decision)?;
        self.check_timers(at, &decision.timers)?;
        self.check_effects(at, &decision.effects)?;
        let mut sends = told.sends(&decision.sends, self.settings)?;
        sends.append(&mut told.broadcasts(&decision.broadcasts, self.settings)?);
        let mut products = match &decision.settles {
            None => self.tell(at, told, &decision.results, kept)?,
            Some((ticket, outcome)) => self.settle(at, told, ticket, outcome, &decision.results)?,
        };
        let sent = sends.iter().map(|(records, _)| records.len() as u64).sum();
        for (records, product) in sends {
            self.records.extend(records);
            products.push(product);
        }
        products.truncate(emit::PRODUCTS_MAX);
        self.put(at, split);
        self.set_timers(at, &decision.timers);
        self.cancel_effects(at, &decision.cancels);
        self.start_effects(at, told, tracking, &decision.effects);
        Ok((products, sent))
    }

    /// What one decision writes must fit a frame, timers and effects included.
    fn check_size(&self, decision: &RawDecision) -> Result<(), (Reason, String)> {
        let rows = decision.rows.iter().filter_map(|change| change.row.as_ref()).map(|(_, datum)| datum.len());
        let timers = decision.timers.iter().filter_map(|(_, set)| set.as_ref()).map(|(_, payload)| payload.len());
        let effects = decision.effects.iter().map(|start| start.argument.len());
        let (bytes, max) = (rows.chain(timers).chain(effects).sum::<usize>(), self.settings.limits.row_bytes);
        if bytes > max {
            return Err((Reason::TooLarge, format!("rows, timers and effects of {bytes} bytes; {max} are allowed")));
        }
        Ok(())
    }

    pub(super) fn framed(&self, record: &str, datum: &[u8]) -> Result<Bytes, (Reason, String)> {
        let id =
            self.settings.rows.get(record).ok_or_else(|| (Reason::Terminal, format!("{record} is no row of this stream")))?;
        if datum.len() > self.settings.limits.row_bytes {
            return Err((Reason::TooLarge, format!("a row of {record} is {} bytes", datum.len())));
        }
        let mut framed = Vec::with_capacity(datum.len() + frame::HEAD);
        frame::begin(*id, &mut framed);
        framed.extend_from_slice(datum);
        Ok(framed.into())
    }

    /// Numbers the results of an input and puts them into the batch; `kept`: their products are wanted.
    pub(super) fn tell(
        &mut self,
        at: usize,
        told: &emit::Told<'_>,
        results: &[(String, Bytes)],
        kept: bool,
    ) -> Result<Vec<Product>, (Reason, String)> {
        let first = self.works[at].head.seq + 1;
        let before = self.records.len();
        let mut products = Vec::new();
        for (seq, (ce_type, datum)) in (first..).zip(results) {
            let result = emit::Result { ce_type, datum, seq };
            match told.result(&result, self.settings) {
                Ok(record) => self.records.push(record),
                Err(why) => {
                    self.records.truncate(before);
                    return Err(why);
                }
            }
            if kept && products.len() < emit::PRODUCTS_MAX {
                products.push(told.product(&result, self.settings));
            }
        }
        let work = &mut self.works[at];
        work.head.seq += results.len() as i64;
        work.changed |= !results.is_empty();
        Ok(products)
    }

    /// Tells a refusal as `<noun>.rejected`, where the stream has such a result.
    pub(super) fn refuse(
        &mut self,
        at: usize,
        told: &emit::Told<'_>,
        policy: &Policy,
        refusal: &Refusal,
    ) -> Result<Vec<Product>, (Reason, String)> {
        let rejection = self.rejection(at, &policy.name, refusal);
        self.tell(at, told, rejection.as_slice(), true)
    }
}
