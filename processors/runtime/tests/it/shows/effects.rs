//! T17 and T19: effects of a target that fails and dies, behind strict events that wait for them, while processes are killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chassis::lifecycle::Lifecycle;

use super::machine::{Ask, COUNTED, Fleet, PASSED, Store, catalog};
use super::reader::{Reader, Told};
use super::target::{Seen, Target};
use super::{ask, size};
use crate::deployment::Deployment;

/// The target is dead for this long in a long run.
const DEATH: Duration = Duration::from_secs(60);

/// Steps of a subject, each an effect or an alarm and then a strict event that waits for it.
struct Plan {
    subjects: usize,
    steps: usize,
    kills: usize,
}

impl Plan {
    fn of(size: Option<usize>) -> Self {
        match size {
            None => Self { subjects: 6, steps: 4, kills: 2 },
            Some(size) => Self { subjects: size.div_ceil(20), steps: 20, kills: 5 },
        }
    }

    /// Every fourth waits for a timer instead of an effect.
    fn is_alarm(step: usize) -> bool {
        step % 4 == 3
    }

    fn total(&self) -> usize {
        self.subjects * self.steps
    }

    fn effects(&self) -> usize {
        self.subjects * (0..self.steps).filter(|step| !Self::is_alarm(*step)).count()
    }
}

/// What each subject told, in order: what, number, recorded attempts.
#[derive(Default)]
struct Book {
    told: BTreeMap<String, Vec<(String, i64, i64)>>,
    counted: usize,
    passed: usize,
}

impl Book {
    fn take(&mut self, told: Told) {
        let record = told.record;
        self.counted += usize::from(record.destination == COUNTED);
        self.passed += usize::from(record.destination == PASSED);
        let subject = self.told.entry(record.origin).or_default();
        assert_eq!(told.seq, subject.len() as i64 + 1, "dense");
        subject.push((record.destination, record.flights, record.delay_minutes_sum));
    }
}

async fn send(deployment: &Deployment, plan: &Plan) {
    for step in 0..plan.steps {
        for subject in 0..plan.subjects {
            let (name, id) = (format!("A{subject}"), subject * plan.steps + step);
            let what = if Plan::is_alarm(step) { Ask::Alarm } else { Ask::Effect };
            ask(deployment, &name, what, 0, id, "step").await;
            ask(deployment, &name, Ask::Wait, 0, step + 1, "step").await;
        }
    }
}

/// Everything in order, every outcome once, every effect served, with the same key in all of its attempts.
fn check(plan: &Plan, book: &Book, seen: &Seen) {
    for subject in 0..plan.subjects {
        let told = &book.told[&format!("A{subject}")];
        let expected =
            (0..plan.steps).flat_map(|step| [(COUNTED, (subject * plan.steps + step) as i64), (PASSED, step as i64 + 1)]);
        assert!(told.iter().map(|(what, n, _)| (what.as_str(), *n)).eq(expected), "A{subject}: {told:?}");
        for (step, (_, id, recorded)) in told.iter().filter(|(what, ..)| what == COUNTED).enumerate() {
            if Plan::is_alarm(step) {
                continue;
            }
            let made = seen.attempts.get(id).map(Vec::as_slice).unwrap_or_default();
            let highest = made.iter().map(|(_, attempt)| i64::from(*attempt)).max().unwrap_or(0);
            assert!((1..=*recorded).contains(&highest), "effect {id}: attempt {highest} was made, {recorded} are on record");
            assert!(seen.served.get(id).is_some_and(|served| *served >= 1), "effect {id} was never served");
            let keys = &seen.keys[id];
            assert!(keys.iter().all(|key| *key == keys[0]), "effect {id} has one key: {keys:?}");
        }
    }
    assert_eq!(seen.keys.len(), plan.effects());
}

