//! The events that are posted: the sample of real departures, and made ones that carry a number.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

/// Why the sample could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or unreadable.
    #[error("cannot read {path}: {source}; give the sample's place with --sample")]
    Read {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no gzip-compressed JSON array of departures.
    #[error("{path} is not the sample: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// One line of the sample, as published.
#[derive(Debug, Deserialize)]
struct SampleLine {
    date: String,
    delay: i32,
    distance: i32,
    origin: String,
    destination: String,
}

/// The data of one `flight.departed` event, as `POST /v1/flights` takes it.
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

/// Reads the gzip-compressed sample, in its order.
///
/// # Errors
/// The file is unreadable, or is something else.
pub fn read_sample(path: &Path) -> Result<Vec<Flight>, Error> {
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
    let lines: Vec<SampleLine> = serde_json::from_reader(BufReader::new(GzDecoder::new(BufReader::new(file))))
        .map_err(|source| Error::Parse { path: path.to_path_buf(), source })?;
    Ok(lines.into_iter().map(to_flight).collect())
}

/// A made flight that carries `number` as its delay, so that its result can be told from all others.
///
/// `airport` picks one of 1,296 origins `Q00`…`QZZ`, which the sample does not know; `run` is the destination and tells runs apart.
#[must_use]
pub fn numbered(number: i32, airport: u32, run: &str) -> Flight {
    Flight {
        departed_at: "2001-01-01T00:00:00Z".to_owned(),
        delay_minutes: number,
        distance_miles: 100,
        origin: airport_code('Q', airport),
        destination: run.to_owned(),
    }
}

/// The code of made airport number `n` (modulo 1,296) below `letter`.
#[must_use]
pub fn airport_code(letter: char, n: u32) -> String {
    const SIGNS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let sign = |digit: u32| char::from(SIGNS[(digit % 36) as usize]);
    [letter, sign(n / 36), sign(n)].iter().collect()
}

/// `2001/01/14 21:55` is read as UTC.
fn to_flight(line: SampleLine) -> Flight {
    Flight {
        departed_at: format!("{}:00Z", line.date.replace('/', "-").replace(' ', "T")),
        delay_minutes: line.delay,
        distance_miles: line.distance,
        origin: line.origin,
        destination: line.destination,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_of_the_sample_becomes_the_event_of_the_route() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file.as_file_mut(), flate2::Compression::fast());
        gzip.write_all(br#"[{"date":"2001/01/01 00:47","delay":66,"distance":1750,"origin":"DTW","destination":"LAS"}]"#)
            .unwrap();
        gzip.finish().unwrap();

        let flights = read_sample(file.path()).unwrap();

        let json = serde_json::to_value(&flights[0]).unwrap();
        let expected = serde_json::json!({"departed_at":"2001-01-01T00:47:00Z","delay_minutes":66,"distance_miles":1750,
            "origin":"DTW","destination":"LAS"});
        assert_eq!(json, expected);
    }

    #[test]
    fn made_airports_are_distinct_codes_of_three_signs() {
        let codes: std::collections::BTreeSet<_> = (0..1296).map(|n| airport_code('Q', n)).collect();
        assert_eq!(codes.len(), 1296);
        assert!(
            codes
                .iter()
                .all(|code| code.len() == 3 && code.bytes().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit()))
        );
    }
}
