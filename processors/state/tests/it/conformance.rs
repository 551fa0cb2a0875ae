//! What every store must do; rules S1–S8 by name.

use std::time::Duration;

use futures::FutureExt;
use state::reader::Within;
use state::{Cell, Error, Frame, RowRange, Shard, StateReader, StateStore};

use crate::build::{Builds, MINUTE, START, agenda_key, bytes, frame, key, mark, shard};
use crate::merge;
use crate::stores::{Fixture, unique};

/// Opens a stream of its own for a test.
async fn opened(fixture: &Fixture) -> String {
    let stream = unique("s");
    fixture.store.open_stream(&stream, 4, 16).await.unwrap();
    stream
}

async fn values(store: &dyn StateStore, shard: &Shard, subject: &str) -> Vec<(String, String)> {
    let rows = store.subject(shard, subject).await.unwrap();
    rows.into_iter().map(|(key, cell)| (key.sort.to_string(), text(&cell))).collect()
}

fn text(cell: &Cell) -> String {
    String::from_utf8(cell.val.clone().unwrap().to_vec()).unwrap()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(sort, val)| ((*sort).to_owned(), (*val).to_owned())).collect()
}

pub(crate) async fn equal_times_are_settled_by_deletion_then_by_bytes(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let low = frame(&stream, 5).row("bytes-ab", "", Some("a")).row("bytes-ba", "", Some("b"));
    let high = frame(&stream, 5).row("bytes-ab", "", Some("b")).row("bytes-ba", "", Some("a"));
    store.apply(&low).await.unwrap();
    store.apply(&high).await.unwrap();
    for subject in ["bytes-ab", "bytes-ba"] {
        assert_eq!(values(store, &low.shard, subject).await, pairs(&[("", "b")]));
    }
    let put = frame(&stream, 6).row("deleted-last", "", Some("x")).row("deleted-first", "", None);
    let delete = frame(&stream, 6).row("deleted-last", "", None).row("deleted-first", "", Some("x"));
    store.apply(&put).await.unwrap();
    store.apply(&delete).await.unwrap();
    for subject in ["deleted-last", "deleted-first"] {
        assert_eq!(values(store, &put.shard, subject).await, pairs(&[]));
    }
}

pub(crate) async fn a_late_put_does_not_pass_a_tombstone(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let early = frame(&stream, 1).row("a", "", Some("1")).item(START, "t/a/x", Some("1"));
    let delete = frame(&stream, 2).row("a", "", None).item(START, "t/a/x", None);
    store.apply(&delete).await.unwrap();
    store.apply(&early).await.unwrap();
    assert_eq!(store.rows(&early.shard, &[key("a", "")]).await.unwrap(), [None]);
    assert_eq!(store.agenda_item(&early.shard, &agenda_key(START, "t/a/x")).await.unwrap(), None);
    store.apply(&frame(&stream, 3).row("a", "", Some("3")).item(START, "t/a/x", Some("3"))).await.unwrap();
    assert_eq!(values(store, &early.shard, "a").await, pairs(&[("", "3")]));
    assert!(store.agenda_item(&early.shard, &agenda_key(START, "t/a/x")).await.unwrap().is_some());
}

pub(crate) async fn a_cancelled_apply_is_healed_by_its_repetition(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let mut big = frame(&stream, 1);
    for at in 0..300 {
        big = big.row(&format!("subject-{at}"), "", Some("v")).item(START + at * MINUTE, "r/x", Some("v"));
    }
    for _ in 0..3 {
        let _ = store.apply(&big).now_or_never(); // polled once, then dropped
    }
    store.apply(&big).await.unwrap();
    let keys: Vec<_> = big.rows.iter().map(|row| row.key.clone()).collect();
    let wanted = Some(Cell { ts: big.ts, val: Some(bytes("v")), expire_at: None });
    assert!(store.rows(&big.shard, &keys).await.unwrap().into_iter().all(|cell| cell == wanted));
    let items = store.agenda(&big.shard, &agenda_key(START, ""), &agenda_key(START + 300 * MINUTE, ""), 1_000).await.unwrap();
    assert_eq!(items.len(), 300);
}

