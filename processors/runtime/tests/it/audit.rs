//! The audit finds what was planted, names it, and finds nothing where nothing is wrong.

use std::time::Duration;

use runtime::audit::{Check, Finding, Report};
use schemas::datum::Datum;
use schemas::engine::{LogAgenda, LogData, LogRow, LogTrailer};
use state::records::{Effect, Head, Item};
use state::{Frame, RowKey, RowWrite, Shard};

use crate::deployment::Deployment;

const AIRPORTS: [&str; 4] = ["ATL", "DTW", "LAS", "SFO"];

/// A deployment that has processed `flights` departures and a poisoned one, and stopped in order.
async fn stopped(name: &str, flights: usize) -> Deployment {
    let deployment = Deployment::new(name).await;
    let worker = deployment.start("slot").await;
    for n in 0..flights {
        deployment.depart(AIRPORTS[n % AIRPORTS.len()], 5, &n.to_string()).await;
    }
    deployment.depart("ATL", 667, "terminal").await;
    deployment.depart("ATL", 5, "0").await;
    deployment.await_records(&deployment.topics.results("flights"), flights).await;
    deployment.await_records(&deployment.topics.dead("flights"), 1).await;
    Deployment::stop(worker).await;
    deployment
}

fn shard_of(subject: &str) -> Shard {
    Shard { stream: "flights".into(), number: schemas::partition::partition_of(subject, 16) }
}

/// What somebody writes into the store by hand.
fn by_hand(subject: &str, ts: i64) -> Frame {
    let shard = shard_of(subject);
    let none = || Vec::new();
    Frame { shard, n: 1, ts, rows: Vec::new(), agenda: Vec::new(), status: none(), dedupe: Vec::new(), dedupe_ended: Vec::new() }
}

fn row(subject: &str, sort: &str, val: Option<&'static [u8]>) -> RowWrite {
    let key = RowKey { subject: subject.into(), sort: sort.into() };
    RowWrite { key, val: val.map(bytes::Bytes::from_static), expire_at: None }
}

