//! Dead letters become events again, once.

use runtime::dead_letter::desk::{Filter, Letter};
use testkit::checkers;

use crate::deployment::Deployment;

/// Sends the event of a letter again, as `forebay dead-letters redrive` does.
async fn redrive(deployment: &Deployment, letter: &Letter) {
    let event = letter.redrive("flights", 16).unwrap();
    let headers: Vec<(&str, &[u8])> = event.headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    let topic = deployment.topics.events("flights");
    deployment.kafka.produce(&topic, Some(event.partition), &event.key, &event.value, &headers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_redriven_twice_after_the_fix_takes_effect_once() {
    let mut deployment = Deployment::new("redrive").await;
    let worker = deployment.start("slot").await;
    deployment.depart("ATL", 666, "panics").await;
    deployment.depart("ATL", 667, "terminal").await;
    deployment.depart("ATL", 5, "fine").await;
    deployment.await_records(&deployment.topics.dead("flights"), 2).await;
    Deployment::stop(worker).await;

    let desk = deployment.desk();
    let partition = deployment.partition("ATL");
    let filter = Filter { reason: Some("panic".into()), ..Filter::default() };
    let page = tokio::task::spawn_blocking(move || (desk.page(partition, 0, &filter).unwrap(), desk)).await.unwrap();
    let (page, desk) = page;
    assert_eq!((page.letters.len(), page.next), (1, None));
    let letter = &page.letters[0];
    redrive(&deployment, letter).await;
    redrive(&deployment, letter).await;
    deployment.depart("ATL", 5, "the last").await;
    let known = tokio::task::spawn_blocking(move || desk.redriven(partition, 0).unwrap()).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [letter.position("flights")]);

    deployment.fixed = true;
    let worker = deployment.start("slot").await;
    let results = deployment.await_records(&deployment.topics.results("flights"), 3).await;
    checkers::results(&results).exactly_once(3, 1);
    Deployment::stop(worker).await;
    let report = deployment.audit(false).await;
    assert!(report.is_clean(), "{:#?}", report.findings);
    let total = report.total();
    assert_eq!((total.events, total.duplicates, total.results, total.dead), (6, 1, 3, 2));
}
