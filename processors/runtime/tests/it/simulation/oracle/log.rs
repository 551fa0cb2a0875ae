//! The log: one chain per shard, whole frames, and what they add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use runtime::engine::transaction::{OutRecord, Topic};
use schemas::datum::Datum;
use schemas::engine::{LogClaim, LogData, LogTrailer};
use schemas::{frame, names};
use state::{Cell, Mark};

use crate::simulation::kafka::Partition;
use crate::simulation::store::{Key, agenda_value};
use crate::simulation::world::Shared;

/// Cells by key.
pub(in crate::simulation) type Cells = BTreeMap<Key, Cell>;

/// A trailer, with its offset.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Trailer {
    pub(in crate::simulation) offset: i64,
    pub(in crate::simulation) n: i64,
    pub(in crate::simulation) ts: i64,
    pub(in crate::simulation) horizon: i64,
    pub(in crate::simulation) agenda_floor: i64,
    pub(in crate::simulation) positions: BTreeMap<String, i64>,
    /// Minute and keys.
    pub(in crate::simulation) accepted: Vec<(i64, Bytes)>,
}

/// A committed frame.
#[derive(Debug)]
pub(in crate::simulation) struct Seen {
    pub(in crate::simulation) trailer: Trailer,
    pub(in crate::simulation) data: Vec<LogData>,
}

fn kind(record: &OutRecord) -> &str {
    let kind = record.headers.iter().find(|(name, _)| *name == names::HEADER_KIND);
    kind.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or("D")
}

fn decode<T: Datum>(record: &OutRecord) -> T {
    let (_, datum) = frame::split(&record.value).expect("the log holds framed values");
    T::decode(datum).expect("the log holds what the schema says")
}

impl Trailer {
    fn of(offset: i64, trailer: LogTrailer) -> Self {
        Self {
            offset,
            n: trailer.n,
            ts: trailer.ts,
            horizon: trailer.horizon,
            agenda_floor: trailer.agenda_floor,
            positions: trailer.positions.into_iter().collect(),
            accepted: trailer.accepted.into_iter().map(|accepted| (accepted.minute, accepted.keys)).collect(),
        }
    }

    /// The watermark that says the store has all up to here.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            applied: self.offset + 1,
            n: self.n,
            ts: self.ts,
            positions: self.positions.clone(),
            horizon: self.horizon,
            agenda_floor: self.agenda_floor,
        }
    }
}

/// DATA that waits for its trailer, by frame number and writer.
type Open = HashMap<(i64, [u8; 8]), Vec<(LogData, Bytes)>>;

/// The last committed trailer.
pub(super) fn tip(partition: &Partition) -> Option<Trailer> {
    let trailers = partition.committed(0).filter(|(_, record)| kind(record) == "T");
    trailers.last().map(|(offset, record)| Trailer::of(offset, decode(record)))
}

/// Offsets of events whose owners ended each of the times they tried them alone.
pub(super) fn condemned(shared: &Shared, shard: i32) -> BTreeSet<i64> {
    let (events, most) = (&shared.settings.events, shared.settings.limits.single_tries);
    let mut kafka = shared.kafka.borrow_mut();
    let claims = kafka.partition(Topic::Log, shard).committed(0).filter(|(_, record)| kind(record) == "C");
    let tried = claims.filter_map(|(_, record)| decode::<LogClaim>(record).trying);
    tried.filter(|tried| tried.tries >= most && *tried.source == **events).map(|tried| tried.offset).collect()
}

/// The frames of a shard. They must chain, and every record must belong to one.
pub(super) fn chain(shared: &Shared, shard: i32) -> Vec<Seen> {
    let mut kafka = shared.kafka.borrow_mut();
    let mut open: Open = HashMap::new();
    let mut chain: Vec<Seen> = Vec::new();
    let broken = |what: String| shared.violation("chain", || format!("shard {shard}: {what}"));
    for (offset, record) in kafka.partition(Topic::Log, shard).committed(0) {
        match kind(record) {
            "D" => {
                let data: LogData = decode(record);
                open.entry((data.n, data.writer)).or_default().push((data, record.value.clone()));
            }
            "T" => {
                let trailer: LogTrailer = decode(record);
                let data = open.remove(&(trailer.n, trailer.writer)).unwrap_or_default();
                let mut digest = blake3::Hasher::new();
                for (_, value) in &data {
                    digest.update(value);
                }
                if data.len() as i64 != i64::from(trailer.count) || digest.finalize().as_bytes()[..16] != trailer.digest {
                    broken(format!("frame {} at {offset} is not whole", trailer.n));
                }
                let (n, prev_ts, new) = (trailer.n, trailer.prev_ts, Trailer::of(offset, trailer));
                let before = chain.last().map(|seen| &seen.trailer);
                let (last_n, last_ts) = before.map_or((0, 0), |before| (before.n, before.ts));
                let back =
                    before.is_some_and(|before| before.positions.iter().any(|(topic, at)| new.positions.get(topic) < Some(at)));
                if n != last_n + 1 || prev_ts != last_ts || new.ts <= last_ts || back {
                    broken(format!("frame {n} at {} (after {prev_ts}) follows frame {last_n} at {last_ts}", new.ts));
                }
                chain.push(Seen { trailer: new, data: data.into_iter().map(|(data, _)| data).collect() });
            }
            _ => {}
        }
    }
    if !open.is_empty() {
        broken(format!("{} frames have no trailer", open.len()));
    }
    chain
}

/// What the store must hold of a shard in the end.
pub(super) fn fold(shard: i32, chain: &[Seen]) -> Cells {
    let mut cells = Cells::new();
    for Seen { trailer, data } in chain {
        let ts = trailer.ts;
        for data in data {
            let subject: Arc<str> = data.subject.as_str().into();
            for row in &data.rows {
                let expire_at = row.expire_at.filter(|_| row.val.is_some());
                let key = Key::Row(shard, subject.clone(), row.sort.as_str().into());
                cells.insert(key, Cell { ts, val: row.val.clone(), expire_at });
            }
            for item in &data.agenda {
                let key = Key::Agenda(shard, item.due, item.id.as_str().into());
                cells.insert(key, Cell { ts, val: agenda_value(&data.subject, item.val.as_ref()), expire_at: None });
            }
            for status in &data.status {
                let key = Key::Status(status.key, status.part.as_str().into());
                cells.insert(key, Cell { ts, val: Some(status.val.clone()), expire_at: status.expire_at });
            }
        }
        for (minute, keys) in &trailer.accepted {
            cells.insert(Key::Dedupe(shard, *minute, ts), Cell { ts, val: Some(keys.clone()), expire_at: None });
        }
    }
    cells
}
