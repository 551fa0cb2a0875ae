//! What the witness finds, and what it lets pass.

use std::collections::BTreeMap;

use schemas::datum::Datum;
use schemas::engine::{LogData, LogRow, LogTrailer};
use schemas::names::{HEADER_KIND, HEADER_SEQ, HEADER_V};

use super::results::{Seen, Told};
use super::views::{Folds, Shown, hash};
use crate::kafka::Record;

fn result(seq: u64, value: &[u8]) -> Record {
    let headers = vec![(HEADER_SEQ.to_owned(), seq.to_string().into_bytes())];
    Record { partition: 0, offset: seq as i64, timestamp_ms: -1, key: b"a".to_vec(), value: Some(value.to_vec()), headers }
}

fn told(records: &[Record], until: BTreeMap<i32, Seen>) -> Told {
    let mut told = Told::again(until);
    records.iter().for_each(|record| told.take(record));
    told
}

#[test]
fn results_that_stand_in_the_topic_as_they_were_shown_pass() {
    let first = told(&[result(1, b"x")], BTreeMap::new());
    told(&[result(1, b"x"), result(2, b"y")], first.partitions.clone()).check_repeated(&first);
}

#[test]
#[should_panic(expected = "as they were shown, and as they stand in the topic")]
fn a_result_that_was_shown_and_is_another_one_now_is_found() {
    let first = told(&[result(1, b"x")], BTreeMap::new());
    told(&[result(1, b"z"), result(2, b"y")], first.partitions.clone()).check_repeated(&first);
}

#[test]
#[should_panic(expected = "shown seq 1 of a after 1")]
fn a_result_shown_twice_is_found() {
    told(&[result(1, b"x"), result(1, b"x")], BTreeMap::new());
}

/// A log of one frame at time 7, which writes `val` into the root row of `a`.
fn log(val: &[u8]) -> Vec<Record> {
    let row = LogRow { sort: String::new(), val: Some(val.to_vec().into()), expire_at: None };
    let (writer, subject) = ([0; 8], "a".to_owned());
    let data = LogData { n: 1, writer, subject, rows: vec![row], agenda: Vec::new(), status: Vec::new() };
    let trailer = LogTrailer {
        n: 1,
        writer,
        ts: 7,
        prev_ts: 0,
        count: 1,
        digest: [0; 16],
        positions: BTreeMap::new(),
        accepted: Vec::new(),
        horizon: 0,
        agenda_floor: 0,
    };
    vec![log_record(&data, &[]), log_record(&trailer, &[(HEADER_KIND, "T"), (HEADER_V, "1")])]
}

fn log_record<T: Datum>(datum: &T, headers: &[(&str, &str)]) -> Record {
    let mut value = Vec::new();
    schemas::frame::begin(1, &mut value);
    datum.encode(&mut value);
    let headers = headers.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    Record { partition: 0, offset: 0, timestamp_ms: -1, key: b"a".to_vec(), value: Some(value), headers }
}

/// Checks a view of `a` at `ts` that showed `val`, against that log.
fn check(val: &[u8], ts: i64) {
    let mut shown = Shown::default();
    shown.all.insert(("a".to_owned(), ts), (0, hash([("", val)].into_iter())));
    let mut folds = Folds::new(&["a".to_owned()], &shown);
    log(b"true").iter().for_each(|record| folds.take(record));
    folds.check();
}

#[test]
fn a_view_of_a_committed_frame_passes() {
    check(b"true", 7);
}

#[test]
#[should_panic(expected = "showed other rows than the log has")]
fn a_view_of_other_rows_is_found() {
    check(b"false", 7);
}

#[test]
#[should_panic(expected = "views showed frames that the log does not have")]
fn a_view_of_a_frame_that_was_never_committed_is_found() {
    check(b"true", 8);
}
