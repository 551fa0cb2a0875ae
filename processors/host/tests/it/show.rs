//! Millions of real departures through several processes that are killed and stopped all the time, while broker and store
//! are restarted: in the end the counts are those of the file.
//!
//! Runs when `FOREBAY_SHOW_EVENTS` says with how many events; `docs/chaos.md` has the command. For every 10,000 of them a
//! process is killed (SIGKILL), for every 40,000 one is stopped for longer than session and transaction live, and for
//! every 400,000 the broker and the store are restarted. Events come out of `target/flights-3m.csv`, which
//! `loadtest/flights-3m/fetch.sh` writes, every fiftieth of them twice.

mod bounces;
mod departures;
mod slots;
mod stage;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use testkit::Account;

use self::departures::Departures;
use self::slots::Outcomes;
use self::stage::{Plan, Stage};
use self::tally::{Airports, Tally};
use crate::deployment::Deployment;
use crate::engines::OwnEngines;

/// Duplicates are found within this span. A new owner reads it back from the store, and here shards have a new owner every
/// few seconds: with the default of 15 minutes they would do little else.
const WINDOW: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn millions_of_departures_through_kills_pauses_and_bounces_give_the_counts_of_the_file() {
    let Some(events) = std::env::var("FOREBAY_SHOW_EVENTS").ok().and_then(|events| events.parse().ok()) else {
        println!("FOREBAY_SHOW_EVENTS is not set: skipped");
        return;
    };
    let departures = Departures::open(events);
    let engines = OwnEngines::start("show-engines", |_| {}).await;
    let deployment = Arc::new(Deployment::new(engines.engines(), "show").await.with_dedupe_window(WINDOW));
    // the first process makes the topics, before anything reads or writes them
    slots::one_alone(&deployment).await;

    let (stage, tally) = (Arc::new(Stage::new(Plan::of(events))), Arc::<Tally>::default());
    // threads end even if something here fails
    let _ended = stage.end_when_dropped();
    let telling = tokio::task::spawn_blocking({
        let (deployment, stage, tally) = (deployment.clone(), stage.clone(), tally.clone());
        move || tally.run(&deployment, &stage)
    });
    let sending = tokio::task::spawn_blocking({
        let (deployment, stage) = (deployment.clone(), stage.clone());
        move || departures.send(&deployment, &stage, &tally)
    });
    let through = async {
        let told = telling.await.expect("results are as they must be");
        stage.end();
        (told, sending.await.expect("every event is acknowledged"))
    };
    let ((told, sent), first, second, third, (), ()) = tokio::join!(
        through,
        slots::attack(0, &stage, &deployment),
        slots::attack(1, &stage, &deployment),
        slots::attack(2, &stage, &deployment),
        bounces::bounce(&engines, &stage),
        stage.tell(Duration::from_secs(10)),
    );
    let outcomes = [first, second, third].into_iter().sum();
    slots::one_alone(&deployment).await;
    check(&deployment, &sent, &told).await;
    report(&deployment, &stage, outcomes).await;
}

/// The counts are those of the file, and nothing was put aside.
async fn check(deployment: &Deployment, sent: &Airports, told: &Airports) {
    assert_eq!(told, sent, "departures and delays per airport, as told and as counted over the file");
    let dead = deployment.kafka.read(&deployment.topics.dead("flights")).await;
    assert!(dead.is_empty(), "{dead:?}");
}

/// Audits the stopped deployment and tells what happened.
async fn report(deployment: &Deployment, stage: &Stage, outcomes: Outcomes) {
    let audit = deployment.audit().await;
    assert!(audit.is_clean(), "{:#?}", audit.findings);
    let (total, plan) = (audit.total(), stage.plan());
    println!("audit: 0 findings in {:.1} s, {} frames, {} status entries", audit.seconds, total.frames, total.status);
    let account = Account::new("show")
        .with("events", plan.events)
        .with("duplicates", total.duplicates)
        .with("results", total.results)
        .with("kills", plan.kills)
        .with("pauses", plan.pauses)
        .with("broker_bounces", plan.bounces)
        .with("store_bounces", plan.bounces)
        .with("assignments", outcomes.assignments)
        .with("recycles", outcomes.recycles)
        .with("fences", outcomes.fences)
        .with("restarts", outcomes.restarts)
        .with("exits", outcomes.exits)
        .with("violations", 0_u64)
        .with("seconds", stage.elapsed().as_secs());
    println!("\n{account}");
    for (figure, count) in &account.figures {
        println!("  {figure:<16}{count:>12}");
    }
}
