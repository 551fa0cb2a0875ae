use apache_avro::reader::datum::GenericDatumReader;

use super::*;

fn status() -> EventStatus {
    EventStatus {
        state: State::FailedRetryable,
        outcome: Some("ok".to_owned()),
        code: None,
        detail: Some("späte Antwort".to_owned()),
        history: vec![Step { state: State::Queued, at: 1 }, Step { state: State::Processing, at: -2 }],
        attempts: 3,
        next_attempt: Some(i64::MAX),
        stream: "orders".to_owned(),
        subject: "acme/order/42".to_owned(),
        partition: 7,
        offset: 1 << 40,
        cause: Some("t/acme/x".to_owned()),
        products: vec![Product {
            kind: "event".to_owned(),
            stream: "mails".to_owned(),
            subject: "acme".to_owned(),
            event_type: "mail.send".to_owned(),
            seq: None,
            key: Some([9; 16]),
        }],
        reason: None,
    }
}

fn head() -> Head {
    let timers = BTreeMap::from([("close".to_owned(), 5), (String::new(), i64::MIN)]);
    Head { seq: 300, timers, front: 1, back: 2, held_item: Some(77) }
}

fn mark() -> Mark {
    let positions = BTreeMap::from([("orders.events".to_owned(), 12), ("mails.results".to_owned(), 0)]);
    Mark { applied: 9, n: 4, ts: 1_790_000_000_000_000, positions, horizon: -1, agenda_floor: 2 }
}

#[test]
fn every_row_reads_back() {
    assert_eq!(Head::decode(&head().encode()).unwrap(), head());
    assert_eq!(Head::decode(&Head::default().encode()).unwrap(), Head::default());
    assert_eq!(Mark::decode(&mark().encode()).unwrap(), mark());
    assert_eq!(EventStatus::decode(&status().encode()).unwrap(), status());
}

#[test]
fn every_cut_and_every_foreign_version_is_refused() {
    for row in [head().encode(), mark().encode(), status().encode()] {
        for end in 0..row.len() {
            let cut = &row[..end];
            assert!(Head::decode(cut).is_err() && Mark::decode(cut).is_err() && EventStatus::decode(cut).is_err());
        }
        let mut newer = row.to_vec();
        newer[0] = 2;
        assert_eq!(Head::decode(&newer), Err(Error::Version { found: 2 }));
        let longer = [&row[..], b"\0"].concat();
        assert!(Head::decode(&longer).is_err() && Mark::decode(&longer).is_err() && EventStatus::decode(&longer).is_err());
    }
}

#[test]
fn counts_and_lengths_beyond_their_bounds_are_refused_before_memory_is_taken() {
    let huge = [1, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert!(matches!(Head::decode(&huge), Err(Error::Invalid { .. })));
    let endless = [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(matches!(Head::decode(&endless), Err(Error::Invalid { .. })));
}

#[test]
fn a_long_history_keeps_its_beginning_and_its_end() {
    let mut status = status();
    status.history.clear();
    for at in 0..100 {
        status.enter(State::FailedRetryable, at);
    }
    let times: Vec<i64> = status.history.iter().map(|step| step.at).collect();
    assert_eq!(times, (0..4).chain(72..100).collect::<Vec<_>>());

    let step = |at| Step { state: State::Queued, at };
    status.history = (0..100).map(step).collect();
    let kept = EventStatus::decode(&status.encode()).unwrap().history;
    assert_eq!(kept, (0..4).chain(72..100).map(step).collect::<Vec<_>>());
}

#[test]
fn a_long_detail_is_cut_at_a_character() {
    let mut status = status();
    status.detail = Some("ä".repeat(DETAIL_BYTES_MAX));
    let kept = EventStatus::decode(&status.encode()).unwrap().detail.unwrap();
    assert_eq!(kept, "ä".repeat(DETAIL_BYTES_MAX / 2));
}

#[test]
fn rows_are_avro_of_the_schemas_beside_them() {
    for (row, avsc) in [
        (head().encode(), HEAD_AVSC),
        (mark().encode(), MARK_AVSC),
        (status().encode(), EVENT_STATUS_AVSC),
        (Head::default().encode(), HEAD_AVSC),
    ] {
        let schema = apache_avro::Schema::parse_str(avsc).unwrap();
        let mut rest = &row[1..];
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let value = reader.read_value(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert!(value.validate(&schema));
    }
}
