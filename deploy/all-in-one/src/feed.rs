//! The sample feed: real US departures, posted to the process's own public API at a visible pace.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::lifecycle::Lifecycle;

/// Requests a second: each carries what is due since the last.
const REQUESTS_PER_SECOND: u32 = 8;

/// Posts the sample over and over, `events_per_second` of it, until the process stops.
pub(crate) fn start(public: SocketAddr, events_per_second: u32, lifecycle: &Lifecycle) {
    if events_per_second == 0 {
        return;
    }
    let stop = lifecycle.stop();
    lifecycle.spawn("sample-feed", async move {
        let flights = sample::flights()?;
        let client = reqwest::Client::new();
        let url = format!("http://{public}/v1/flights");
        let mut tick = tokio::time::interval(Duration::from_secs(1) / REQUESTS_PER_SECOND);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut due, mut flights) = (0.0, flights.into_iter().cycle());
        loop {
            tokio::select! {
                () = stop.wait() => return Ok::<(), sample::Error>(()),
                _ = tick.tick() => {}
            }
            due += f64::from(events_per_second) / f64::from(REQUESTS_PER_SECOND);
            let batch: Vec<_> = flights.by_ref().take(due as usize).collect();
            due -= batch.len() as f64;
            if batch.is_empty() {
                continue;
            }
            match client.post(&url).json(&batch).send().await {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => tracing::warn!(status = %answer.status(), "the edge did not take all of the sample"),
                Err(error) => tracing::warn!(%error, "the sample could not be posted"),
            }
        }
    });
}
