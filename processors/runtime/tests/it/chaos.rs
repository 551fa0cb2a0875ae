//! Kafka and the store misbehave; every event still has one effect.
//!
//! Workers reach Kafka (and CQL) through a proxy that breaks what it is told to; producers and readers go straight.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use testkit::proxy::{Api, Fault};
use testkit::{Proxy, checkers};

use crate::deployment::{Deployment, PATIENCE, SLOW_ONCE, open_gate};

const AIRPORTS: [&str; 4] = ["ATL", "DTW", "LAS", "SFO"];

/// Sends events one after another until told to stop; returns how many.
async fn depart_until(deployment: &Deployment, name: &str, done: impl Fn(usize) -> bool) -> usize {
    let mut sent = 0;
    while !done(sent) {
        deployment.depart(AIRPORTS[sent % AIRPORTS.len()], 5, &format!("{name}-{sent}")).await;
        sent += 1;
    }
    sent
}

/// Every one of `sent` events has one result, and results are numbered without holes.
async fn check(deployment: &Deployment, sent: usize) {
    let results = deployment.await_records(&deployment.topics.results("flights"), sent).await;
    checkers::results(&results).exactly_once(sent, 1);
}

async fn start_behind(proxy: &Proxy, deployment: &Deployment, slot: &str) -> Lifecycle {
    deployment.start_as(slot, |options| proxy.address().clone_into(&mut options.kafka.bootstrap)).await
}