pub(crate) async fn ranges_are_in_order_bounded_and_paged(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let mut rows = frame(&stream, 1).row("a", "", Some("root")).row("a", "m", Some("no")).row("a", "m0", Some("no")).head("a", 1);
    for at in 0..1_050 {
        rows = rows.row("a", &format!("m/{at:05}"), Some("v")).row("a\0b", &format!("m/{at:05}"), Some("other"));
    }
    store.apply(&rows).await.unwrap();
    store.apply(&frame(&stream, 2).row("a", "m/00003", None).row("a", "m/01000", None)).await.unwrap();
    let range =
        |start: Option<&str>, limit| RowRange { subject: "a".into(), prefix: "m/".into(), start: start.map(Into::into), limit };
    let read = async |start: Option<&str>, limit| store.range(&rows.shard, &range(start, limit)).await.unwrap();

    let first = read(None, 1_000).await;
    assert_eq!((first.len(), &*first[0].0.sort, &*first[999].0.sort), (1_000, "m/00000", "m/01001"));
    assert!(first.iter().all(|(key, cell)| &*key.subject == "a" && text(cell) == "v"));
    assert!(first.is_sorted_by(|one, two| one.0 < two.0));
    let rest = read(Some("m/01002"), 1_000).await;
    assert_eq!((rest.len(), &*rest[0].0.sort, &*rest[47].0.sort), (48, "m/01002", "m/01049"));
    assert_eq!(read(Some("m/00003"), 1).await[0].0, key("a", "m/00004"));
    assert_eq!(read(Some("a"), 1).await[0].0, key("a", "m/00000"));
    assert!(read(Some("m/99999"), 10).await.is_empty() && read(Some("z"), 10).await.is_empty());
    let all = RowRange { subject: "a".into(), prefix: "".into(), start: None, limit: 2 };
    let all = store.range(&rows.shard, &all).await.unwrap();
    assert_eq!([&*all[0].0.sort, &*all[1].0.sort], ["", "m"]);
}

pub(crate) async fn one_read_returns_a_whole_subject(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let mut rows = frame(&stream, 1).row("a", "", Some("root")).row("a/b", "", Some("other")).head("a", 7);
    for at in 0..700 {
        rows = rows.row("a", &format!("row/{at:03}"), Some("v"));
    }
    store.apply(&rows).await.unwrap();
    store.apply(&frame(&stream, 2).row("a", "row/000", None)).await.unwrap();
    let read = store.subject(&rows.shard, "a").await.unwrap();
    assert_eq!(read.len(), 701);
    assert!(read.is_sorted_by(|one, two| one.0 < two.0) && read.iter().all(|(key, _)| &*key.subject == "a"));
    assert!(read.iter().any(|(key, cell)| &*key.sort == "~head" && cell.ts == START + 1));
    assert!(store.subject(&rows.shard, "nobody").await.unwrap().is_empty());
}

pub(crate) async fn many_rows_come_in_the_order_of_their_keys(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let mut rows = frame(&stream, 1);
    for at in 0..450 {
        rows = rows.row(&format!("s{}", at % 40), &format!("{at}"), Some(&at.to_string()));
    }
    store.apply(&rows).await.unwrap();
    let mut keys: Vec<_> = rows.rows.iter().rev().map(|row| row.key.clone()).collect();
    keys.insert(5, key("s1", "absent"));
    keys.push(keys[0].clone());
    let read = store.rows(&rows.shard, &keys).await.unwrap();
    assert_eq!(read.len(), keys.len());
    for (key, cell) in keys.iter().zip(&read) {
        assert_eq!(cell.as_ref().map(text), Some(key.sort.to_string()).filter(|sort| sort != "absent"));
    }
    assert!(store.rows(&rows.shard, &[]).await.unwrap().is_empty());
}

