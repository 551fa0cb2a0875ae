//! The store takes writes and says so late, or never: what it holds in the end is what the log says.

use std::time::{Duration, Instant};

use testkit::{Account, Proxy, checkers};

use crate::deployment::{Deployment, PATIENCE};

const AIRPORTS: [&str; 4] = ["ATL", "DTW", "LAS", "SFO"];
/// Writes whose answer must have been lost.
const LOST: usize = 20;

struct Departures {
    deployment: Deployment,
    sent: usize,
}

impl Departures {
    async fn until(&mut self, over: impl Fn(usize) -> bool) {
        let begun = Instant::now();
        while !over(self.sent) {
            assert!(begun.elapsed() < PATIENCE, "it does not come");
            let id = self.sent.to_string();
            self.deployment.depart(AIRPORTS[self.sent % AIRPORTS.len()], 5, &id).await;
            self.sent += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_are_acknowledged_late_or_applied_without_an_answer_leave_the_store_equal_to_the_log() {
    let mut deployment = Deployment::new("unsure").await;
    let proxy = Proxy::plain(testkit::engines().await.cql.as_deref().unwrap()).await;
    deployment.use_cql(proxy.address()).await;
    let worker = deployment.start("slot").await;
    let witness = deployment.witness(&AIRPORTS);
    let mut departures = Departures { deployment, sent: 0 };
    departures.until(|sent| sent >= 20).await;

    proxy.slow_answers(Duration::from_millis(300));
    departures.until(|sent| sent >= 60).await;
    proxy.slow_answers(Duration::ZERO);
    // a handshake takes fewer pieces, so connections come back
    proxy.lose_answer_every(13);
    departures.until(|_| proxy.lost_answers() >= LOST).await;
    proxy.lose_answer_every(0);
    let next = departures.sent + 20;
    departures.until(|sent| sent >= next).await;

    let Departures { deployment, sent } = departures;
    let results = deployment.await_records(&deployment.topics.results("flights"), sent).await;
    checkers::results(&results).exactly_once(sent, 1);
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
    assert_eq!(seen.results, sent as u64, "a reader of committed records was shown each result once");
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    let account = Account::new("unsure").with("events", sent).with("lost_answers", proxy.lost_answers());
    println!("{}", account.with("violations", 0_u64));
}
