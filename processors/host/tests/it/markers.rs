//! T7: the coordinator has ended a transaction, and the log's leader does not know it yet. Who takes over then must wait.
//!
//! Brokers send each other the markers that end transactions; a single node sends them to itself, at the address it tells
//! everybody. Here that is the address of a proxy, which holds them back.

use std::time::{Duration, Instant};

use local_engines::kind::KAFKA_NODES_MAX;
use testkit::proxy::Api;
use testkit::{Account, Proxy, free_port};

use crate::chaos::fleet::Fleet;
use crate::chaos::rounds;
use crate::engines::OwnEngines;

/// How late markers are: longer than a session (6 s), after which the shards of a process that was killed change hands.
const LATE: Duration = Duration::from_secs(14);

/// Where what is behind the proxy is reached.
fn port_of(proxy: &Proxy) -> u16 {
    proxy.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("an address with a port")
}

/// Markers are held back behind these proxies, and `owner` is killed; who takes its shards over waits for them. Returns the new owner.
async fn take_over_late(fleet: &mut Fleet, owner: usize, late: &[&Proxy]) -> usize {
    fleet.depart(50).await;
    fleet.settle().await;
    let begun = Instant::now();
    let fired = || late.iter().map(|proxy| proxy.fired()).sum::<usize>();
    let before = fired();
    late.iter().for_each(|proxy| proxy.hold(Api::WriteTxnMarkers, begun + LATE));
    fleet.depart_until(|| fired() > before).await;
    // its last transaction is committed, and the log does not show it
    fleet.kill(owner);
    let owner = fleet.join().await;
    let waited = begun.elapsed();
    println!("taken over after {waited:?}; {} requests were held back", fired() - before);
    assert!(waited >= LATE, "taken over after {waited:?}, before the markers had come");
    fleet.settle().await;
    owner
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_waits_for_markers_of_the_log_that_are_late() {
    let shared = testkit::engines().await;
    let (kafka, controller) = (free_port(), free_port());
    let proxy = Proxy::kafka(&format!("127.0.0.1:{kafka}")).await;
    let engines = OwnEngines::start("markers-engines", |options| {
        (options.ports.kafka, options.ports.controller) = (kafka, controller);
        options.kafka_advertised = vec![port_of(&proxy)];
        (options.registry, options.cql) = (Some(shared.registry.clone()), shared.cql.clone());
    })
    .await;
    let mut fleet = Fleet::start_on(engines.engines(), "markers", 2).await;
    // the second process has two workers, of which one may have none of the shards that must wait; all others have one
    fleet.leave(1).await;
    let (mut owner, rounds) = (0, rounds());
    for _ in 0..rounds {
        owner = take_over_late(&mut fleet, owner, &[&proxy]).await;
    }
    fleet.check().await;
    println!("{}", Account::new("late_markers").with("late_markers", rounds));
}

/// Markers of one transaction reach one of three nodes at once and the others late: some shards have a log that is complete.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_waits_for_markers_that_only_one_of_three_nodes_has() {
    if std::env::var_os("FOREBAY_CHAOS_NODES").is_none() {
        println!("FOREBAY_CHAOS_NODES is not set: skipped");
        return;
    }
    let shared = testkit::engines().await;
    // a row of them, given out in order: clients and controllers by turns
    let [kafka, controller, ..] = [(); 2 * KAFKA_NODES_MAX as usize].map(|()| free_port());
    let mut proxies = Vec::new();
    for node in 0..KAFKA_NODES_MAX {
        proxies.push(Proxy::kafka(&format!("127.0.0.1:{}", kafka + 2 * node)).await);
    }
    let engines = OwnEngines::start("marked-engines", |options| {
        options.kafka_nodes = KAFKA_NODES_MAX;
        (options.ports.kafka, options.ports.controller) = (kafka, controller);
        options.kafka_advertised = proxies.iter().map(port_of).collect();
        (options.registry, options.cql) = (Some(shared.registry.clone()), shared.cql.clone());
    })
    .await;
    let mut fleet = Fleet::start_on(engines.engines(), "marked", 2).await;
    fleet.leave(1).await;
    let mut owner = 0;
    for prompt in 0..proxies.len() {
        let late: Vec<_> = proxies.iter().enumerate().filter(|(node, _)| *node != prompt).map(|(_, proxy)| proxy).collect();
        owner = take_over_late(&mut fleet, owner, &late).await;
    }
    fleet.check().await;
    println!("{}", Account::new("late_markers_of_nodes").with("late_markers", proxies.len()));
}
