//! What these tests share.

use std::sync::OnceLock;
use std::time::Duration;

use chassis::kafka::Settings;
use chassis::kafka::topics::{self, Spec};
use chassis::lifecycle::Lifecycle;

/// Nothing here takes longer on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The broker of this test run, started on first use. On a thread of its own, so that every test may ask.
pub(crate) fn settings() -> Settings {
    static BOOTSTRAP: OnceLock<String> = OnceLock::new();
    let start = || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { testkit::kafka_only().await.settings().bootstrap.clone() })
    };
    let bootstrap = BOOTSTRAP.get_or_init(|| std::thread::spawn(start).join().unwrap());
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
