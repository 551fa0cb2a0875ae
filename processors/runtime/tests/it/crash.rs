//! Inputs that end the process they are decided in, in processes that really end.

use std::process::Command;
use std::time::Duration;

use schemas::datum::Datum;
use schemas::flights::FlightDeparted;
use testkit::Process;

use crate::deployment::{Deployment, PATIENCE};

/// Where the worker's process finds its topics and its keyspace.
const PREFIX: &str = "FOREBAY_TEST_WORKER_PREFIX";

/// An input is tried alone this often; fewer than usual, for each costs a process.
const TRIES: i32 = 2;

/// The process that dies: this test binary, asked for this one test with [`PREFIX`] set. Otherwise nothing happens here.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_a_process_of_its_own() {
    let Ok(prefix) = std::env::var(PREFIX) else { return };
    let mut deployment = Deployment::at(prefix).await;
    deployment.use_cql(testkit::engines().await.cql.as_deref().unwrap()).await;
    let worker = deployment.start_as("slot", |options| options.limits.single_tries = TRIES).await;
    worker.run_until_signal(Duration::from_secs(20)).await;
}

fn start(deployment: &Deployment) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::a_worker_in_a_process_of_its_own", "--nocapture"]).env(PREFIX, &deployment.prefix);
    Process::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_an_input_it_is_one_dead_letter_and_its_neighbours_count_once() {
    let mut deployment = Deployment::new("crash").await;
    deployment.use_cql(testkit::engines().await.cql.as_deref().unwrap()).await;
    let mut cut = Vec::new();
    schemas::frame::begin(deployment.ids.id_of(FlightDeparted::RECORD).unwrap(), &mut cut);
    let mut large = cut.clone();
    large.resize(700 << 10, 0);
    cut.push(2);
    // all of them in one partition and in one batch, with neighbours between them
    deployment.depart("ATL", 1, "first").await;
    deployment.send("ATL", &cut, "cut short").await;
    deployment.depart("ATL", 672, "aborts").await;
    deployment.depart("ATL", 2, "second").await;
    deployment.depart("ATL", 666, "panics").await;
    deployment.depart("ATL", 673, "overflows").await;
    deployment.send("ATL", &large, "too large").await;
    deployment.send_to(deployment.partition("ATL"), "LAS", &cut, "wrong partition").await;
    deployment.depart("ATL", 3, "third").await;
    assert_ne!(deployment.partition("ATL"), deployment.partition("LAS"));

    let (mut process, mut deaths) = (start(&deployment), 0);
    let topics = &deployment.topics;
    let done = testkit::eventually_async(5 * PATIENCE, || async {
        let dead = deployment.kafka.read(&topics.dead("flights")).await;
        let told = deployment.kafka.read(&topics.results("flights")).await;
        (dead.len() >= 6 && told.len() >= 3).then_some((dead, told))
    });
    tokio::pin!(done);
    let (dead, told) = loop {
        tokio::select! {
            done = &mut done => break done,
            _ = process.wait(5 * PATIENCE) => {
                deaths += 1;
                process = start(&deployment);
            }
        }
    };
    let reasons: Vec<_> = dead.iter().map(|record| record.header("dead_reason").unwrap()).collect();
    assert_eq!(reasons, ["undecodable", "crash", "panic", "crash", "too_large", "wrong_partition"]);
    assert_eq!(told.len(), 3);
    // three before anybody is suspect, then the first one and the second
    assert_eq!(deaths, 3 + TRIES + TRIES);
    assert!(process.terminate(PATIENCE).await.success());
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
}
