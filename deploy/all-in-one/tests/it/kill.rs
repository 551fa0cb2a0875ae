//! Real flights over HTTP while processes are killed: nothing lost, nothing double, on every store.

mod expected;
mod outcome;
mod poster;

use tokio::sync::watch;

use self::expected::Expected;
use crate::machines::{AllInOne, Machine, Separate};

/// Kills per run, spread evenly over the flights: each comes when so many are in the log, however fast the machine is.
const KILLS: usize = 5;

/// Posts the whole sample while `machine`'s processor is killed and started again, then compares log, results and
/// views with an independent count over the file, and asks the audit: once while everything runs, once stopped.
async fn survives(mut machine: impl Machine, live: &[&str]) {
    let flights = expected::sample();
    let expected = Expected::of(&flights);
    machine.start().await;
    let (progress, mut answered) = watch::channel(0);
    let posting = poster::post_all(machine.api(), flights, progress);
    let killing = async {
        for kill in 1..=KILLS {
            let due = expected.flights() * kill / (KILLS + 1);
            answered.wait_for(|answered| *answered >= due).await.expect("the last kill comes before the last flight");
            machine.kill_and_restart().await;
        }
    };
    let (posted, ()) = tokio::join!(posting, killing);
    assert_eq!(posted.accepted + posted.duplicates, expected.flights(), "every event is answered as in the log");
    let results = outcome::results(&machine.kafka(), &machine.results_topic(), &expected).await;
    results.check(&expected);
    outcome::check_views(&machine.reads(), &expected).await;
    machine.audit(live).await;
    machine.stop().await;
    machine.audit(&["--stopped"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_survive_kills_of_the_whole_process_on_the_embedded_store() {
    survives(AllInOne::new("kill-embedded").await, &["--live", "--log-only"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_survive_kills_of_the_processor_on_the_cql_store() {
    survives(Separate::new("kill-cql").await, &["--live"]).await;
}
