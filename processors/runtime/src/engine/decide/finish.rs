//! The end of a batch: DATA and TRAILER of each shard for the log, the frame for the store.

use bytes::Bytes;
use state::{AgendaWrite, DedupeRow, Frame, RowKey, RowWrite};

use super::ShardWork;
use super::subject::{Slot, Work};
use crate::engine::agenda::SLICE_US;
use crate::engine::batch::HEAD;
use crate::engine::cache::Image;
use crate::engine::headers::HeaderList;
use crate::engine::input::{Feed, Inlet};
use crate::engine::log::{self, Trailer, WriterId};
use crate::engine::recover::digest;
use crate::engine::rules::Rule;
use crate::engine::settings::Settings;
use crate::engine::transaction::{OutRecord, ShardChange, Topic, Transaction};

impl ShardWork<'_, '_> {
    /// DATA and TRAILER of the shard, and the frame for the store.
    pub(super) fn finish(mut self, writer: &WriterId, transaction: &mut Transaction) {
        self.put_shard_rows();
        let Self { shard, settings, ts, horizon, positions, works, records, accepted, attempts, .. } = self;
        let n = shard.tip.n + 1;
        let mut frame = Frame {
            shard: shard.shard.clone(),
            n,
            ts,
            rows: Vec::new(),
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: shard.dedupe.ended(horizon).collect(),
        };
        let number = shard.shard.number;
        let held = works.iter().filter(|work| work.was_held || work.head.front < work.head.back);
        let held = held.map(|work| (work.subject.clone(), work.head.back - work.head.front)).collect();
        transaction.attempts.extend(attempts);
        transaction.records.extend(records);
        let first_data = transaction.records.len();
        for work in works {
            if let Some(record) = data_of(work, (n, writer), settings, number, &mut frame) {
                transaction.records.push(record);
            }
        }
        let data = &transaction.records[first_data..];
        let mut tip = shard.tip.clone();
        let trailer = Trailer {
            n,
            writer: *writer,
            ts,
            prev_ts: tip.ts,
            count: data.len() as i32,
            digest: digest(data.iter().map(|record| &record.value[..])),
            positions: {
                let told = |feed: &Feed| *feed == Feed::EVENTS || settings.rules.keep(Rule::FollowedPositions);
                let moved = positions.iter().filter(|(feed, _)| told(feed));
                tip.positions.extend(moved.map(|(feed, offset)| (settings.topic(*feed).to_string(), *offset)));
                tip.positions.clone()
            },
            accepted: accepted.into_iter().map(|(minute, keys)| (minute, keys.into())).collect(),
            horizon,
            agenda_floor: if settings.rules.keep(Rule::LowFloor) { shard.agenda.floor(ts) } else { ts.div_euclid(SLICE_US) },
        };
        let dedupe = trailer.accepted.iter().map(|(minute, keys)| DedupeRow { minute: *minute, ts, keys: keys.clone() });
        frame.dedupe = dedupe.collect();
        let bytes = data.iter().map(|record| record.value.len()).sum();
        let moved = |(feed, offset): (&Feed, &i64)| shard.position(settings.topic(*feed)) != *offset;
        if positions.iter().any(moved) || settings.rules.keep(Rule::TrailerAlways) {
            transaction.records.push(OutRecord::marker(number, log::KIND_TRAILER, trailer.encode(settings.engine.trailer)));
        }
        let moved = positions.into_iter().map(|(feed, offset)| (Inlet { feed, shard: number }, offset));
        transaction.positions.extend(moved);
        (tip.n, tip.ts, tip.horizon, tip.agenda_floor) = (n, ts, horizon, trailer.agenda_floor);
        transaction.changes.push(ShardChange { shard: number, frame, bytes, tip, held });
    }
}

/// The DATA record of a subject, and its writes for the store; `None` when nothing changed.
fn data_of(work: Work, frame_id: (i64, &WriterId), settings: &Settings, shard: i32, frame: &mut Frame) -> Option<OutRecord> {
    let Work { subject, head, mut rows, changed, agenda, status, .. } = work;
    if !changed && agenda.is_empty() && status.is_empty() {
        return None;
    }
    if changed {
        let image = Image { val: Some(head.encode()), expire_at: None };
        rows.push(Slot { sort: HEAD.into(), image });
    }
    let mut value = Vec::with_capacity(64 + rows.len() * 96 + status.len() * 192);
    let writes = agenda.into_iter().map(|(key, val)| AgendaWrite { key, subject: subject.clone(), val });
    let agenda: Vec<_> = writes.collect();
    let images = rows.iter().map(|slot| (&*slot.sort, &slot.image));
    log::write_data(&mut value, settings.engine.data, frame_id, &subject, images, &agenda, &status);
    let key = (!subject.is_empty()).then(|| Bytes::copy_from_slice(subject.as_bytes()));
    frame.rows.extend(rows.into_iter().map(|slot| RowWrite {
        key: RowKey { subject: subject.clone(), sort: slot.sort },
        val: slot.image.val,
        expire_at: slot.image.expire_at,
    }));
    frame.agenda.extend(agenda);
    frame.status.extend(status);
    let headers = HeaderList::default();
    Some(OutRecord { topic: Topic::Log, shard, key, value: value.into(), headers, timestamp_ms: None, trailer: false })
}
