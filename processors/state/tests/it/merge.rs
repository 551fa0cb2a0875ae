//! S1 as a property: the result depends only on the set of writes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use state::{Cell, Frame, StateStore};

use crate::build::{Builds, MINUTE, START, agenda_key, bytes, frame, key};
use crate::stores::{self, Fixture, unique};

const SUBJECTS: [&str; 3] = ["a", "a/b", "c"];
const SORTS: [&str; 3] = ["", "m/1", "~head"];
const IDS: [&str; 2] = ["t/a/x", "r/1"];

#[derive(Debug, Clone)]
enum Write {
    Row(usize, usize, Option<u8>),
    Item(i64, usize, Option<u8>),
    Status(u8, bool, u8),
    Accepted(i64),
    Ended(i64),
}

fn write() -> impl Strategy<Value = Write> {
    let val = || proptest::option::weighted(0.7, any::<u8>());
    prop_oneof![
        4 => (0..SUBJECTS.len(), 0..SORTS.len(), val()).prop_map(|(subject, sort, val)| Write::Row(subject, sort, val)),
        2 => (0..3i64, 0..IDS.len(), val()).prop_map(|(due, id, val)| Write::Item(due, id, val)),
        2 => (0..3u8, any::<bool>(), any::<u8>()).prop_map(|(event, effect, val)| Write::Status(event, effect, val)),
        1 => (0..2i64).prop_map(Write::Accepted),
        1 => (0..2i64).prop_map(Write::Ended),
    ]
}

/// Frames, and the order in which they are delivered: each at least once.
fn history() -> impl Strategy<Value = (Vec<Vec<Write>>, Vec<usize>)> {
    proptest::collection::vec(proptest::collection::vec(write(), 1..6), 1..7).prop_flat_map(|frames| {
        let count = frames.len();
        let order =
            proptest::collection::vec(0..count, 0..count * 2).prop_map(move |again| (0..count).chain(again).collect::<Vec<_>>());
        (Just(frames), order.prop_shuffle())
    })
}

/// Tries `cases` histories.
pub(crate) fn check(fixture: &Fixture, cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let run = |(writes, order): (Vec<Vec<Write>>, Vec<usize>)| {
        stores::wait(deliver(&*fixture.store, &writes, &order)).map_err(TestCaseError::fail)
    };
    TestRunner::new(config).run(&history(), run).unwrap();
}

async fn deliver(store: &dyn StateStore, writes: &[Vec<Write>], order: &[usize]) -> Result<(), String> {
    let stream = unique("merge");
    store.open_stream(&stream, 1, 4).await.unwrap();
    let frames: Vec<Frame> = (1..).zip(writes).map(|(n, writes)| made(&stream, n, writes)).collect();
    for &at in order {
        store.apply(&frames[at]).await.unwrap();
    }
    let (found, wanted) = (dump(store, &frames[0]).await, expected(&frames));
    if found == wanted { Ok(()) } else { Err(format!("found {found:#?}, wanted {wanted:#?}")) }
}

/// A frame names each key at most once.
fn made(stream: &str, n: i64, writes: &[Write]) -> Frame {
    let mut seen = BTreeSet::new();
    let mut made = frame(stream, n);
    for write in writes {
        made = match write {
            Write::Row(subject, sort, val) if seen.insert(format!("r{subject}{sort}")) => {
                made.row(SUBJECTS[*subject], SORTS[*sort], val.map(|val| val.to_string()).as_deref())
            }
            Write::Item(due, id, val) if seen.insert(format!("a{due}{id}")) => {
                made.item(START + due * MINUTE, IDS[*id], val.map(|val| val.to_string()).as_deref())
            }
            Write::Accepted(minute) if seen.insert(format!("m{minute}")) => made.accepted(*minute, &n.to_string()),
            Write::Ended(minute) if seen.insert(format!("m{minute}")) => made.ended(*minute),
            Write::Status(event, effect, val) if seen.insert(format!("s{event}{effect}")) => {
                let mut made = made.status(*event, if *effect { "e/1" } else { "" }, bytes(&val.to_string()));
                let last = made.status.last_mut().unwrap();
                last.key.event = event_of(stream, *event);
                made
            }
            _ => made,
        };
    }
    made
}

/// Event keys are not bound to a stream: each history has its own.
fn event_of(stream: &str, event: u8) -> [u8; 16] {
    let mut key = [event; 16];
    let name = stream.as_bytes();
    let kept = name.len().min(15);
    key[..kept].copy_from_slice(&name[name.len() - kept..]);
    key
}

type Dump = BTreeMap<String, (i64, String)>;

async fn dump(store: &dyn StateStore, any: &Frame) -> Dump {
    let mut dump = Dump::new();
    let mut add = |name: String, ts: i64, val: &bytes::Bytes| dump.insert(name, (ts, String::from_utf8(val.to_vec()).unwrap()));
    for subject in SUBJECTS {
        for (key, Cell { ts, val, .. }) in store.subject(&any.shard, subject).await.unwrap() {
            add(format!("row {subject} {}", key.sort), ts, &val.unwrap());
            let again = store.rows(&any.shard, &[self::key(subject, &key.sort)]).await.unwrap();
            assert_eq!(again[0].as_ref().map(|cell| cell.ts), Some(ts));
        }
    }
    let items = store.agenda(&any.shard, &agenda_key(START, ""), &agenda_key(START + 10 * MINUTE, ""), 100).await.unwrap();
    for item in items {
        add(format!("item {} {}", item.key.due, item.key.id), 0, &item.val);
    }
    for minute in 0..2 {
        for row in store.dedupe(&any.shard, minute).await.unwrap() {
            add(format!("minute {minute} {}", row.ts), row.ts, &row.keys);
        }
    }
    let events: Vec<_> = (0..3).map(|event| event_of(&any.shard.stream, event)).collect();
    for (event, parts) in store.status(&events).await.unwrap().into_iter().enumerate() {
        for part in parts {
            add(format!("status {event} {}", part.part), part.cell.ts, &part.cell.val.unwrap());
        }
    }
    dump
}

/// The fold of the frames in their order.
fn expected(frames: &[Frame]) -> Dump {
    let mut dump = Dump::new();
    for frame in frames {
        let mut set = |name: String, ts: i64, val: Option<&bytes::Bytes>| match val {
            Some(val) => dump.insert(name, (ts, String::from_utf8(val.to_vec()).unwrap())),
            None => dump.remove(&name),
        };
        for row in &frame.rows {
            set(format!("row {} {}", row.key.subject, row.key.sort), frame.ts, row.val.as_ref());
        }
        for item in &frame.agenda {
            set(format!("item {} {}", item.key.due, item.key.id), 0, item.val.as_ref());
        }
        for row in &frame.dedupe {
            set(format!("minute {} {}", row.minute, row.ts), row.ts, Some(&row.keys));
        }
        for part in &frame.status {
            let event = (0..3).find(|event| event_of(&frame.shard.stream, *event) == part.key.event).unwrap();
            set(format!("status {event} {}", part.key.part), frame.ts, Some(&part.val));
        }
        for minute in &frame.dedupe_ended {
            dump.retain(|name, _| !name.starts_with(&format!("minute {minute} ")));
        }
    }
    dump
}