/// Attempts while the target was dead, by the second, and the longest time without one.
fn outage(seen: &Seen) -> Option<(Vec<u64>, Duration)> {
    let (since, length) = seen.death?;
    let within = |at: &Instant| *at >= since && *at < since + length;
    let mut attempts: Vec<Instant> = seen.attempts.values().flatten().map(|(at, _)| *at).filter(within).collect();
    attempts.sort();
    let gap = attempts.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
    Some((attempts.iter().map(|at| (*at - since).as_secs()).collect(), gap))
}

/// Checks what the target saw, and tells of waits and breaker; returns how many attempts it saw and served.
fn report(plan: &Plan, book: &Book, seen: &Seen) -> (usize, usize) {
    check(plan, book, seen);
    let (most, times) = seen.attempts.iter().max_by_key(|(_, times)| times.len()).unwrap();
    let waits: Vec<_> = times.windows(2).map(|two| (two[1].0 - two[0].0).as_millis()).collect();
    println!("waits between the attempts at effect {most}, ms: {waits:?}");
    if let Some((seconds, gap)) = outage(seen) {
        println!("attempts at seconds of the {DEATH:?} without a target: {seconds:?}; longest time without one {gap:?}");
        let late = seconds.iter().filter(|second| **second >= 20).count();
        assert!((1..=6).contains(&late), "each of two processes makes a probe after 30 s, and no more: {late}");
    }
    (seen.attempts.values().map(Vec::len).sum(), seen.served.values().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_of_a_failing_target_are_delivered_and_recorded_once_in_order() {
    let long = size("FOREBAY_SHOW_EFFECTS");
    let plan = Plan::of(long);
    let mut deployment = Deployment::of("show-effects", catalog()).await;
    let store = Store::Keyspace(deployment.prefix().trim_end_matches('.').replace('-', "_"));
    let helpers = Lifecycle::new();
    let target = Target::start(&helpers).await;
    let mut fleet = Fleet::start(&deployment, &store, &target.url, 2).await;
    let reader = Reader::new(&deployment.kafka, &deployment.topics.results("flights"), 16);
    let (mut book, begun, mut tick) = (Book::default(), Instant::now(), Instant::now());
    send(&deployment, &plan).await;
    let patience = Duration::from_secs(240) + Duration::from_millis(1_500 * plan.total() as u64);
    while book.passed < plan.total() {
        tokio::task::block_in_place(|| reader.take(Duration::from_millis(300), |told| book.take(told)));
        let dead = target.is_dead();
        if long.is_some() && book.counted * 4 > plan.total() && !target.has_died() {
            target.die(DEATH);
        }
        if fleet.kills < plan.kills && !dead && book.counted * (plan.kills + 1) > plan.total() * fleet.kills {
            fleet.kill();
        }
        if long.is_some() && tick.elapsed() > Duration::from_secs(2) {
            tick = Instant::now();
            let attempts: usize = target.seen.lock().unwrap().attempts.values().map(Vec::len).sum();
            let state = if dead { ", the target is dead" } else { "" };
            println!("{:?}: {} outcomes, {attempts} attempts, {} kills{state}", begun.elapsed(), book.counted, fleet.kills);
        }
        assert!(begun.elapsed() < patience, "{} of {} steps within {patience:?}", book.passed, plan.total());
    }
    let took = begun.elapsed();
    fleet.stop().await;
    tokio::task::block_in_place(|| reader.take(Duration::from_secs(2), |told| book.take(told)));
    let (attempts, served) = report(&plan, &book, &target.seen.lock().unwrap());
    deployment.store = store.open(testkit::engines().await.cql.as_deref().unwrap()).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    println!(
        "{} effects and {} alarms of {} subjects in {took:?}: {attempts} attempts reached the target, {served} were served, \
         {} outcomes recorded, order kept by all; {} kills; audit clean",
        plan.effects(),
        plan.total() - plan.effects(),
        plan.subjects,
        plan.effects(),
        fleet.kills
    );
}
