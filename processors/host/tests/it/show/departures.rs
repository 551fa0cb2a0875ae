//! Departures of the file on their way into the topic.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;

use schemas::flights::FlightDeparted;
use schemas::key::EventKey;
use testkit::Pipeline;

use super::stage::Stage;
use super::tally::{Airports, Tally};
use crate::deployment::Deployment;

/// Of so many events one is sent twice, the second time when so many others have been sent.
const TWICE: u64 = 50;
const APART: u64 = 5_000;
/// The source of all events.
const SOURCE: &str = "/bts";
/// The broker may be away while the last records wait.
const FLUSH_MAX: Duration = Duration::from_secs(180);

/// The first lines of the file.
pub(crate) struct Departures {
    lines: BufReader<File>,
    count: u64,
}

/// An event that is on its way.
struct Event {
    id: String,
    origin: String,
    value: Vec<u8>,
}

impl Departures {
    /// The first `count` departures of the file.
    pub(crate) fn open(count: u64) -> Self {
        let path = local_engines::options::target_folder().join("flights-3m.csv");
        let file = File::open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; run loadtest/flights-3m/fetch.sh first", path.display()));
        Self { lines: BufReader::new(file), count }
    }

    /// Sends them as the stage releases them, and returns their counts per airport.
    pub(crate) fn send(self, deployment: &Deployment, stage: &Stage, tally: &Arc<Tally>) -> Airports {
        let (pipeline, topic) = (Pipeline::new(&deployment.kafka), deployment.topics.events("flights"));
        let put = |event: &Event| {
            let headers: [(&str, &[u8]); 3] =
                [("ce_id", event.id.as_bytes()), ("ce_source", SOURCE.as_bytes()), ("ce_type", b"flight.departed")];
            let partition = schemas::partition::partition_of(&event.origin, 16);
            pipeline.send(&topic, partition, event.origin.as_bytes(), &event.value, &headers);
        };
        let (mut airports, mut twins) = (Airports::default(), VecDeque::new());
        let mut lines = self.lines.lines();
        for number in 0..self.count {
            if number >= stage.released() {
                // a wait may outlast the dedupe window
                twins.drain(..).for_each(|(_, twin)| put(&twin));
            }
            stage.await_release(number);
            let line = lines.next().expect("the file has lines enough").expect("the file is text");
            let flight = flight(&line);
            let airport = airports.entry(flight.origin.clone()).or_default();
            airport.flights += 1;
            airport.delay_minutes_sum += i64::from(flight.delay_minutes);
            let event = Event { id: number.to_string(), value: deployment.value(&flight), origin: flight.origin };
            tally.expect(EventKey::of(SOURCE, &event.id, None));
            put(&event);
            stage.sent();
            if number % TWICE == 0 {
                twins.push_back((number, event));
            }
            while let Some((_, twin)) = twins.pop_front_if(|(first, _)| *first + APART < number) {
                put(&twin);
            }
        }
        twins.iter().for_each(|(_, twin)| put(twin));
        pipeline.flush(FLUSH_MAX);
        airports
    }
}

/// Departure (ms since the Unix epoch), delay (minutes), distance (miles), origin, destination.
fn flight(line: &str) -> FlightDeparted {
    let mut fields = line.split(',');
    let mut field = || fields.next().expect("a line has five fields");
    FlightDeparted {
        departed_at: field().parse().expect("a time"),
        delay_minutes: field().parse().expect("a delay"),
        distance_miles: field().parse().expect("a distance"),
        origin: field().to_owned(),
        destination: field().to_owned(),
    }
}