#[track_caller]
fn only(report: &Report, check: Check) -> Vec<&Finding> {
    let others: Vec<_> = report.findings.iter().filter(|finding| finding.check != check).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(!report.is_clean());
    report.findings.iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_without_damage_is_clean_while_it_runs_and_when_it_is_stopped() {
    let deployment = stopped("audit-clean", 40).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    let total = report.total();
    assert!(total.frames > 0 && total.rows >= 8 && total.status == 41, "{total:?}");
    let worker = deployment.start("slot").await;
    let report = deployment.audit(true).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changed_deleted_or_added_by_hand_is_found_and_named() {
    let deployment = stopped("audit-rows", 8).await;
    let last = |subject: &'static str| {
        let deployment = &deployment;
        async move { deployment.store.subject(&shard_of(subject), subject).await.unwrap()[0].1.ts }
    };
    let (atl, dtw, las) = (last("ATL").await, last("DTW").await, last("LAS").await);
    let mut changed = by_hand("ATL", atl + 1);
    changed.rows.push(row("ATL", "", Some(b"changed")));
    let mut deleted = by_hand("DTW", dtw);
    deleted.rows.push(row("DTW", "", None));
    let mut rewritten = by_hand("LAS", las);
    rewritten.rows.push(row("LAS", "", Some(&[0xff; 8])));
    let mut added = by_hand("XYZ", 7);
    added.rows.push(row("XYZ", "", Some(b"never written")));
    for frame in [changed, deleted, rewritten, added] {
        deployment.store.apply(&frame).await.unwrap();
    }
    let report = deployment.audit(false).await;
    let findings = only(&report, Check::C4);
    let of = |subject: &str| -> &str {
        let of: Vec<_> = findings.iter().filter(|finding| finding.subject.as_deref() == Some(subject)).collect();
        assert_eq!(of.len(), 1, "{findings:#?}");
        assert_eq!(of[0].shard, shard_of(subject).number);
        &of[0].what
    };
    assert!(of("ATL").contains("newer"), "{}", of("ATL"));
    assert!(of("DTW").contains("is missing in the store"), "{}", of("DTW"));
    assert!(of("LAS").contains("differs"), "{}", of("LAS"));
    assert!(of("XYZ").contains("the log never wrote it"), "{}", of("XYZ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_everything_is_found() {
    let mut deployment = stopped("audit-lost", 8).await;
    deployment.store = std::sync::Arc::new(state::Memory::new());
    let report = deployment.audit(false).await;
    let findings = only(&report, Check::C4);
    assert!(findings.iter().all(|finding| finding.what.contains("the store has no mark")), "{findings:#?}");
    // a new start applies the log, and all is well
    let worker = deployment.start("slot").await;
    let report = deployment.audit(true).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    Deployment::stop(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_missing_from_the_stored_window_or_added_to_it_are_found_and_named() {
    let deployment = stopped("audit-window", 8).await;
    let log = deployment.kafka.read(&deployment.topics.log("flights")).await;
    let trailers = log.iter().filter(|record| record.header("kind") == Some("T"));
    let mut trailers = trailers.map(|record| {
        let trailer = LogTrailer::decode(&record.value.as_deref().unwrap()[schemas::frame::HEAD..]).unwrap();
        (record.partition, trailer)
    });
    // DTW: a minute is gone; LAS: a key stands there that no event had
    let dtw = shard_of("DTW");
    let (_, taken_up) =
        trailers.find(|(shard, trailer)| *shard == dtw.number && !trailer.accepted.is_empty()).expect("DTW departed");
    let minute = taken_up.accepted[0].minute;
    let mut gone = by_hand("DTW", taken_up.ts + 60_000_000);
    gone.dedupe_ended.push(minute);
    let mut added = by_hand("LAS", 7);
    added.dedupe.push(state::DedupeRow { minute, ts: 7, keys: vec![9; 16].into() });
    for frame in [gone, added] {
        deployment.store.apply(&frame).await.unwrap();
    }
    let report = deployment.audit(false).await;
    only(&report, Check::C4);
    assert_names(&whats(&report, "DTW"), Check::C4, "of the dedupe window the store lacks 2 keys");
    assert_names(&whats(&report, "LAS"), Check::C4, "has 1 keys that the log never accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_is_found_and_named() {
    let deployment = stopped("audit-open", 8).await;
    let foreign =
        testkit::Transactions::with_timeout(&deployment.kafka, &testkit::unique("foreign"), Duration::from_secs(600)).await;
    foreign.begin();
    foreign.send(&deployment.topics.events("flights"), shard_of("SFO").number, 0, b"SFO", b"", &[]);
    foreign.flush().await;
    let report = deployment.audit(false).await;
    let findings = only(&report, Check::C8);
    assert!(findings.iter().all(|finding| finding.shard == shard_of("SFO").number), "{findings:#?}");
    assert!(findings[0].what.contains("an open transaction has held flights.events"), "{findings:#?}");
    foreign.abort().await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

/// The last trailer of a subject's shard.
async fn last_trailer(deployment: &Deployment, subject: &str) -> LogTrailer {
    let log = deployment.kafka.read(&deployment.topics.log("flights")).await;
    let shard = shard_of(subject).number;
    let last = log.iter().rfind(|record| record.partition == shard && record.header("kind") == Some("T")).unwrap();
    LogTrailer::decode(&last.value.as_deref().unwrap()[schemas::frame::HEAD..]).unwrap()
}

/// The frame after `last`, without DATA.
fn next(last: &LogTrailer, n: i64) -> LogTrailer {
    let digest = runtime::engine::recover::digest(std::iter::empty());
    let next =
        LogTrailer { n, ts: last.ts + 5_000_000, prev_ts: last.ts, count: 0, digest, accepted: Vec::new(), ..last.clone() };
    assert_ne!(next.ts, last.ts);
    next
}

/// Writes a record into the log behind the engine's back.
async fn forge<T: Datum>(deployment: &Deployment, subject: &str, kind: Option<&str>, record: &T) {
    let mut value = Vec::new();
    schemas::frame::begin(deployment.ids.id_of(T::RECORD).unwrap(), &mut value);
    record.encode(&mut value);
    let headers: Vec<(&str, &[u8])> = match kind {
        Some(kind) => vec![("kind", kind.as_bytes()), ("v", b"1")],
        None => Vec::new(),
    };
    let key = if kind.is_none() { subject.as_bytes() } else { b"" };
    let topic = deployment.topics.log("flights");
    deployment.kafka.produce(&topic, Some(shard_of(subject).number), key, &value, &headers).await;
}

fn whats(report: &Report, subject: &str) -> Vec<(Check, String)> {
    let shard = shard_of(subject).number;
    let of = report.findings.iter().filter(|finding| finding.shard == shard);
    of.map(|finding| (finding.check, finding.what.clone())).collect()
}

#[track_caller]
fn assert_names(found: &[(Check, String)], check: Check, text: &str) {
    assert!(found.iter().any(|(of, what)| *of == check && what.contains(text)), "no {check:?} with {text:?} in {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_frame_an_orphan_a_torn_frame_and_a_lost_event_are_found_and_named() {
    let deployment = stopped("audit-log", 16).await;
    // ATL: a frame is missing
    let last = last_trailer(&deployment, "ATL").await;
    forge(&deployment, "ATL", Some("T"), &next(&last, last.n + 2)).await;
    // DTW: DATA without trailer
    let last = last_trailer(&deployment, "DTW").await;
    let data = LogData {
        n: last.n + 1,
        writer: last.writer,
        subject: "DTW".into(),
        rows: Vec::new(),
        agenda: Vec::new(),
        status: Vec::new(),
    };
    forge(&deployment, "DTW", None, &data).await;
    // LAS: a trailer whose DATA is not all there
    let last = last_trailer(&deployment, "LAS").await;
    forge(&deployment, "LAS", Some("T"), &LogTrailer { count: 2, ..next(&last, last.n + 1) }).await;
    // SFO: an event that the position passes over
    let last = last_trailer(&deployment, "SFO").await;
    deployment.depart("SFO", 5, "passed over").await;
    let positions = last.positions.iter().map(|(topic, at)| (topic.clone(), at + 1)).collect();
    forge(&deployment, "SFO", Some("T"), &LogTrailer { positions, ..next(&last, last.n + 1) }).await;

    let report = deployment.audit(false).await;
    assert_names(&whats(&report, "ATL"), Check::C3, "is missing");
    assert_names(&whats(&report, "DTW"), Check::C3, "have no trailer (subjects DTW)");
    assert_names(&whats(&report, "LAS"), Check::C3, "is torn");
    assert_names(&whats(&report, "SFO"), Check::C1, "is lost");
    assert_names(&whats(&report, "SFO"), Check::C4, "the mark is at frame");
    assert_names(&whats(&report, "SFO"), Check::C5, "the group's offset is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_told_twice_a_hole_a_foreign_cause_and_a_dead_letter_told_twice_are_found_and_named() {
    let deployment = stopped("audit-results", 16).await;
    let (topic, dead) = (deployment.topics.results("flights"), deployment.topics.dead("flights"));
    let results = deployment.kafka.read(&topic).await;
    let last = |subject: &str| results.iter().rfind(|record| record.subject() == subject).unwrap().clone();
    let (dtw, las, sfo) = (last("DTW"), last("LAS"), last("SFO"));
    deployment.repeat(&topic, &dtw, &[]).await;
    deployment.repeat(&topic, &las, &[("seq", "9")]).await;
    deployment.repeat(&topic, &sfo, &[("seq", "5"), ("cause", "00000000000000000000000000000001")]).await;
    let letter = deployment.kafka.read(&dead).await.pop().unwrap();
    deployment.repeat(&dead, &letter, &[]).await;

    let report = deployment.audit(false).await;
    assert_names(&whats(&report, "DTW"), Check::C2, "seq 4 is told again, after 4");
    assert_names(&whats(&report, "DTW"), Check::C9, "is told to have 1 results, there are 2");
    assert_names(&whats(&report, "LAS"), Check::C2, "seq 5 to 8 are missing");
    assert_names(&whats(&report, "LAS"), Check::C2, "the head says seq 4, the last result is 9");
    assert_names(&whats(&report, "SFO"), Check::C2, "was never taken up");
    assert_names(&whats(&report, "ATL"), Check::C1, "a second dead letter of flights.events/");
}

/// A whole frame with one DATA record, behind the engine's back.
async fn forge_frame(deployment: &Deployment, subject: &str, rows: Vec<LogRow>, agenda: Vec<LogAgenda>) {
    let last = last_trailer(deployment, subject).await;
    let n = last.n + 1;
    let data = LogData { n, writer: last.writer, subject: subject.into(), rows, agenda, status: Vec::new() };
    let mut value = Vec::new();
    schemas::frame::begin(deployment.ids.id_of(LogData::RECORD).unwrap(), &mut value);
    data.encode(&mut value);
    let digest = runtime::engine::recover::digest(std::iter::once(&value[..]));
    forge(deployment, subject, None, &data).await;
    forge(deployment, subject, Some("T"), &LogTrailer { count: 1, digest, ..next(&last, n) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_items_that_disagree_and_an_effect_that_begins_again_are_found_and_named() {
    let deployment = stopped("audit-agenda", 16).await;
    let worker = deployment.start("slot").await;
    deployment.depart("ATL", 671, "an effect").await;
    deployment.await_records(&deployment.topics.results("flights"), 17).await;
    Deployment::stop(worker).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    // ATL: the effect that has its outcome is there again, twice
    let results = deployment.kafka.read(&deployment.topics.results("flights")).await;
    let id = results.iter().filter_map(|record| record.header("cause")).find(|cause| cause.starts_with("e/")).unwrap().to_owned();
    let key = schemas::key::EventKey::of("/test", "an effect", None).0;
    let argument = bytes::Bytes::from_static(b"SFO");
    let (name, event) = ("ask".to_owned(), Some((key, 0)));
    let effect = Effect { name, argument, key: String::new(), attempts: 0, processing: false, event, history: Vec::new() };
    let far = last_trailer(&deployment, "ATL").await.ts + 3_600_000_000;
    let item = |due: i64, id: &str, item: &Item| LogAgenda { due, id: id.to_owned(), val: Some(item.encode()) };
    let effect = Item::Effect(effect);
    forge_frame(&deployment, "ATL", Vec::new(), vec![item(far, &id, &effect)]).await;
    forge_frame(&deployment, "ATL", Vec::new(), vec![item(far + 1, &id, &effect)]).await;
    // DTW: a timer that the head does not know
    let timer = Item::Timer { name: "ghost".into(), payload: bytes::Bytes::new() };
    forge_frame(&deployment, "DTW", Vec::new(), vec![item(far, "t/DTW/ghost", &timer)]).await;
    // LAS: a timer and a hold without items
    let head = Head { seq: 4, timers: [("lost".to_owned(), far)].into(), front: 0, back: 1, held_item: Some(far) };
    let head = LogRow { sort: "~head".into(), val: Some(head.encode()), expire_at: None };
    forge_frame(&deployment, "LAS", vec![head], Vec::new()).await;

    let report = deployment.audit(false).await;
    assert_names(&whats(&report, "ATL"), Check::C9, "it was started 3 times, its event was taken up 1 times");
    assert_names(&whats(&report, "ATL"), Check::C9, "it has 2 items: each would be attempted");
    assert_names(&whats(&report, "ATL"), Check::C9, "is told to have ended (Succeeded), and its item is there");
    assert_names(&whats(&report, "DTW"), Check::C7, "timer item \"t/DTW/ghost\"");
    assert_names(&whats(&report, "LAS"), Check::C7, "timer \"lost\"");
    assert_names(&whats(&report, "LAS"), Check::C7, "held with 1 parked events, and no item will free it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_in_many_passes_finds_what_one_pass_finds() {
    let deployment = stopped("audit-passes", 40).await;
    let whole = deployment.audit(false).await;
    assert!(whole.is_clean(), "{:#?}", whole.findings);
    let mut options = deployment.audit_options();
    options.keys_max = 20;
    let parts = deployment.audit_with(options.clone()).await;
    assert!(parts.is_clean(), "{:#?}", parts.findings);
    assert!(parts.passes > 1 && parts.keys_held <= 20 + 10, "{} passes, {} keys", parts.passes, parts.keys_held);
    assert_eq!(parts.total(), whole.total());
    // samples add up to the whole
    options = deployment.audit_options();
    options.sample = 3;
    let mut rows = 0;
    for stripe in 0..3 {
        options.stripe = stripe;
        let part = deployment.audit_with(options.clone()).await;
        assert!(part.is_clean(), "{:#?}", part.findings);
        rows += part.total().rows;
    }
    assert_eq!(rows, whole.total().rows);
}
