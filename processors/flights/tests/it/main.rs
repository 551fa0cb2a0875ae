//! Data in, data out: no Kafka, no store.

use std::collections::BTreeMap;
use std::sync::Arc;

use runtime::{Context, Processor, Rows};
use schemas::flights::{Airport, FlightDeparted, FlightRecorded, Input, ResultEvent, Row};

use flights::Flights;

/// The rows of all airports, and what was told.
#[derive(Default)]
struct World {
    rows: BTreeMap<String, BTreeMap<Arc<str>, Row>>,
}

impl World {
    fn depart(&mut self, flight: FlightDeparted) -> Vec<ResultEvent> {
        let subject = flight.origin.clone();
        let stored = self.rows.entry(subject.clone()).or_default();
        let input = Input::FlightDeparted(flight);
        let wanted = Flights.reads(&input).rows;
        let rows = Rows::new(
            stored
                .iter()
                .filter(|(sort, _)| wanted.iter().any(|one| **one == ***sort))
                .map(|(sort, row)| (sort.clone(), row.clone())),
        );
        let ctx = Context {
            subject: subject.as_str().into(),
            event_type: "flight.departed".into(),
            principal: None,
            event_time: 0,
            append_time: 0,
            now: 0,
            cause: [0; 16],
            offset: 0,
        };
        let Ok(decision) = Flights.decide(input, &rows, &ctx) else { panic!("flights never refuses") };
        for (sort, row, _) in decision.rows {
            stored.insert(sort.into(), row.expect("flights never deletes"));
        }
        decision.results
    }

    fn airport(&self, origin: &str) -> &Airport {
        match &self.rows[origin][""] {
            Row::Airport(airport) => airport,
            Row::Recent(_) => panic!("the root row is an airport"),
        }
    }
}

fn flight(delay_minutes: i32) -> FlightDeparted {
    FlightDeparted {
        departed_at: 978_310_020_000,
        delay_minutes,
        distance_miles: 1750,
        origin: "DTW".into(),
        destination: "LAS".into(),
    }
}

#[test]
fn the_first_departure_makes_the_airport() {
    let mut world = World::default();
    let told = world.depart(flight(66));
    let recorded =
        FlightRecorded { origin: "DTW".into(), destination: "LAS".into(), delay_minutes: 66, flights: 1, delay_minutes_sum: 66 };
    assert_eq!(told, [ResultEvent::FlightRecorded(recorded)]);
    let airport = Airport {
        flights: 1,
        delay_minutes_sum: 66,
        delay_minutes_max: 66,
        delayed_15: 1,
        distance_miles_sum: 1750,
        last_departed_at: 978_310_020_000,
    };
    assert_eq!(*world.airport("DTW"), airport);
}

#[test]
fn a_crossing_is_told_once_behind_its_flight() {
    let mut world = World::default();
    for _ in 0..19 {
        assert_eq!(world.depart(flight(60)).len(), 1, "silent until 20 departures are known");
    }
    let told = world.depart(flight(60));
    assert!(matches!(told.as_slice(), [ResultEvent::FlightRecorded(_), ResultEvent::AirportDelayed(delayed)]
        if delayed.mean_delay_minutes == 60.0 && delayed.flights == 20));
    assert_eq!(world.depart(flight(60)).len(), 1, "it is delayed already");
    // 15 of 20 at 0 leave a mean of exactly 15: still delayed; one more and it is 12
    let quiet: Vec<usize> = (0..15).map(|_| world.depart(flight(0)).len()).collect();
    assert_eq!(quiet, [1; 15]);
    let told = world.depart(flight(0));
    assert!(matches!(told.as_slice(), [_, ResultEvent::AirportRecovered(recovered)] if recovered.mean_delay_minutes == 12.0));
}

#[test]
fn an_early_airport_has_a_negative_maximum() {
    let mut world = World::default();
    world.depart(flight(-7));
    world.depart(flight(-3));
    let airport = world.airport("DTW");
    assert_eq!((airport.delay_minutes_max, airport.delay_minutes_sum, airport.delayed_15), (-3, -10, 0));
}

/// The numbers that README, docs and the quick start name.
#[test]
fn the_sample_file_gives_the_published_numbers() {
    let mut world = World::default();
    let (mut delayed, mut recovered, mut recorded) = (0, 0, 0);
    for flight in sample::flights().unwrap() {
        let departed_at: jiff::Timestamp = flight.departed_at.parse().unwrap();
        let told = world.depart(FlightDeparted {
            departed_at: departed_at.as_millisecond(),
            delay_minutes: flight.delay_minutes,
            distance_miles: flight.distance_miles,
            origin: flight.origin,
            destination: flight.destination,
        });
        for result in told {
            match result {
                ResultEvent::FlightRecorded(_) => recorded += 1,
                ResultEvent::AirportDelayed(_) => delayed += 1,
                ResultEvent::AirportRecovered(_) => recovered += 1,
            }
        }
    }
    assert_eq!((recorded, delayed, recovered, world.rows.len()), (20_000, 320, 309, 220));
    let last: jiff::Timestamp = "2001-03-31T19:34:00Z".parse().unwrap();
    let atlanta = Airport {
        flights: 846,
        delay_minutes_sum: 6611,
        delay_minutes_max: 365,
        delayed_15: 186,
        distance_miles_sum: 554_023,
        last_departed_at: last.as_millisecond(),
    };
    assert_eq!(*world.airport("ATL"), atlanta);
}
