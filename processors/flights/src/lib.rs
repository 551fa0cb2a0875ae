//! Departures and delays per airport, as they are right now: the smallest complete processor and the worked example
//! of `docs/adding-a-processor.md`.

use runtime::{Context, Decision, Processor, Reads, Rejection, Rows};
use schemas::flights::{
    Airport, AirportDelayed, AirportRecovered, FlightDeparted, FlightRecorded, Input, Recent, ResultEvent, Row, SendEvent,
};

/// Departures that the mean is taken over.
const RECENT: usize = 20;
/// From this delay on a flight counts as delayed, and from this mean on an airport; minutes.
const DELAYED_FROM: i32 = 15;
/// Sort of the row with the last departures.
const RECENT_SORT: &str = "recent";

/// The processor of the stream `flights`. The subject is the airport.
#[derive(Debug)]
pub struct Flights;

impl Processor for Flights {
    const NAME: &'static str = "flights";
    type Input = Input;
    type Row = Row;
    type ResultEvent = ResultEvent;
    type SendEvent = SendEvent;

    fn reads(&self, _: &Input) -> Reads {
        Reads::root().row(RECENT_SORT)
    }

    fn decide(&self, input: Input, rows: &Rows<Row>, _: &Context) -> Result<Decision<Self>, Rejection> {
        let Input::FlightDeparted(flight) = input;
        let airport = count(airport_in(rows), &flight);
        let (recent, crossing) = remember(recent_in(rows), &flight, airport.flights);

        let recorded = FlightRecorded {
            origin: flight.origin,
            destination: flight.destination,
            delay_minutes: flight.delay_minutes,
            flights: airport.flights,
            delay_minutes_sum: airport.delay_minutes_sum,
        };
        let decision = Decision::new()
            .put("", Row::Airport(airport))
            .put(RECENT_SORT, Row::Recent(recent))
            .emit(ResultEvent::FlightRecorded(recorded));
        Ok(match crossing {
            Some(crossing) => decision.emit(crossing),
            None => decision,
        })
    }
}

fn airport_in(rows: &Rows<Row>) -> Option<Airport> {
    match rows.get("") {
        Some(Row::Airport(airport)) => Some(airport.clone()),
        _ => None,
    }
}

fn recent_in(rows: &Rows<Row>) -> Recent {
    match rows.get(RECENT_SORT) {
        Some(Row::Recent(recent)) => recent.clone(),
        _ => Recent { delays: Vec::new(), delayed: false },
    }
}

/// The airport with one more departure.
fn count(before: Option<Airport>, flight: &FlightDeparted) -> Airport {
    let mut airport = before.unwrap_or(Airport {
        flights: 0,
        delay_minutes_sum: 0,
        delay_minutes_max: flight.delay_minutes,
        delayed_15: 0,
        distance_miles_sum: 0,
        last_departed_at: flight.departed_at,
    });
    airport.flights += 1;
    airport.delay_minutes_sum += i64::from(flight.delay_minutes);
    airport.delay_minutes_max = airport.delay_minutes_max.max(flight.delay_minutes);
    airport.delayed_15 += i64::from(flight.delay_minutes >= DELAYED_FROM);
    airport.distance_miles_sum += i64::from(flight.distance_miles);
    airport.last_departed_at = airport.last_departed_at.max(flight.departed_at);
    airport
}

/// The last departures with this one, and what to tell when their mean crossed the bound.
/// Silent until [`RECENT`] departures are known: a mean of few says little.
fn remember(mut recent: Recent, flight: &FlightDeparted, flights: i64) -> (Recent, Option<ResultEvent>) {
    recent.delays.push(flight.delay_minutes);
    let surplus = recent.delays.len().saturating_sub(RECENT);
    recent.delays.drain(..surplus);
    if recent.delays.len() < RECENT {
        return (recent, None);
    }
    let mean_delay_minutes = recent.delays.iter().map(|delay| f64::from(*delay)).sum::<f64>() / RECENT as f64;
    let delayed = mean_delay_minutes >= f64::from(DELAYED_FROM);
    if delayed == recent.delayed {
        return (recent, None);
    }
    recent.delayed = delayed;
    let origin = flight.origin.clone();
    let crossing = if delayed {
        ResultEvent::AirportDelayed(AirportDelayed { origin, mean_delay_minutes, flights })
    } else {
        ResultEvent::AirportRecovered(AirportRecovered { origin, mean_delay_minutes, flights })
    };
    (recent, Some(crossing))
}
