//! What is due, on real engines, while processes are killed: timers, effects, and strict events that wait for either.
//!
//! Each runs with all tests at a small size. As a show it is long, and prints its progress and a report:
//!
//! ```text
//! FOREBAY_SHOW_TIMERS=1000000 cargo test -p runtime --test it shows::timers -- --nocapture
//! FOREBAY_SHOW_EFFECTS=4000 cargo test -p runtime --test it shows::effects -- --nocapture
//! ```
//!
//! `docs/benchmarks/2026-11-21-agenda.md` has what they printed.

mod effects;
mod machine;
mod reader;
mod target;
mod timers;

use schemas::datum::Datum;
use schemas::flights::FlightDeparted;

use self::machine::Ask;
use crate::deployment::Deployment;

/// A size from the environment; `None`: the small one of every test run.
fn size(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().and_then(|size| size.parse().ok())
}

/// Sends one event of the shows.
async fn ask(deployment: &Deployment, subject: &str, ask: Ask, due_ms: i64, number: usize, text: &str) {
    let event = FlightDeparted {
        departed_at: due_ms,
        delay_minutes: ask as i32,
        distance_miles: number as i32,
        origin: subject.to_owned(),
        destination: text.to_owned(),
    };
    let mut value = Vec::new();
    schemas::frame::begin(deployment.ids.id_of(FlightDeparted::RECORD).unwrap(), &mut value);
    event.encode(&mut value);
    deployment.send(subject, &value, &format!("{subject}/{}/{number}/{text}", ask as i32)).await;
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> i64 {
    runtime::time::now_us() / 1_000
}
