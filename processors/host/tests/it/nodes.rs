//! Three nodes of Kafka that are killed, stopped in order and all gone, under load. Every node has its turn, so every
//! coordinator and every leader of the log has: the account says how many of them a node had when it went.
//!
//! Run when `FOREBAY_CHAOS_NODES` is set, as three nodes take their time; the command `chaos --long` sets it.

use std::time::{Duration, Instant};

use local_engines::kind::{KAFKA_NODES_MAX, Kind, Member};
use rustix::process::Signal;
use testkit::Account;

use crate::chaos::fleet::Fleet;
use crate::engines::OwnEngines;

/// Until the node that is back has caught up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Results come again within this after a node went: before a worker that hangs would be ended or give up its recovery.
const STANDSTILL: Duration = Duration::from_secs(50);

/// How long all nodes are gone.
const GONE: Duration = Duration::from_secs(60);

/// Engines with three nodes of Kafka and two processes on them; none when this is not asked for.
async fn start(name: &'static str) -> Option<(OwnEngines, Fleet)> {
    if std::env::var_os("FOREBAY_CHAOS_NODES").is_none() {
        println!("FOREBAY_CHAOS_NODES is not set: skipped");
        return None;
    }
    let shared = testkit::engines().await;
    let engines = OwnEngines::start(&format!("{name}-engines"), |options| {
        options.kafka_nodes = KAFKA_NODES_MAX;
        (options.registry, options.cql) = (Some(shared.registry.clone()), shared.cql.clone());
    })
    .await;
    let fleet = Fleet::start_on(engines.engines(), name, 2).await;
    Some((engines, fleet))
}

/// Waits until every replica is in sync again.
async fn caught_up(fleet: &Fleet) {
    testkit::eventually_async(PATIENCE, || async {
        fleet.placed().await.iter().flatten().all(|placed| placed.in_sync == placed.replicas).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_three_is_killed_and_rolled_under_load_and_no_event_is_lost_or_doubled() {
    let Some((engines, mut fleet)) = start("nodes").await else { return };
    let mut lost = [0; 3];
    for signal in [Signal::KILL, Signal::TERM] {
        for node in 1..=KAFKA_NODES_MAX {
            fleet.depart(200).await;
            for (lost, placed) in lost.iter_mut().zip(fleet.placed().await) {
                *lost += placed.iter().filter(|placed| placed.leader == i32::from(node)).count();
            }
            let results = fleet.results().await;
            engines.end(Member { kind: Kind::Kafka, node }, signal).await;
            let gone = Instant::now();
            // two of three are enough
            fleet.depart(300).await;
            fleet.await_results(results + 300).await;
            let waited = gone.elapsed();
            println!("node {node}: {waited:?} without it");
            assert!(waited < STANDSTILL, "work stood still for {waited:?} after node {node} had gone");
            engines.mend().await;
            caught_up(&fleet).await;
            fleet.progress();
        }
    }
    fleet.check().await;
    let [log, groups, transactions] = lost;
    let account = Account::new("nodes_ended").with("broker_bounces", 6_u64).with("log_leaders_ended", log);
    println!("{}", account.with("group_coordinators_ended", groups).with("transaction_coordinators_ended", transactions));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_by_itself_when_all_three_nodes_were_gone_for_a_minute() {
    let Some((engines, mut fleet)) = start("nodes_gone").await else { return };
    fleet.depart(300).await;
    for node in 1..=KAFKA_NODES_MAX {
        engines.end(Member { kind: Kind::Kafka, node }, Signal::KILL).await;
    }
    tokio::time::sleep(GONE).await;
    engines.mend().await;
    caught_up(&fleet).await;
    fleet.depart(300).await;
    fleet.check().await;
}
