//! The streams that ship with this program.

use reqwest::Method;
use serde_json::json;

use schemas::catalog::Catalog;

use crate::http::send;
use crate::log;
use crate::server::{needs_for, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_the_catalog_is_accepted_by_its_route() {
    let catalog = Catalog::embedded().unwrap();
    let (needs, server) = needs_for(catalog.clone(), |_| {}).await;
    let server = serve(needs, server, true).await;
    let mut tried = 0;
    for stream in catalog.streams() {
        for event in stream.events.iter().filter(|event| !event.internal) {
            let (Some(route), Some(example)) = (&event.route, &event.example) else { continue };
            let method = Method::from_bytes(route.method.as_bytes()).unwrap();
            let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
            let answer = send(&server, method, &route.path, &headers, example.clone()).await;
            assert_eq!(answer.body["verdict"], "accepted", "{}: {answer:?}", event.ce_type);
            assert_eq!(answer.status, if event.answer_outcome { 202 } else { 200 });
            let record = log::record(&server, &stream.name, &answer.body).await;
            assert_eq!(log::headers(&record)["ce_type"], event.ce_type);
            tried += 1;
        }
    }
    assert!(tried >= 2, "flights and students have examples");

    let flight = json!({"departed_at": "2001-01-01T00:47:00Z", "delay_minutes": 6.5, "distance_miles": -1, "origin": "atl", "destination": "LAS"});
    let wrong = send(&server, Method::POST, "/v1/flights", &[], flight.to_string()).await;
    wrong.is_problem(422, "invalid-event");
    assert_eq!(wrong.errors()[0].0, "/delay_minutes");
}
