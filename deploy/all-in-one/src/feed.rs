//! The sample feed: real US departures, posted to the process's own public API at a visible pace.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use serde::{Deserialize, Serialize};

/// 20,000 departures of January to March 2001; source in `sample/README.md`.
const SAMPLE: &[u8] = include_bytes!("../sample/flights-20k.json.gz");
/// Requests a second: each carries what is due since the last.
const REQUESTS_PER_SECOND: u32 = 8;

/// Why the sample cannot be posted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The embedded file is damaged.
    #[error("the sample is damaged: {0}")]
    Unpack(#[from] std::io::Error),
    /// The embedded file is something else.
    #[error("the sample is no list of departures: {0}")]
    Parse(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Line {
    date: String,
    delay: i32,
    distance: i32,
    origin: String,
    destination: String,
}

/// The body of one `flight.departed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Flight {
    departed_at: String,
    delay_minutes: i32,
    distance_miles: i32,
    origin: String,
    destination: String,
}

impl From<Line> for Flight {
    /// `2001/01/14 21:55` is read as UTC.
    fn from(line: Line) -> Self {
        Self {
            departed_at: format!("{}:00Z", line.date.replace('/', "-").replace(' ', "T")),
            delay_minutes: line.delay,
            distance_miles: line.distance,
            origin: line.origin,
            destination: line.destination,
        }
    }
}

/// The whole sample in its order.
///
/// # Errors
/// [`Error`] when the embedded file is not what it should be.
pub(crate) fn sample() -> Result<Vec<Flight>, Error> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(SAMPLE).read_to_string(&mut text)?;
    let lines: Vec<Line> = serde_json::from_str(&text)?;
    Ok(lines.into_iter().map(Flight::from).collect())
}

/// Posts the sample over and over, `events_per_second` of it, until the process stops.
pub(crate) fn start(public: SocketAddr, events_per_second: u32, lifecycle: &Lifecycle) {
    if events_per_second == 0 {
        return;
    }
    let stop = lifecycle.stop();
    lifecycle.spawn("sample-feed", async move {
        let flights = sample()?;
        let client = reqwest::Client::new();
        let url = format!("http://{public}/v1/flights");
        let mut tick = tokio::time::interval(Duration::from_secs(1) / REQUESTS_PER_SECOND);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut due, mut flights) = (0.0, flights.into_iter().cycle());
        loop {
            tokio::select! {
                () = stop.wait() => return Ok::<(), Error>(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_holds_twenty_thousand_departures() {
        let flights = sample().unwrap();
        assert_eq!(flights.len(), 20_000);
        assert_eq!(flights.iter().filter(|flight| flight.origin == "ATL").count(), 846);
    }
}
