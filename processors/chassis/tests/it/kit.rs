//! What these tests share.

use std::time::Duration;

use chassis::kafka::Settings;
use chassis::kafka::topics::{self, Spec};
use chassis::lifecycle::Lifecycle;

/// Nothing here takes longer on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn settings() -> Settings {
    let bootstrap = std::env::var("FOREBAY_TEST_KAFKA").unwrap_or_else(|_| "127.0.0.1:19092".to_owned());
    Settings::new(bootstrap, "chassis-test")
}

pub(crate) fn unique(name: &str) -> String {
    format!("chassis-{name}-{}", uuid::Uuid::now_v7().simple())
}

pub(crate) fn spec(name: &str, partitions: i32) -> Spec {
    Spec { name: name.to_owned(), partitions, config: Vec::new() }
}

/// A new topic; its name.
pub(crate) async fn topic(name: &str, partitions: i32) -> String {
    let name = unique(name);
    topics::ensure(&settings(), &[spec(&name, partitions)], 1).await.unwrap();
    name
}

/// Ends what a test started; panics if something did not end by itself.
pub(crate) async fn end(lifecycle: Lifecycle) {
    lifecycle.request_stop("the test is over");
    let ended = lifecycle.run_until_signal(DEADLINE).await;
    assert!(!ended.failed && ended.left.is_empty(), "{ended}");
}