/// Breaks the end of a transaction this way, again and again, while events keep coming.
async fn ends_broken(name: &str, fault: Fault, times: usize) {
    let deployment = Deployment::new(name).await;
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let worker = start_behind(&proxy, &deployment, "slot").await;
    let witness = deployment.witness(&AIRPORTS);
    let mut sent = depart_until(&deployment, "before", |sent| sent == 20).await;
    check(&deployment, sent).await;
    for round in 1..=times {
        let producers = proxy.seen(Api::InitProducerId);
        proxy.plan(Api::EndTxn, fault);
        // events until the fault has struck, and some more to meet what it left behind
        let name = format!("during-{round}");
        let recycled = |sent| sent >= 100 && proxy.fired() >= round && proxy.seen(Api::InitProducerId) > producers;
        let departing = depart_until(&deployment, &name, recycled);
        sent += tokio::time::timeout(PATIENCE, departing).await.expect("the producer is recycled after a broken end");
    }
    check(&deployment, sent).await;
    Deployment::stop(worker).await;
    let seen = witness.finish().await;
    assert!(seen.results > 0 && seen.results <= sent as u64 && seen.frames > 0, "{seen:?}");
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_a_transaction_that_arrives_twice_ends_no_other_one() {
    ends_broken("late-soon", Fault::LateCopy(Duration::from_millis(150)), 3).await;
    ends_broken("late", Fault::LateCopy(Duration::from_millis(700)), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_is_recycled_after_an_end_that_took_too_long() {
    ends_broken("slow-end", Fault::Delay(Duration::from_millis(1_300)), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_is_recycled_after_an_end_whose_connection_broke() {
    ends_broken("cut-before", Fault::CutBefore, 2).await;
    ends_broken("cut-after", Fault::CutAfter, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_broken_requests_of_a_transaction_cost_no_event() {
    let deployment = Deployment::new("requests").await;
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let worker = start_behind(&proxy, &deployment, "slot").await;
    let mut sent = 0;
    for (round, api) in [Api::AddPartitionsToTxn, Api::Produce, Api::TxnOffsetCommit].into_iter().enumerate() {
        for (n, fault) in [Fault::CutBefore, Fault::CutAfter, Fault::LateCopy(Duration::from_millis(200))].into_iter().enumerate()
        {
            let fired = proxy.fired();
            proxy.plan(api, fault);
            let name = format!("{round}-{n}");
            let departing = depart_until(&deployment, &name, |sent| sent >= 50 && proxy.fired() > fired);
            sent += tokio::time::timeout(PATIENCE, departing).await.expect("the worker goes on");
        }
    }
    check(&deployment, sent).await;
    Deployment::stop(worker).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_gone_for_longer_than_session_and_transaction_cost_no_event() {
    let deployment = Deployment::new("brokers").await;
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let worker = start_behind(&proxy, &deployment, "slot").await;
    let mut sent = depart_until(&deployment, "before", |sent| sent == 20).await;
    check(&deployment, sent).await;
    let begun = std::time::Instant::now();
    proxy.go_away();
    sent += depart_until(&deployment, "away", |_| begun.elapsed() > Duration::from_secs(12)).await;
    proxy.come_back();
    sent += depart_until(&deployment, "after", |sent| sent == 20).await;
    check(&deployment, sent).await;
    Deployment::stop(worker).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_stops_no_commit_and_has_everything_when_it_is_back() {
    let mut deployment = Deployment::new("store").await;
    let node = testkit::engines().await.cql.clone().unwrap();
    let proxy = Proxy::plain(&node).await;
    deployment.use_cql(proxy.address()).await;
    let worker = deployment.start("slot").await;
    let witness = deployment.witness(&AIRPORTS);
    let mut sent = depart_until(&deployment, "before", |sent| sent == 20).await;
    check(&deployment, sent).await;

    proxy.go_away();
    // results do not wait for the store: rows of these airports are in memory
    sent += depart_until(&deployment, "away", |sent| sent == 20).await;
    check(&deployment, sent).await;
    let begun = std::time::Instant::now();
    sent += depart_until(&deployment, "backlog", |_| begun.elapsed() > Duration::from_secs(6)).await;
    proxy.come_back();
    proxy.slow_down(Duration::from_millis(100));
    sent += depart_until(&deployment, "slow", |sent| sent == 40).await;
    proxy.slow_down(Duration::ZERO);
    check(&deployment, sent).await;
    testkit::eventually_async(PATIENCE, || async {
        let mut flights = 0;
        for airport in AIRPORTS {
            flights += deployment.stored_flights(airport).await?;
        }
        (flights == sent as i64).then_some(())
    })
    .await;
    Deployment::stop(worker).await;
    let seen = witness.finish().await;
    assert!(seen.results > 0 && seen.results <= sent as u64 && seen.frames > 0, "{seen:?}");
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_in_one_slot_one_ends_with_the_reason_and_nothing_is_lost() {
    let deployment = Deployment::new("twice").await;
    let (one, other) = (deployment.start("slot").await, deployment.start("slot").await);
    let ending = async {
        let (a, b) = (one.clone(), other.clone());
        let budget = Duration::from_secs(20);
        tokio::select! {
            ended = a.run_until_signal(budget) => (ended, other.clone()),
            ended = b.run_until_signal(budget) => (ended, one.clone()),
        }
    };
    let over = AtomicBool::new(false);
    let ending = async {
        let ended = tokio::time::timeout(2 * PATIENCE, ending).await;
        over.store(true, Ordering::Relaxed);
        ended.expect("two workers in one slot are told so")
    };
    let departing = depart_until(&deployment, "event", |_| over.load(Ordering::Relaxed));
    let ((ended, left), sent) = tokio::join!(ending, departing);
    assert!(ended.failed && ended.to_string().contains("give every worker its own --slot"), "{ended}");
    check(&deployment, sent).await;
    Deployment::stop(left).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_thinks_for_too_long_loses_its_shards_and_commits_nothing() {
    let deployment = Deployment::new("slow-decide").await;
    let impatient = |options: &mut runtime::Options| {
        options.kafka.client.insert("max.poll.interval.ms".to_owned(), "6000".to_owned());
    };
    let slow = deployment.start_as("slow", impatient).await;
    let other = deployment.start_as("other", impatient).await;
    Deployment::says(&slow, "8 shards run").await;
    Deployment::says(&other, "8 shards run").await;
    // whoever owns it thinks until the other one has everything
    deployment.depart("ATL", SLOW_ONCE, "slow").await;
    let mut sent = 1 + depart_until(&deployment, "meanwhile", |sent| sent == 40).await;
    let has_all = |worker: &Lifecycle| worker.components().iter().any(|component| component.detail.contains("16 shards run"));
    testkit::eventually(PATIENCE, || (has_all(&slow) || has_all(&other)).then_some(())).await;
    open_gate();
    sent += depart_until(&deployment, "afterwards", |sent| sent == 40).await;
    check(&deployment, sent).await;
    Deployment::says(&slow, "8 shards run").await;
    Deployment::stop(slow).await;
    Deployment::stop(other).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}
