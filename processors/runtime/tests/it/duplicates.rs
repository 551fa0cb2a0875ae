//! T15: an event comes again in every way there is; it has one effect.

use std::time::{Duration, Instant};

use futures::future::join_all;
use testkit::kafka::Record;
use testkit::proxy::{Api, Fault};
use testkit::{Account, Kafka, Proxy, checkers};

use crate::deployment::{Deployment, PATIENCE};

const AIRPORTS: [&str; 4] = ["ATL", "DTW", "LAS", "SFO"];
/// Events that come again in each way.
const EACH: usize = 12;
/// Clients that send the same at the same time.
const CLIENTS: usize = 5;
/// Longer than it takes to stop a worker and send copies, shorter than anybody wants to wait.
const WINDOW: Duration = Duration::from_secs(20);

fn with_window(options: &mut runtime::Options) {
    options.limits.dedupe_window = WINDOW;
}

async fn depart(deployment: &Deployment, what: &str, n: usize) {
    deployment.depart(AIRPORTS[n % AIRPORTS.len()], 5, &format!("{what}-{n}")).await;
}

async fn depart_all(deployment: &Deployment, what: &str) {
    for n in 0..EACH {
        depart(deployment, what, n).await;
    }
}

/// How many events of one kind lie in the topic.
fn arrived(events: &[Record], what: &str) -> usize {
    events.iter().filter(|event| event.header("ce_id").is_some_and(|id| id.starts_with(&format!("{what}-")))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_at_once_after_a_timeout_a_restart_or_a_long_outage_has_one_effect() {
    let mut deployment = Deployment::new("again").await;
    deployment.use_cql(testkit::engines().await.cql.as_deref().unwrap()).await;
    let (events, results) = (deployment.topics.events("flights"), deployment.topics.results("flights"));
    let worker = deployment.start_as("one", with_window).await;
    let witness = deployment.witness(&AIRPORTS);

    // at the same time
    join_all((0..CLIENTS).map(|_| depart_all(&deployment, "concurrent"))).await;

    // a client whose answer was lost sends again what had arrived
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let mut unlucky = Deployment::at(deployment.prefix().to_owned()).await;
    unlucky.kafka = Kafka::new(proxy.address());
    for n in 0..EACH {
        let fired = proxy.fired();
        proxy.plan(Api::Produce, Fault::CutAfter);
        depart(&unlucky, "timeout", n).await;
        assert!(proxy.fired() > fired, "an answer was lost");
    }
    deployment.await_records(&results, 2 * EACH).await;

    // a new owner has the window of the last one from the store
    depart_all(&deployment, "restart").await;
    deployment.await_records(&results, 3 * EACH).await;
    Deployment::stop(worker).await;
    depart_all(&deployment, "restart").await;
    let worker = deployment.start_as("two", with_window).await;
    depart_all(&deployment, "restart").await;

    // copies that waited for longer than the window arrived within it: that is what counts
    depart_all(&deployment, "outage").await;
    deployment.await_records(&results, 4 * EACH).await;
    Deployment::stop(worker).await;
    depart_all(&deployment, "outage").await;
    let begun = Instant::now();
    let mut meanwhile = 0;
    while begun.elapsed() < WINDOW + Duration::from_secs(2) {
        depart(&deployment, "meanwhile", meanwhile).await;
        meanwhile += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let worker = deployment.start_as("one", with_window).await;
    depart_all(&deployment, "last").await;

    let expected = 5 * EACH + meanwhile;
    let told = deployment.await_records(&results, expected).await;
    checkers::results(&told).exactly_once(expected, 1);
    let lying = deployment.kafka.read(&events).await;
    assert_eq!(arrived(&lying, "concurrent"), CLIENTS * EACH);
    assert!(arrived(&lying, "timeout") > EACH, "a client whose answer was lost sent again");
    testkit::eventually_async(PATIENCE, || async {
        let mut flights = 0;
        for airport in AIRPORTS {
            flights += deployment.stored_flights(airport).await?;
        }
        (flights == expected as i64).then_some(())
    })
    .await;
    Deployment::stop(worker).await;
    let seen = witness.finish().await;
    assert_eq!(seen.results, expected as u64, "a reader of committed records was shown each result once");
    let mut options = deployment.audit_options();
    options.dedupe_window = WINDOW;
    let report = deployment.audit_with(options).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    let total = report.total();
    assert_eq!((total.events as usize, total.duplicates as usize), (lying.len(), lying.len() - expected));
    let account = Account::new("again").with("events", expected).with("duplicates", lying.len() - expected);
    println!("{}", account.with("violations", 0_u64));
}
