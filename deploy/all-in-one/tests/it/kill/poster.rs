//! A client that keeps sending until every event is in the log, as the API's contract allows: same id, again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::expected::Flight;

const BATCH: usize = 100;
/// Longest time for one batch: a machine busy with other things starts a killed process slowly.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the edge answered, counted once per event.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    pub(crate) accepted: usize,
    pub(crate) duplicates: usize,
    /// Requests that broke off or were refused, and were sent again.
    pub(crate) again: usize,
}

/// Posts every flight in order until each was answered `accepted` or `duplicate`, and tells `progress` how many were.
pub(crate) async fn post_all(api: String, flights: Vec<Flight>, progress: watch::Sender<usize>) -> Posted {
    let client = reqwest::Client::new();
    let url = format!("{api}/v1/streams/flights/events");
    let mut posted = Posted::default();
    for batch in flights.chunks(BATCH) {
        let mut open: BTreeMap<&str, &Value> = batch.iter().map(|flight| (flight.id.as_str(), &flight.body)).collect();
        let begun = Instant::now();
        while !open.is_empty() {
            // the file's order, whatever is left of it
            let body: Vec<_> =
                batch.iter().filter(|flight| open.contains_key(flight.id.as_str())).map(|flight| &flight.body).collect();
            let before = open.len();
            if let Some(answer) = send(&client, &url, &body).await {
                settle(&answer, &mut open, &mut posted);
            }
            if open.len() == before {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            progress.send_replace(posted.accepted + posted.duplicates);
            if !open.is_empty() {
                posted.again += 1;
                assert!(begun.elapsed() < PATIENCE, "a batch was not taken within {PATIENCE:?}");
            }
        }
    }
    posted
}

async fn send(client: &reqwest::Client, url: &str, body: &[&Value]) -> Option<Value> {
    let answer = client.post(url).json(body).timeout(Duration::from_secs(20)).send().await.ok()?;
    answer.json().await.ok()
}

fn settle(answer: &Value, open: &mut BTreeMap<&str, &Value>, posted: &mut Posted) {
    for event in answer["events"].as_array().into_iter().flatten() {
        let id = event["id"].as_str().unwrap_or_default();
        match event["verdict"].as_str().unwrap_or_default() {
            "accepted" => posted.accepted += usize::from(open.remove(id).is_some()),
            "duplicate" => posted.duplicates += usize::from(open.remove(id).is_some()),
            "retry" | "unknown" => {}
            verdict => panic!("a real flight was answered {verdict}: {event}"),
        }
    }
}
