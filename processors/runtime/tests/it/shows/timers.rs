//! T18: timers that are set, replaced, cleared and fired while processes are killed and shards move: each ends once, none early.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::lifecycle::Lifecycle;
use futures::StreamExt;
use testkit::Account;

use super::machine::{Ask, FIRED, Fleet, Store, catalog};
use super::reader::{Reader, Told};
use super::{ask, now_ms, size};
use crate::deployment::Deployment;

/// Timers that one event sets.
const PER_EVENT: usize = 10;
/// Subjects whose timers are replaced and cleared.
const CHANGED: usize = 24;
/// Events under way to the broker at a time.
const IN_FLIGHT: usize = 500;

/// How the timers of one run are set.
#[derive(Clone, Copy)]
struct Plan {
    timers: usize,
    processes: usize,
    kills: usize,
    /// The first are due this long after they are set.
    lead: Duration,
    /// The others are due within this span after it.
    spread: Duration,
}

impl Plan {
    fn of(size: Option<usize>) -> Self {
        let second = Duration::from_secs;
        match size {
            None => Self { timers: 2_000, processes: 2, kills: 2, lead: second(4), spread: second(4) },
            // beyond the two minutes that the index reaches
            Some(timers) => Self { timers, processes: 1, kills: 6, lead: second(20), spread: second(150) },
        }
    }

    /// When the timers of an event are due, ms: those of every tenth at one instant, the others spread.
    fn due_ms(&self, event: usize, begun_ms: i64) -> i64 {
        let (lead, spread) = (self.lead.as_millis() as i64, self.spread.as_millis() as i64);
        if event.is_multiple_of(10) { begun_ms + lead } else { now_ms() + lead + (event as i64 * 7_919) % spread }
    }

    fn events(&self) -> usize {
        self.timers.div_ceil(PER_EVENT)
    }

    /// Timers that must end: those that only fire, and three of each subject that changes its mind.
    fn expected(&self) -> usize {
        self.events() * PER_EVENT + 3 * CHANGED
    }
}

/// What became of each timer, by its number.
struct Book {
    ends: Vec<u8>,
    ended: usize,
    early: usize,
    lateness_ms: Vec<u32>,
}

impl Book {
    fn take(&mut self, told: &Told) {
        let id = told.record.flights as usize;
        self.ends[id] = self.ends[id].saturating_add(1);
        self.ended += 1;
        if told.record.destination == FIRED {
            let due_ms = told.record.delay_minutes_sum.div_euclid(1_000);
            self.early += usize::from(due_ms > told.at_ms);
            self.lateness_ms.push((told.at_ms - due_ms).max(0) as u32);
        }
    }
}

