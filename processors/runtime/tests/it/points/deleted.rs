//! T22: what was deleted stays deleted, when its tombstones are gone and a process that was stopped has older writes in hand.
//!
//! Tombstones are kept for ten days, and a frame is written from memory for ten minutes (rule Z). Here it is 10 s and 5 s, and the
//! store flushes and compacts all the time. The process is stopped with nothing under way to the store: a write that was allowed before
//! the stop and leaves the process after it is beyond the rule, which protects while no process stands still for ten days.

use std::time::{Duration, Instant};

use testkit::Forgetful;

use super::victim::{Mishap, Victim};
use super::{AIRPORTS, Arena, cell};
use crate::deployment::{Deployment, PATIENCE};

/// Tombstones are kept this long.
const GRACE: Duration = Duration::from_secs(10);
/// Rule Z: half of it.
const AGE_MAX: Duration = Duration::from_secs(5);

async fn notes(arena: &Arena) -> usize {
    let mut notes = 0;
    for airport in AIRPORTS {
        notes += usize::from(arena.deployment.has_row(airport, "note").await);
    }
    notes
}

/// A process is stopped with rows in hand that others delete; it wakes when the store knows nothing of them any more.
async fn wake_after_compaction(arena: &mut Arena, kafka: &str, age_max: Duration) -> Victim {
    let keyspace = arena.deployment.prefix().trim_end_matches('.').replace('-', "_");
    let store = Forgetful::of(&arena.node, &keyspace, GRACE).await;
    let stop = cell("hand_over", false, Mishap::StopIdle);
    let victim = Victim::start_with(&arena.deployment, kafka, &arena.node, stop, age_max);
    let begun = Instant::now();
    while !victim.has_stumbled() {
        assert!(begun.elapsed() < PATIENCE, "the process does not stop");
        arena.depart_everywhere(675).await;
    }
    arena.await_results().await;
    arena.depart_everywhere(677).await;
    arena.depart_everywhere(676).await;
    arena.await_results().await;
    let deleted = Instant::now();
    testkit::eventually_async(PATIENCE, || async { (notes(arena).await == 0).then_some(()) }).await;
    // three compactions later than any tombstone is kept
    while deleted.elapsed() < GRACE + Duration::from_secs(2) {
        arena.depart_everywhere(5).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = store.compactions().await;
    while store.compactions().await < before + 3 {
        assert!(deleted.elapsed() < 2 * PATIENCE, "the store does not compact");
        arena.depart_everywhere(5).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    victim.resume();
    arena.await_results().await;
    println!("{:?}: woken after {} compactions", arena.begun.elapsed(), store.compactions().await);
    victim
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_stays_deleted_when_its_tombstones_are_gone_and_a_stopped_process_wakes() {
    let kafka = testkit::engines().await.kafka.clone();
    let mut arena = Arena::open("deleted").await;
    let mut victim = wake_after_compaction(&mut arena, &kafka, AGE_MAX).await;
    victim.await_end().await;
    assert!(victim.says("it will be read back from the log after a restart"), "rule Z ended it");
    assert_eq!(notes(&arena).await, 0, "nothing has risen");
    // whoever takes everything over from the log writes deletions, too, and rows with the same expiry
    let fresh = arena.deployment.start_as("fresh", super::victim::impatient).await;
    Deployment::says(&fresh, "8 shards run").await;
    arena.depart_everywhere(5).await;
    arena.await_results().await;
    Deployment::stop(fresh).await;
    assert_eq!(notes(&arena).await, 0, "nothing has risen");
    arena.close("deleted", 1).await;
}

/// The same without rule Z shows that the rule is needed, and that this test would see it.
#[tokio::test(flavor = "multi_thread")]
async fn without_rule_z_a_row_rises_and_the_audit_says_so() {
    if std::env::var("FOREBAY_POINTS").is_err() {
        return;
    }
    let kafka = testkit::engines().await.kafka.clone();
    let mut arena = Arena::open("risen").await;
    let victim = wake_after_compaction(&mut arena, &kafka, Duration::from_secs(600)).await;
    testkit::eventually_async(PATIENCE, || async { (notes(&arena).await > 0).then_some(()) }).await;
    drop(victim);
    Deployment::stop(arena.steady).await;
    let report = arena.deployment.audit(false).await;
    assert!(!report.is_clean(), "the audit sees the row");
}
