//! The fixed routes.

use reqwest::Method;
use serde_json::json;

use crate::http::{get, send};
use crate::server::shared;

#[tokio::test]
async fn streams_are_listed_with_what_their_callers_need() {
    let all = get("/v1/streams").await;
    assert_eq!(all.status, 200);
    let names: Vec<_> = all.body["streams"].as_array().unwrap().iter().map(|stream| &stream["stream"]).collect();
    assert_eq!(names, ["beacons", "orders"]);

    let orders = get("/v1/streams/orders").await;
    assert_eq!((orders.status, &orders.body["partitions"]), (200, &json!(3)));
    let types = orders.body["types"].as_array().unwrap();
    assert!(types.iter().all(|kind| kind["type"] != "order.expire"), "internal types do not exist for callers");
    let place = types.iter().find(|kind| kind["type"] == "order.place").unwrap();
    assert_eq!(place["route"], "POST /v1/orders");
    assert_eq!(place["subject"], json!({"generated": true, "prefix": "{account}/order"}));
    assert!(place["schema"]["id"].is_i64());
    assert_eq!(place["avro"]["name"], "OrderPlace");
    let lines = &place["json_schema"]["properties"]["lines"];
    assert_eq!(lines["items"]["$ref"], "#/$defs/forebay.orders.Line");
    assert_eq!(place["json_schema"]["required"], json!(["lines"]));
    get("/v1/streams/nothing").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn the_description_names_every_route_and_has_a_tag() {
    let document = get("/openapi.json").await;
    assert_eq!((document.status, &document.body["openapi"]), (200, &json!("3.1.0")));
    let paths = document.body["paths"].as_object().unwrap();
    for path in ["/v1/streams/{stream}/events", "/v1/orders", "/v1/orders/{id}/payment", "/v1/beacons", "/v1/packs"] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert_eq!(paths["/v1/orders/{id}/payment"]["put"]["parameters"][0]["name"], "id");
    let references = document.body.to_string();
    for part in references.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document.body["components"]["schemas"][name].is_object(), "{name} is described");
    }
    let tag = document.header("etag").to_owned();
    let same = send(shared(), Method::GET, "/openapi.json", &[("if-none-match", &tag)], "").await;
    assert_eq!(same.status, 304);
    let page = get("/docs").await;
    assert!(page.body.as_str().unwrap().contains("POST /v1/orders"), "{page:?}");
}

#[tokio::test]
async fn every_problem_has_a_page() {
    let page = get("/problems/log-unavailable").await;
    assert!(page.status == 200 && page.body.as_str().unwrap().contains("log-unavailable"));
    get("/problems/nothing").await.is_problem(404, "not-found");
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405_with_what_is_allowed() {
    get("/v1/nothing").await.is_problem(404, "not-found");
    for (method, path, allow) in [
        (Method::GET, "/v1/streams/orders/events", "POST"),
        (Method::DELETE, "/v1/orders", "POST"),
        (Method::POST, "/v1/orders/1/payment", "PUT"),
        (Method::POST, "/v1/streams", "GET,HEAD"),
    ] {
        let answer = send(shared(), method, path, &[], "").await;
        answer.is_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn whoever_comes_by_a_foreign_name_is_refused() {
    let answer = send(shared(), Method::POST, "/v1/streams/orders/events", &[("host", "evil.example")], "{}").await;
    answer.is_problem(403, "forbidden");
}
