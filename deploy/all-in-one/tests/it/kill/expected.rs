//! What the sample must lead to, counted from the file alone.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;

/// One departure as the API takes it.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) id: String,
    pub(crate) origin: String,
    pub(crate) delay: i64,
    pub(crate) body: Value,
}

/// The sample in its order, each with an id of its own.
pub(crate) fn sample() -> Vec<Flight> {
    let mut text = String::new();
    let packed = &include_bytes!("../../../sample/flights-20k.json.gz")[..];
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
    let flights = lines.into_iter().enumerate().map(|(n, line)| {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let departed = format!("{}:00Z", text("date").replace('/', "-").replace(' ', "T"));
        let data = serde_json::json!({
            "departed_at": departed, "delay_minutes": line["delay"], "distance_miles": line["distance"],
            "origin": text("origin"), "destination": text("destination"),
        });
        let id = format!("sample-{n}");
        let body = serde_json::json!({ "type": "flight.departed", "id": id, "data": data });
        Flight { id, origin: text("origin"), delay: line["delay"].as_i64().unwrap(), body }
    });
    flights.collect()
}

/// Flights and sum of delays per airport.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) airports: BTreeMap<String, (i64, i64)>,
}

impl Expected {
    pub(crate) fn of(flights: &[Flight]) -> Self {
        let mut expected = Self::default();
        for flight in flights {
            let entry = expected.airports.entry(flight.origin.clone()).or_default();
            *entry = (entry.0 + 1, entry.1 + flight.delay);
        }
        expected
    }

    pub(crate) fn flights(&self) -> usize {
        self.airports.values().map(|(count, _)| *count as usize).sum()
    }
}
