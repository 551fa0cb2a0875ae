//! Waiting for a condition instead of sleeping.

use std::time::{Duration, Instant};

/// How long to leave between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the condition gives something, and returns that.
///
/// # Panics
/// When `deadline` has passed without.
pub async fn eventually<T>(deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    eventually_async(deadline, || std::future::ready(condition())).await
}

/// The same for a condition that has to be awaited.
///
/// # Panics
/// When `deadline` has passed without.
pub async fn eventually_async<T, F: Future<Output = Option<T>>>(deadline: Duration, mut condition: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < deadline, "the condition did not come true within {deadline:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
