//! What the sample must lead to, counted from the file alone.

use std::collections::BTreeMap;

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
    let flights = sample::flights().unwrap().into_iter().enumerate().map(|(n, flight)| {
        let id = format!("sample-{n}");
        let body = serde_json::json!({ "type": "flight.departed", "id": id, "data": flight });
        Flight { id, origin: flight.origin, delay: i64::from(flight.delay_minutes), body }
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
