//! Reads every result once, as they come, and checks each against the one before: nothing is kept but the last of each
//! airport and the keys of events that have no result yet.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use schemas::datum::Datum;
use schemas::flights::FlightRecorded;
use schemas::key::EventKey;
use testkit::Follower;
use testkit::kafka::Record;

use super::stage::Stage;
use crate::deployment::Deployment;

/// Without any result for so long the show has failed.
const STUCK: Duration = Duration::from_secs(300);

/// What is counted of an airport.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Airport {
    pub(crate) flights: i64,
    pub(crate) delay_minutes_sum: i64,
}

pub(crate) type Airports = BTreeMap<String, Airport>;

/// Events that must be told of.
#[derive(Default)]
pub(crate) struct Tally {
    open: Mutex<HashSet<EventKey>>,
}

impl Tally {
    /// This event must have one result.
    pub(crate) fn expect(&self, key: EventKey) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Reads until every event of the plan has its result, and returns what they said last.
    pub(crate) fn run(&self, deployment: &Deployment, stage: &Stage) -> Airports {
        let follower = Follower::new(&deployment.kafka, &deployment.topics.results("flights"));
        let (mut airports, mut last_seq) = (Airports::default(), BTreeMap::new());
        let (mut told, mut since) = (0, Instant::now());
        while told < stage.plan().events && !stage.is_over() {
            let Some(record) = follower.next(Duration::from_secs(1)) else {
                assert!(since.elapsed() < STUCK, "{told} results, and no other for {STUCK:?}");
                continue;
            };
            since = Instant::now();
            dense(&record, &mut last_seq);
            if record.header("ce_type") == Some("flight.recorded") {
                self.settle(&record);
                count(&record, &mut airports);
                told += 1;
                stage.told();
            }
        }
        airports
    }

    /// The event has its result, and had none before.
    fn settle(&self, record: &Record) {
        let cause = record.header("cause").and_then(|cause| cause.parse().ok()).expect("a result names its cause");
        let awaited = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&cause);
        assert!(awaited, "{}/{}: a second result of {cause}, or one of nothing", record.partition, record.offset);
    }
}

/// `seq` of each subject rises by one.
fn dense(record: &Record, last_seq: &mut BTreeMap<Vec<u8>, u64>) {
    let seq: u64 = record.header("seq").and_then(|seq| seq.parse().ok()).expect("a result has a seq");
    let last = last_seq.entry(record.key.clone()).or_default();
    assert_eq!(seq, *last + 1, "{}/{}: of {}", record.partition, record.offset, record.subject());
    *last = seq;
}

/// The airport's numbers are those before and this flight.
fn count(record: &Record, airports: &mut Airports) {
    let value = record.value.as_deref().expect("a result has a value");
    let (_, datum) = schemas::frame::split(value).expect("a framed datum");
    let flight = FlightRecorded::decode(datum).expect("a recorded flight");
    let airport = airports.entry(flight.origin).or_default();
    airport.flights += 1;
    airport.delay_minutes_sum += i64::from(flight.delay_minutes);
    let told = Airport { flights: flight.flights, delay_minutes_sum: flight.delay_minutes_sum };
    assert_eq!(told, *airport, "{}/{}: of {}", record.partition, record.offset, record.subject());
}
