//! Settings. The commented defaults are in `default.toml`; every key of it is a field here.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use chassis::config::quantity::{bytes, duration};
use chassis::config::{Kafka, Listener, Registry};
use chassis::{auth, telemetry};

/// The compiled-in, commented defaults of `forebay-ingest`.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// The settings contradict each other; the text says what to change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Everything `forebay-ingest` can be told. A process that runs several rooms takes [`Options`] alone.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where schemas and secrets are kept between starts.
    pub data_dir: PathBuf,
    /// The public listener.
    pub http: Listener,
    /// The admin endpoint.
    pub admin: Listener,
    /// The broker.
    pub kafka: Kafka,
    /// The schema registry.
    pub registry: Registry,
    /// The store that outcomes are read from.
    pub store: state::Config,
    /// Logs and traces.
    pub telemetry: telemetry::Config,
    /// Who may do what.
    pub access: auth::Config,
    /// See [`Options::limits`].
    pub limits: Limits,
    /// See [`Options::admission`].
    pub admission: Admission,
    /// See [`Options::dedupe`].
    pub dedupe: Dedupe,
    /// See [`Options::wait`].
    pub wait: Wait,
    /// See [`Options::answer`].
    pub answer: Answer,
    /// See [`Options::warm_up`].
    pub warm_up: WarmUp,
    /// Shutting down.
    pub drain: Drain,
}

/// What the room itself needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Put before every topic name.
    pub topic_prefix: String,
    /// Keys that tag receipts are kept below it.
    pub data_dir: PathBuf,
    /// Bounds of requests.
    pub limits: Limits,
    /// Bound of all requests together.
    pub admission: Admission,
    /// Memory for repeats.
    pub dedupe: Dedupe,
    /// Bound of waiting requests.
    pub wait: Wait,
    /// Outcome routes.
    pub answer: Answer,
    /// Getting ready.
    pub warm_up: WarmUp,
}

/// Bounds of one request.
#[derive(Clone, Debug, Deserialize)]
pub struct Limits {
    /// Body as received, bytes.
    #[serde(deserialize_with = "bytes")]
    pub body_wire: usize,
    /// Body decoded, bytes.
    #[serde(deserialize_with = "bytes")]
    pub body: usize,
    /// One event encoded, bytes.
    #[serde(deserialize_with = "bytes")]
    pub event: usize,
    /// Events of one request.
    pub batch: usize,
    /// Nesting of JSON.
    pub depth: usize,
    /// Array and map entries of one event.
    pub items: usize,
    /// Longest pause inside a body.
    #[serde(deserialize_with = "duration")]
    pub body_idle: Duration,
    /// Longest time for a whole body.
    #[serde(deserialize_with = "duration")]
    pub body_time: Duration,
    /// Slowest body after its first 5 s, bytes per second.
    #[serde(deserialize_with = "bytes")]
    pub body_rate: usize,
    /// From the last body byte to the answer.
    #[serde(deserialize_with = "duration")]
    pub request_time: Duration,
}

/// Bound of all requests together.
#[derive(Clone, Debug, Deserialize)]
pub struct Admission {
    /// Bytes in flight.
    #[serde(deserialize_with = "bytes")]
    pub bytes: usize,
}

/// Memory for repeats.
#[derive(Clone, Debug, Deserialize)]
pub struct Dedupe {
    /// Event keys remembered.
    pub entries: usize,
    /// For how long.
    #[serde(deserialize_with = "duration")]
    pub age: Duration,
}

/// Bound of waiting requests.
#[derive(Clone, Debug, Deserialize)]
pub struct Wait {
    /// Requests that wait for outcomes at the same time.
    pub requests: usize,
}

/// Outcome routes.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// How long they wait unless the caller says otherwise.
    #[serde(deserialize_with = "duration")]
    pub wait: Duration,
}

/// Getting ready.
#[derive(Clone, Debug, Deserialize)]
pub struct WarmUp {
    /// Ready after this long even if not every partition has answered.
    #[serde(deserialize_with = "duration")]
    pub time: Duration,
}

/// Shutting down.
#[derive(Clone, Debug, Deserialize)]
pub struct Drain {
    /// Time to serve on while load balancers look elsewhere.
    #[serde(deserialize_with = "duration")]
    pub lead: Duration,
    /// Time to finish what runs.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
}

impl Config {
    /// The part that the room itself needs.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            topic_prefix: self.kafka.topic_prefix.clone(),
            data_dir: self.data_dir.clone(),
            limits: self.limits.clone(),
            admission: self.admission.clone(),
            dedupe: self.dedupe.clone(),
            wait: self.wait.clone(),
            answer: self.answer.clone(),
            warm_up: self.warm_up.clone(),
        }
    }
}

/// The producer gives a record up after this long and reports it; a request must outlive that report.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the report to reach the request.
const REPORT_SLACK: Duration = Duration::from_secs(2);
/// Headers of a record, bytes, counted beside `limits.event`.
const RECORD_HEADERS: usize = 32 * 1024;
/// The largest record, bytes: what fits a topic's `max.message.bytes`.
pub(crate) const RECORD_BYTES_MAX: usize = 1_000_000;
/// The largest input a processor takes (`input.bytes_max`), bytes.
const INPUT_BYTES_MAX: usize = 640 * 1024;

impl Options {
    /// Checks that the settings fit each other.
    ///
    /// # Errors
    /// [`Error`] with a sentence that names the settings and what to change.
    pub fn check(&self) -> Result<(), Error> {
        let limits = &self.limits;
        let refuse = |text: String| Err(Error(text));
        if limits.request_time < MESSAGE_TIMEOUT + REPORT_SLACK {
            return refuse(format!(
                "limits.request_time is {:?}, but the producer reports a record only after up to 10 s: set it to 12s or more",
                limits.request_time
            ));
        }
        if limits.event + RECORD_HEADERS > INPUT_BYTES_MAX {
            return refuse(format!(
                "limits.event is {} bytes, but with 32 KiB of headers an event must fit the processors' 640 KiB: set it to 608KiB or less",
                limits.event
            ));
        }
        if limits.event == 0 || limits.batch == 0 || limits.depth == 0 || limits.items == 0 {
            return refuse("limits.event, limits.batch, limits.depth and limits.items must be at least 1".into());
        }
        if limits.body < limits.event || limits.body_wire > limits.body {
            return refuse("limits.body must be at least limits.event and at least limits.body_wire".into());
        }
        if self.admission.bytes < 2 * limits.body {
            return refuse(format!("admission.bytes must be at least twice limits.body, {} bytes", 2 * limits.body));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete_and_fit_each_other() {
        let config: Config = chassis::config::load(DEFAULTS, None, &[]).unwrap();
        assert_eq!(config.options().check(), Ok(()));
        assert_eq!(config.limits.body, 16 << 20);
        assert_eq!(config.drain.lead, Duration::from_secs(5));
    }

    #[test]
    fn a_deadline_shorter_than_the_producers_is_refused_with_a_sentence() {
        let flags = [("limits.request_time".to_owned(), "5s".to_owned())];
        let config: Config = chassis::config::load(DEFAULTS, None, &flags).unwrap();
        assert!(config.options().check().unwrap_err().to_string().contains("set it to 12s or more"));
    }
}
