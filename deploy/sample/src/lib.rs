//! Real US departures, as `POST /v1/flights` takes them: for the quick start's feed, the load programs and tests.

use std::io::BufReader;

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

/// The file as published, compressed; its source stands in the README.
const FILE: &[u8] = include_bytes!("../flights-20k.json.gz");

/// The embedded file is damaged, or another.
#[derive(Debug, thiserror::Error)]
#[error("the sample is no list of departures: {0}; build again from a clean checkout")]
pub struct Error(#[from] serde_json::Error);

/// The data of one `flight.departed` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flight {
    /// Scheduled departure, RFC 3339, UTC.
    pub departed_at: String,
    /// Minutes; early is negative.
    pub delay_minutes: i32,
    /// Miles, never negative.
    pub distance_miles: i32,
    /// Three characters `[A-Z0-9]`; the event's subject.
    pub origin: String,
    /// Three characters `[A-Z0-9]`.
    pub destination: String,
}

/// The 20,000 departures of the sample, in the order of the file.
///
/// # Errors
/// The embedded file is not what it should be.
pub fn flights() -> Result<Vec<Flight>, Error> {
    let lines: Vec<Line> = serde_json::from_reader(BufReader::new(GzDecoder::new(FILE)))?;
    Ok(lines.into_iter().map(Flight::from).collect())
}

/// One departure as published.
#[derive(Deserialize)]
struct Line {
    date: String,
    delay: i32,
    distance: i32,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_holds_twenty_thousand_departures() {
        let flights = flights().unwrap();
        assert_eq!(flights.len(), 20_000);
        assert_eq!(flights.iter().filter(|flight| flight.origin == "ATL").count(), 846);
        let first = serde_json::to_value(&flights[0]).unwrap();
        let departed = first["departed_at"].as_str().unwrap();
        assert!(departed.len() == 20 && departed.starts_with("2001-01-") && departed.ends_with(":00Z"), "{departed}");
    }
}