pub(crate) async fn subjects_are_listed_once_under_a_cursor(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let mut rows = frame(&stream, 1).row("acme", "", Some("no")).row("acmf/x", "", Some("no"));
    for at in 0..90 {
        rows = rows.row(&format!("acme/{at}"), "", Some("v")).row(&format!("acme/{at}"), "b", Some("v"));
    }
    store.apply(&rows).await.unwrap();
    store.apply(&frame(&stream, 2).row("acme/5", "", None).row("acme/5", "b", None)).await.unwrap();
    let (mut all, mut cursor): (Vec<String>, _) = (Vec::new(), None);
    loop {
        let (page, next) = store.subjects(&rows.shard, "acme/", cursor.as_deref(), 7).await.unwrap();
        assert!(page.len() <= 7);
        all.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    all.sort_unstable();
    let mut wanted: Vec<String> = (0..90).filter(|at| *at != 5).map(|at| format!("acme/{at}")).collect();
    wanted.sort_unstable();
    assert_eq!(all, wanted);
    assert_eq!(store.subjects(&rows.shard, "", None, 1_000).await.unwrap().0.len(), 91);
    assert!(store.subjects(&rows.shard, "none/", None, 10).await.unwrap() == (Vec::new(), None));
}

pub(crate) async fn agenda_reads_are_in_order_across_minutes(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let mut items = frame(&stream, 1);
    for at in 0..40 {
        items =
            items.item(START + at * MINUTE / 2, &format!("t/{}", 40 - at), Some("v")).item(START + at * MINUTE / 2, "e/x", None);
    }
    items = items.item(START, "a", Some("first")).item(START, "z", Some("last"));
    store.apply(&items).await.unwrap();
    let read = async |from, to, limit| {
        let items = store.agenda(&items.shard, &from, &to, limit).await.unwrap();
        items.into_iter().map(|item| (item.key.due - START, item.key.id.to_string())).collect::<Vec<_>>()
    };
    let all = read(agenda_key(START, ""), agenda_key(START + 100 * MINUTE, ""), 1_000).await;
    assert_eq!(all.len(), 42);
    assert!(all.is_sorted());
    let some = read(agenda_key(START, "b"), agenda_key(START + MINUTE, "t/38"), 1_000).await;
    assert_eq!(some, [(0, "t/40".to_owned()), (0, "z".to_owned()), (MINUTE / 2, "t/39".to_owned())]);
    assert_eq!(read(agenda_key(START, ""), agenda_key(START + 100 * MINUTE, ""), 5).await, all[..5]);
    assert!(read(agenda_key(START + 50 * MINUTE, ""), agenda_key(START + 60 * MINUTE, ""), 5).await.is_empty());
    let item = store.agenda_item(&items.shard, &agenda_key(START, "a")).await.unwrap().unwrap();
    assert_eq!((&*item.subject, item.val), ("subject", bytes("first")));
}

pub(crate) async fn an_ended_minute_stays_ended(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let (first, second) = (frame(&stream, 1).accepted(7, "one"), frame(&stream, 2).accepted(7, "two").accepted(8, "eight"));
    store.apply(&second).await.unwrap();
    store.apply(&first).await.unwrap();
    let rows = store.dedupe(&first.shard, 7).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.ts - START, row.keys.clone())).collect::<Vec<_>>(),
        [(1, bytes("one")), (2, bytes("two"))]
    );
    store.apply(&frame(&stream, 3).ended(7)).await.unwrap();
    store.apply(&first).await.unwrap();
    assert!(store.dedupe(&first.shard, 7).await.unwrap().is_empty());
    assert_eq!(store.dedupe(&first.shard, 8).await.unwrap().len(), 1);
}

pub(crate) async fn the_watermark_with_the_highest_time_stays(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let (zero, one) = (shard(&stream, 0), shard(&stream, 1));
    assert_eq!(store.mark(&zero).await.unwrap(), None);
    store.set_marks(&[(zero.clone(), mark(&stream, 5, 9)), (one.clone(), mark(&stream, 1, 2))]).await.unwrap();
    store.set_marks(&[(zero.clone(), mark(&stream, 4, 8))]).await.unwrap();
    assert_eq!(store.mark(&zero).await.unwrap(), Some(mark(&stream, 5, 9)));
    assert_eq!(store.mark(&one).await.unwrap(), Some(mark(&stream, 1, 2)));
    store.set_marks(&[(zero.clone(), mark(&stream, 6, 10))]).await.unwrap();
    assert_eq!(store.mark(&zero).await.unwrap(), Some(mark(&stream, 6, 10)));
}