/// Sets all timers, and changes some of them.
async fn set(deployment: Arc<Deployment>, plan: Plan) {
    let begun_ms = now_ms();
    let first = plan.events() * PER_EVENT;
    for n in 0..CHANGED {
        let (subject, id) = (format!("changed-{n}"), first + 3 * n);
        let at = |s: i64| begun_ms + s * 1_000;
        ask(&deployment, &subject, Ask::Set, at(6), id, "t").await;
        ask(&deployment, &subject, Ask::Set, at(5), id + 1, "t").await;
        ask(&deployment, &subject, Ask::Set, at(6), id + 2, "u").await;
        if n % 2 == 0 {
            ask(&deployment, &subject, Ask::Clear, at(0), id + 2, "u").await;
        }
    }
    let deployment = &deployment;
    let sends = (0..plan.events()).map(|n| async move {
        let due_ms = plan.due_ms(n, begun_ms);
        // those of one instant are all due then; the others a millisecond apart
        let step = usize::from(!n.is_multiple_of(10));
        ask(deployment, &format!("S{n}"), Ask::Timers, due_ms, PER_EVENT, &format!("{step}/{}", n * PER_EVENT)).await;
    });
    futures::stream::iter(sends).buffer_unordered(IN_FLIGHT).for_each(|()| async {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_end_once_and_never_early_whatever_is_killed() {
    let long = size("FOREBAY_SHOW_TIMERS");
    let plan = Plan::of(long);
    let mut deployment = Deployment::of("show-timers", catalog()).await;
    let name = deployment.prefix().trim_end_matches('.').to_owned();
    let store = match long {
        None => Store::Keyspace(name.replace('-', "_")),
        Some(_) => Store::Folder(format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"))),
    };
    let mut fleet = Fleet::start(&deployment, &store, "http://127.0.0.1:1", plan.processes).await;
    let reader = Reader::new(&deployment.kafka, &deployment.topics.results("flights"), 16);
    let mut book = Book { ends: vec![0; plan.expected()], ended: 0, early: 0, lateness_ms: Vec::new() };
    let begun = Instant::now();
    let helpers = Lifecycle::new();
    let (sent, all_sent) = tokio::sync::oneshot::channel();
    let shared = Arc::new(deployment);
    let setting = shared.clone();
    helpers.spawn_request("sets timers", async move {
        set(setting, plan).await;
        let _told = sent.send(begun.elapsed());
    });
    let patience = Duration::from_secs(120) + plan.spread * 2 + Duration::from_millis(plan.timers as u64 * 2);
    while book.ended < plan.expected() {
        tokio::task::block_in_place(|| reader.take(Duration::from_secs(2), |told| book.take(&told)));
        if fleet.kills < plan.kills && book.ended * (plan.kills + 1) > plan.expected() * fleet.kills {
            fleet.kill();
        }
        if long.is_some() {
            fleet.measure();
            println!("{:?}: {} ended, {} kills, {} MiB", begun.elapsed(), book.ended, fleet.kills, fleet.peak_kib / 1024);
        }
        assert!(begun.elapsed() < patience, "{} of {} ended within {patience:?}", book.ended, plan.expected());
    }
    let took = begun.elapsed();
    let set_within = all_sent.await.unwrap();
    fleet.stop().await;
    // a second end of any would be among these
    tokio::task::block_in_place(|| reader.take(Duration::from_secs(2), |told| book.take(&told)));
    let wrong: Vec<_> = book.ends.iter().enumerate().filter(|(_, ends)| **ends != 1).take(10).collect();
    assert!(wrong.is_empty(), "timers with another number of ends than one: {wrong:?}");
    assert_eq!(book.early, 0, "fired early");
    let auditing = Instant::now();
    deployment = Arc::try_unwrap(shared).unwrap_or_else(|_| panic!("everything was sent"));
    deployment.store = store.open(testkit::engines().await.cql.as_deref().unwrap()).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    if let Store::Folder(path) = &store {
        deployment.store = Arc::new(state::Memory::new());
        std::fs::remove_dir_all(path).unwrap();
    }
    book.lateness_ms.sort_unstable();
    let late = |part: f64| book.lateness_ms[((book.lateness_ms.len() - 1) as f64 * part) as usize];
    println!(
        "{} timers set in {set_within:?}, all ended once after {took:?}; {} fired, 0 early, late by {} ms (half), {} ms (99 %), \
         {} ms (most); {} kills; peak memory of a process {} MiB; audit clean in {:?}",
        plan.expected(),
        book.lateness_ms.len(),
        late(0.5),
        late(0.99),
        late(1.0),
        fleet.kills,
        fleet.peak_kib / 1024,
        auditing.elapsed()
    );
}

/// Timers that are due at one instant; the index may know every fifth of them.
#[tokio::test(flavor = "multi_thread")]
async fn timers_that_are_due_at_one_instant_fire_once_each_and_the_index_keeps_its_bound() {
    let long = size("FOREBAY_SHOW_BURST");
    let (timers, lead) = long.map_or((4_000, 8), |timers| (timers, 60));
    let (events, shards) = (timers / PER_EVENT, 16);
    let index = timers / shards / 5;
    let mut deployment = Deployment::of("show-burst", catalog()).await;
    let store = Store::Keyspace(deployment.prefix().trim_end_matches('.').replace('-', "_"));
    let mut fleet = Fleet::start_with(&deployment, &store, "http://127.0.0.1:1", 1, index).await;
    let reader = Reader::new(&deployment.kafka, &deployment.topics.results("flights"), 16);
    let mut book = Book { ends: vec![0; timers], ended: 0, early: 0, lateness_ms: Vec::new() };
    let (begun, due_ms, setting) = (Instant::now(), now_ms() + lead * 1_000, &deployment);
    let sends = (0..events).map(|n| async move {
        ask(setting, &format!("S{n}"), Ask::Timers, due_ms, PER_EVENT, &format!("0/{}", n * PER_EVENT)).await;
    });
    futures::stream::iter(sends).buffer_unordered(IN_FLIGHT).for_each(|()| async {}).await;
    let set_within = begun.elapsed();
    let patience = Duration::from_secs(120 + lead.unsigned_abs()) + Duration::from_millis(timers as u64 * 3);
    while book.ended < timers {
        tokio::task::block_in_place(|| reader.take(Duration::from_secs(2), |told| book.take(&told)));
        assert!(begun.elapsed() < patience, "{} of {timers} ended within {patience:?}", book.ended);
    }
    let took = begun.elapsed();
    let peak = fleet.index_peak();
    fleet.stop().await;
    // a second end of any would be among these
    tokio::task::block_in_place(|| reader.take(Duration::from_secs(2), |told| book.take(&told)));
    let wrong: Vec<_> = book.ends.iter().enumerate().filter(|(_, ends)| **ends != 1).take(10).collect();
    assert!(wrong.is_empty(), "timers with another number of ends than one: {wrong:?}");
    assert_eq!(book.early, 0, "fired early");
    assert!(peak > 0 && peak <= shards * index, "{peak} items in an index of at most {}", shards * index);
    deployment.store = store.open(testkit::engines().await.cql.as_deref().unwrap()).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    let most = book.lateness_ms.iter().max().copied().unwrap_or(0);
    println!(
        "{timers} timers set in {set_within:?}, due at one instant, all fired after {took:?}, late by {most} ms at most; \
         at most {peak} of {} in the index",
        shards * index
    );
    println!("{}", Account::new("burst").with("timers", timers).with("violations", 0_u64));
}
