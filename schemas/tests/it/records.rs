//! Generated records against `apache-avro`: the same bytes, and no bytes that hurt.

use std::collections::BTreeMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use schemas::Catalog;
use schemas::datum::{Datum, DecodeError, Union};
use schemas::engine::{LogAccepted, LogAgenda, LogClaim, LogData, LogRow, LogStatus, LogTrailer, LogTrying};
use schemas::entities::{Entity, EntityState};
use schemas::flights::{AirportDelayed, Input, Recent};

/// The reference reads our bytes and writes the same ones; we read them back to the same value.
fn agrees<T: Datum + PartialEq + std::fmt::Debug>(value: &T) {
    let catalog = Catalog::embedded().unwrap();
    let streams = catalog.streams().iter();
    let of_streams = streams
        .flat_map(|stream| stream.rows.iter().map(|row| &row.schema).chain(stream.results.iter().map(|result| &result.schema)));
    let record = of_streams.chain(catalog.log_records()).find(|record| record.full_name == T::RECORD).unwrap();
    let mut ours = Vec::new();
    value.encode(&mut ours);
    let reader = GenericDatumReader::builder(&record.schema).build().unwrap();
    let mut rest = ours.as_slice();
    let reference = reader.read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    let theirs = GenericDatumWriter::builder(&record.schema).build().unwrap().write_value_to_vec(reference).unwrap();
    // the reference keeps maps in no order: compare what both read
    assert_eq!(theirs.len(), ours.len());
    assert_eq!(T::decode(&theirs).as_ref(), Ok(value));
    assert_eq!(T::decode(&ours).as_ref(), Ok(value));
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

prop_compose! {
    fn log_data()(
        n in any::<i64>(), writer in any::<[u8; 8]>(), subject in ".{0,9}",
        rows in vec((".{0,9}", option::of(bytes()), option::of(any::<i64>())), 0..4),
        agenda in vec((any::<i64>(), ".{0,9}", option::of(bytes())), 0..4),
        status in vec((any::<[u8; 16]>(), ".{0,9}", bytes(), option::of(any::<i64>())), 0..4),
    ) -> LogData {
        LogData {
            n, writer, subject,
            rows: rows.into_iter().map(|(sort, val, expire_at)| LogRow { sort, val, expire_at }).collect(),
            agenda: agenda.into_iter().map(|(due, id, val)| LogAgenda { due, id, val }).collect(),
            status: status.into_iter().map(|(key, part, val, expire_at)| LogStatus { key, part, val, expire_at }).collect(),
        }
    }
}

prop_compose! {
    fn log_trailer()(
        numbers in any::<[i64; 5]>(), writer in any::<[u8; 8]>(), count in any::<i32>(), digest in any::<[u8; 16]>(),
        positions in btree_map(".{0,9}", any::<i64>(), 0..4), accepted in vec((any::<i64>(), bytes()), 0..4),
    ) -> LogTrailer {
        let [n, ts, prev_ts, horizon, agenda_floor] = numbers;
        let accepted = accepted.into_iter().map(|(minute, keys)| LogAccepted { minute, keys }).collect();
        LogTrailer { n, writer, ts, prev_ts, count, digest, positions, accepted, horizon, agenda_floor }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn log_records_have_the_bytes_of_the_reference(data in log_data(), trailer in log_trailer()) {
        agrees(&data);
        agrees(&trailer);
    }

    #[test]
    fn no_cut_or_changed_record_panics(data in log_data(), trailer in log_trailer(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        data.encode(&mut one);
        trailer.encode(&mut two);
        prop_assert!(LogData::decode(&one[..at.index(one.len())]).is_err());
        prop_assert!(LogTrailer::decode(&two[..at.index(two.len())]).is_err());
        let (at_one, at_two) = (at.index(one.len()), at.index(two.len()));
        one[at_one] = to;
        two[at_two] = to;
        // any answer is right as long as there is one
        let _ = (LogData::decode(&one), LogTrailer::decode(&two));
    }

    #[test]
    fn no_bytes_at_all_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = (LogClaim::decode(&bytes), LogData::decode(&bytes), Entity::decode(&bytes), Recent::decode(&bytes));
    }
}

#[test]
fn every_kind_of_field_agrees_with_the_reference() {
    let trying = LogTrying { source: "events".into(), offset: -1, id: Some("t/1".into()), tries: 2 };
    let positions = BTreeMap::from([("flights.events".to_owned(), i64::MIN)]);
    for trying in [None, Some(trying)] {
        let (slot, host) = ("0".to_owned(), "h".to_owned());
        agrees(&LogClaim {
            writer: [7; 8],
            slot,
            host,
            generation: i32::MIN,
            after_n: i64::MAX,
            ts: 0,
            positions: positions.clone(),
            trying,
        });
    }
    agrees(&AirportDelayed { origin: "ATL".into(), mean_delay_minutes: 15.05, flights: 20 });
    agrees(&Recent { delays: vec![-5, 66, 0], delayed: true });
    for state in [EntityState::Pending, EntityState::Live, EntityState::Changing, EntityState::Deleted] {
        agrees(&Entity {
            version: 1,
            state,
            data: Bytes::from_static(b"\x06Ada"),
            schema: "f".into(),
            created_at: 1,
            created_by: None,
            updated_at: 2,
            updated_by: Some("ada".into()),
            next: Some(Bytes::new()),
        });
    }
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_before_it_is_believed() {
    // Recent: an array block that claims 2^40 items
    let mut bomb = Vec::new();
    schemas::datum::write_long(1 << 40, &mut bomb);
    assert!(matches!(Recent::decode(&bomb), Err(DecodeError::Invalid { .. })));
    assert_eq!(Recent::decode(b"\0\x01\0"), Err(DecodeError::Trailing { count: 1 }));
    assert_eq!(Input::decode("flight.arrived", b""), Err(DecodeError::UnknownType("flight.arrived".into())));
}