pub(crate) async fn expiry_is_left_to_the_caller(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let future = 4_000_000_000_000_000;
    let rows = frame(&stream, 1).expiring("a", "past", "p", START).expiring("a", "future", "f", future).head("a", 1);
    store.apply(&rows).await.unwrap();
    let cells = store.rows(&rows.shard, &[key("a", "past"), key("a", "future")]).await.unwrap();
    assert_eq!(cells[0].as_ref().unwrap().expire_at, Some(START));
    assert_eq!(cells[1].as_ref().unwrap().expire_at, Some(future));
    store.set_marks(&[(rows.shard.clone(), mark(&stream, 1, 0))]).await.unwrap();
    let reader = StateReader::new(fixture.store.clone());
    let seen = async |now| {
        let view = reader.subject(&rows.shard, "a", Within::new(now, Duration::from_secs(20))).await.unwrap();
        view.rows.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(seen(START - 1).await, ["future", "past"]);
    assert_eq!(seen(START).await, ["future"]);
    store.apply(&frame(&stream, 2).row("a", "past", Some("again")).head("a", 2)).await.unwrap();
    let cells = store.rows(&rows.shard, &[key("a", "past")]).await.unwrap();
    assert_eq!(cells[0].as_ref().unwrap().expire_at, None);
}

pub(crate) async fn a_stream_is_opened_with_one_layout_only(fixture: Fixture) {
    let stream = unique("layout");
    fixture.store.open_stream(&stream, 4, 16).await.unwrap();
    fixture.store.open_stream(&stream, 4, 16).await.unwrap();
    for (partitions, buckets) in [(8, 16), (4, 8)] {
        let refused = fixture.store.open_stream(&stream, partitions, buckets).await;
        assert!(matches!(&refused, Err(Error::Refused(text)) if text.contains(&stream)), "{refused:?}");
    }
    fixture.store.open_stream(&stream, 4, 16).await.unwrap();
}

pub(crate) async fn a_frame_of_megabytes_is_applied(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let large = "x".repeat(600 * 1024);
    let mut rows = frame(&stream, 1);
    for at in 0..12 {
        rows = rows.row(&format!("s{at}"), "", Some(&large)).row(&format!("s{at}"), "b", Some("small"));
    }
    store.apply(&rows).await.unwrap();
    let keys: Vec<_> = rows.rows.iter().map(|row| row.key.clone()).collect();
    let read = store.rows(&rows.shard, &keys).await.unwrap();
    assert!(rows.rows.iter().zip(read).all(|(row, cell)| cell.unwrap().val == row.val));
}

pub(crate) async fn frames_of_many_shards_do_not_meet(fixture: Fixture) {
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    for number in 0..4 {
        let mut one: Frame =
            frame(&stream, 1).row("a", "", Some(&number.to_string())).item(START, "t/a", Some("v")).accepted(1, "k");
        one.shard.number = number;
        store.apply(&one).await.unwrap();
    }
    for number in 0..4 {
        let shard = shard(&stream, number);
        assert_eq!(values(store, &shard, "a").await, pairs(&[("", &number.to_string())]));
        assert_eq!(store.agenda(&shard, &agenda_key(START, ""), &agenda_key(START + 1, ""), 9).await.unwrap().len(), 1);
        assert_eq!(store.dedupe(&shard, 1).await.unwrap().len(), 1);
    }
}

/// Frames are applied two at a time and out of order; the watermark follows the contiguous prefix.
pub(crate) async fn a_view_never_tears_and_never_goes_back(fixture: Fixture) {
    const FRAMES: i64 = 60;
    let stream = opened(&fixture).await;
    let store = &*fixture.store;
    let step = |n: i64| {
        let extra = (n % 2 == 0).then_some("even");
        frame(&stream, n)
            .row("a", "", Some(&n.to_string()))
            .row("a", "copy", Some(&n.to_string()))
            .row("a", "even", extra)
            .head("a", n)
    };
    let write = async {
        for n in (1..=FRAMES).step_by(2) {
            let (late, early) = (step(n), step(n + 1));
            futures::try_join!(store.apply(&early), store.apply(&late)).unwrap();
            store.set_marks(&[(late.shard, mark(&stream, n + 1, n))]).await.unwrap();
        }
    };
    let reader = StateReader::new(fixture.store.clone());
    let read = async {
        let mut last = 0;
        while last < FRAMES {
            let within = Within::new(START, Duration::from_secs(20));
            let view = reader.subject(&shard(&stream, 0), "a", within).await.unwrap();
            assert!(view.seq >= last, "from {last} back to {}", view.seq);
            last = view.seq;
            if last > 0 {
                assert_eq!(view.newest_ts, START + last);
                assert!(["", "copy"].iter().all(|sort| text(&view.rows[*sort]) == last.to_string()));
                assert_eq!(view.rows.contains_key("even"), last % 2 == 0);
            }
            tokio::task::yield_now().await;
        }
    };
    futures::join!(write, read);
}

pub(crate) async fn the_store_answers_a_ping(fixture: Fixture) {
    fixture.store.ping(Duration::from_secs(20)).await.unwrap();
}

#[test]
fn any_order_and_repetition_of_writes_gives_the_same_cells_in_memory() {
    merge::check(&crate::stores::memory(), 96);
}

#[test]
fn any_order_and_repetition_of_writes_gives_the_same_cells_embedded() {
    crate::stores::run(async {
        let fixture = crate::stores::embedded().await;
        tokio::task::spawn_blocking(move || merge::check(&fixture, 48)).await.unwrap();
    });
}

#[test]
fn any_order_and_repetition_of_writes_gives_the_same_cells_in_cql() {
    crate::stores::run(async {
        let fixture = crate::stores::cql().await;
        tokio::task::spawn_blocking(move || merge::check(&fixture, 12)).await.unwrap();
    });
}
