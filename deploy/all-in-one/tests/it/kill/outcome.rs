//! What came of it: the results topic as any reader sees it, and the views.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::datum::Union;
use schemas::flights::ResultEvent;
use serde_json::Value;
use testkit::kafka::Record;
use testkit::{Kafka, checkers};

use super::expected::Expected;

/// How long the pipeline may take for what is left after the last kill.
const PATIENCE: Duration = Duration::from_secs(90);

/// Everything on the results topic.
pub(crate) struct Results {
    records: Vec<Record>,
}

/// Reads the topic until as many flights were told as expected.
pub(crate) async fn results(kafka: &str, topic: &str, expected: &Expected) -> Results {
    let kafka = Kafka::new(kafka);
    testkit::eventually_async(PATIENCE, || async {
        let records = kafka.read(topic).await;
        let told = records.iter().filter(|record| record.header("ce_type") == Some("flight.recorded")).count();
        (told >= expected.flights()).then_some(Results { records })
    })
    .await
}

impl Results {
    /// One result per flight, numbers without holes, the last of each airport as counted from the file.
    pub(crate) fn check(&self, expected: &Expected) {
        let told: Vec<_> = self.records.iter().filter(|record| record.header("ce_type") == Some("flight.recorded")).collect();
        let causes: BTreeSet<_> = told.iter().map(|record| record.header("cause")).collect();
        assert_eq!((told.len(), causes.len()), (expected.flights(), expected.flights()), "results and their causes");
        // crossings of the mean are results too: all of them together are dense
        checkers::results(&self.records);
        let mut last = BTreeMap::new();
        for record in told {
            let datum = &record.value.as_deref().unwrap()[schemas::frame::HEAD..];
            if let ResultEvent::FlightRecorded(flight) = ResultEvent::decode("flight.recorded", datum).unwrap() {
                last.insert(record.subject(), (flight.flights, flight.delay_minutes_sum));
            }
        }
        assert_eq!(last, expected.airports);
    }
}

/// Every airport's row, as the read side serves it.
pub(crate) async fn check_views(reads: &str, expected: &Expected) {
    let client = reqwest::Client::new();
    for (airport, sums) in &expected.airports {
        let url = format!("{reads}/v1/views/flights/{airport}");
        testkit::eventually_async(PATIENCE, || async {
            let view: Value = client.get(&url).send().await.ok()?.json().await.ok()?;
            let root = view["rows"].as_array()?.iter().find(|row| row["sort"] == "")?;
            let seen = (root["data"]["flights"].as_i64()?, root["data"]["delay_minutes_sum"].as_i64()?);
            (seen == *sums).then_some(())
        })
        .await;
    }
}
