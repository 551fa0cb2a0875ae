//! The console and the documents of the room.

use std::path::Path;

use serde_json::Value;

use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_is_served_under_a_strict_policy() {
    let node = Node::start(|_| {}).await;
    let page = reqwest::get(node.url("/")).await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let etag = page.headers()["etag"].clone();
    let html = page.text().await.unwrap();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("onclick"), "nothing inline");
    for path in html.split('"').filter(|part| part.starts_with("/console/")) {
        let file = reqwest::get(node.url(path)).await.unwrap();
        assert_eq!(file.status(), 200, "{path}");
        // what a script imports is served too
        for imported in file.text().await.unwrap().split("from \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
            let path = format!("/console/{imported}");
            assert_eq!(reqwest::get(node.url(&path)).await.unwrap().status(), 200, "{path}");
        }
    }
    let again = reqwest::Client::new().get(node.url("/")).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), 304);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pulse_and_the_document_tell_the_streams() {
    let node = Node::start(|_| {}).await;
    node.tell(&[("ATL", 1), ("ATL", 2)], true).await;
    let told = testkit::eventually_async(crate::node::PATIENCE, || async {
        let pulse: Value = reqwest::get(node.url("/v1/pulse")).await.unwrap().json().await.unwrap();
        let flights = pulse["streams"].as_array()?.iter().find(|stream| stream["stream"] == "flights")?.clone();
        (flights["results_total"] == 2).then_some(pulse)
    })
    .await;
    assert_eq!(told["ready"], true);
    let document: Value = reqwest::get(node.url("/asyncapi.json")).await.unwrap().json().await.unwrap();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["x-streams"]["flights"]["results"][0]["type"], "flight.recorded");
}

#[test]
fn the_embedded_console_is_made_of_its_sources() {
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let mut names: Vec<_> = std::fs::read_dir(console.join("src")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = names.iter().flat_map(|name| std::fs::read(name).unwrap()).fold(0xcbf2_9ce4_8422_2325, fold);
    let built = std::fs::read_to_string(console.join("dist/sources")).unwrap();
    assert_eq!(built.trim(), format!("{hash:x}"), "run npm run build in notifier/console");
}
