//! Results of another stream that shards follow.

use std::sync::Arc;

use bytes::Bytes;
use runtime::engine::transaction::OutRecord;
use schemas::key::EventKey;
use schemas::names;

use super::{BEGIN_US, SHARDS, header, subjects, written};
use crate::simulation::random::Random;

/// Transactions of the followed stream, per shard.
const TRANSACTIONS: usize = 4;

/// One transaction of the followed stream's owner.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Foreign {
    pub(in crate::simulation) at_us: i64,
    pub(in crate::simulation) records: Vec<OutRecord>,
}

/// What must come of a followed result.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct Heard {
    pub(in crate::simulation) key: EventKey,
    /// Results it has.
    pub(in crate::simulation) results: i64,
    /// It is a dead letter.
    pub(in crate::simulation) dead: bool,
    /// It may be told after later ones.
    pub(in crate::simulation) late: bool,
}

/// Per shard in order.
pub(in crate::simulation) fn foreign(random: &mut Random) -> Vec<Vec<Foreign>> {
    let of = |shard| {
        let mut at_us = BEGIN_US;
        let mut transaction = |n| {
            at_us += random.between(0, 60_000_000);
            let one = |m| record(random, shard, &format!("{shard}.f{n}.{m}"));
            let records = (0..2).map(one).collect();
            Foreign { at_us, records }
        };
        (0..TRANSACTIONS).map(&mut transaction).collect()
    };
    (0..SHARDS).map(of).collect()
}

fn record(random: &mut Random, shard: i32, id: &str) -> OutRecord {
    let subject: Arc<str> = random.pick(&subjects(shard)).clone();
    let (event_type, word) = match random.below(8) {
        0 => ("other.noise", "noise"),
        1 => ("other.told", "bad"),
        2 | 3 => ("other.told", "heard-late"),
        _ => ("other.told", "heard"),
    };
    let mut value = Vec::new();
    schemas::frame::begin(1, &mut value);
    value.extend_from_slice(format!("{word} {id}").as_bytes());
    if word == "bad" {
        value[schemas::frame::HEAD] = 0xff;
    }
    let key = Some(Bytes::copy_from_slice(subject.as_bytes()));
    written(shard, key, value, &[(names::HEADER_CE_ID, id), (names::HEADER_CE_TYPE, event_type)])
}

/// What must come of this record.
pub(in crate::simulation) fn heard(record: &OutRecord) -> Heard {
    let text = String::from_utf8_lossy(&record.value[schemas::frame::HEAD..]).into_owned();
    let dead = !text.is_ascii();
    Heard {
        key: EventKey::of(&names::stream_source("others"), header(record, names::HEADER_CE_ID), None),
        results: i64::from(text.starts_with("heard")),
        dead,
        late: text.starts_with("heard-late"),
    }
}
