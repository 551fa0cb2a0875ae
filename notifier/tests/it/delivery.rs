//! What was committed arrives once and in order; what was aborted never.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{Events, Socket};
use crate::node::Node;

/// Seqs by channel, in the order they came.
fn by_channel(results: Vec<(String, i64)>) -> BTreeMap<String, Vec<i64>> {
    let mut channels = BTreeMap::<String, Vec<i64>>::new();
    for (channel, seq) in results {
        channels.entry(channel).or_default().push(seq);
    }
    channels
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committed_results_arrive_once_and_in_order_and_ready_comes_first() {
    let node = Node::start(|_| {}).await;
    let mut glob = Socket::greet(&node).await;
    glob.say(r#"{"op":"sub","id":1,"ch":["flights/*","flights/ATL"]}"#).await;
    let ready = glob.hear().await;
    assert_eq!((&ready["op"], &ready["id"], &ready["status"]), (&"ready".into(), &1.into(), &"live".into()));
    let mut exact = Socket::greet(&node).await;
    exact.say(r#"{"op":"sub","id":9,"ch":["flights/ATL"],"policy":"cut"}"#).await;
    assert_eq!(exact.hear().await["op"], "ready");
    let mut events = Events::open(&node, "ch=flights/*").await;
    assert_eq!(events.next().await.0, "ready");

    let airports = ["ATL", "JFK", "ORD", "LAX", "DFW"];
    for seq in 1..=20 {
        node.tell(&airports.map(|airport| (airport, seq)), true).await;
        if seq % 5 == 0 {
            node.tell(&airports.map(|airport| (airport, seq + 1)), false).await;
        }
    }
    let wanted: BTreeMap<String, Vec<i64>> =
        airports.iter().map(|airport| (format!("flights/{airport}"), (1..=20).collect())).collect();
    assert_eq!(by_channel(glob.results(100).await), wanted);
    assert_eq!(exact.results(20).await, (1..=20).map(|seq| ("flights/ATL".to_owned(), seq)).collect::<Vec<_>>());
    let mut told = Vec::new();
    while told.len() < 100 {
        let (op, value) = events.next().await;
        if op == "result" {
            told.push((value["ch"].as_str().unwrap().to_owned(), value["seq"].as_i64().unwrap()));
        }
    }
    assert_eq!(by_channel(told), wanted);
    // nothing of the aborted transactions, nothing twice
    glob.quiet(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_carries_what_is_published_and_a_bad_one_keeps_its_place() {
    let node = Node::start(|_| {}).await;
    let mut socket = Socket::greet(&node).await;
    socket.say(r#"{"op":"sub","id":1,"ch":["flights/**"]}"#).await;
    let group = socket.hear().await["g"].clone();
    node.tell(&[("ATL", 1)], true).await;
    node.tell_raw("ATL", 2, b"no wire format").await;
    node.tell_raw("ATL", 3, &[0, 0x7f, 0xff, 0xff, 0xff, 2]).await;
    node.tell(&[("ATL", 4)], true).await;

    let first = socket.hear().await;
    let shown = serde_json::json!({
        "origin": "ATL", "destination": "JFK", "delay_minutes": 7, "flights": 1, "delay_minutes_sum": 7,
    });
    assert_eq!(first["data"], shown);
    assert_eq!((&first["g"], &first["prev"], &first["eid"]), (&group, &0.into(), &"e1".into()));
    assert_eq!((&first["type"], &first["src"]), (&"flight.recorded".into(), &"forebay/flights".into()));
    for seq in [2, 3] {
        let bad = socket.hear().await;
        assert_eq!((&bad["seq"], &bad["bad"], &bad["data"]), (&seq.into(), &"undecodable".into(), &serde_json::Value::Null));
    }
    assert_eq!(socket.hear().await["seq"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_compact_headers_leave_out_is_filled_in() {
    let node = Node::start(|_| {}).await;
    let mut socket = Socket::greet(&node).await;
    socket.say(r#"{"op":"sub","id":1,"ch":["flights/**"]}"#).await;
    socket.hear().await;
    let told = node.tell_with("ATL", &node.recorded("ATL", 7), &[("seq", b"7"), ("cause", b"0a")]).await;
    let result = socket.hear().await;
    assert_eq!(result["eid"], schemas::key::result_id("ATL", 7));
    assert_eq!((&result["type"], &result["src"]), (&"flight.recorded".into(), &"forebay/flights".into()));
    let time: jiff::Timestamp = result["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_millisecond(), told);
    assert_eq!(result["data"]["flights"], 7);
    // numbers begin at 1: what is none is not shown as one
    node.tell_with("ATL", &node.recorded("ATL", 8), &[("seq", b"-9223372036854775808")]).await;
    let odd = socket.hear().await;
    assert_eq!((&odd["seq"], &odd["eid"]), (&serde_json::Value::Null, &serde_json::Value::Null), "{odd}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_the_ring_still_holds_is_resumed_without_a_hole() {
    let node = Node::start(|_| {}).await;
    node.tell(&[("ATL", 1), ("JFK", 1)], true).await;
    node.tell(&[("ATL", 2)], true).await;
    let mut first = Socket::greet(&node).await;
    first.say(r#"{"op":"sub","id":1,"ch":["flights/ATL"],"since":"earliest"}"#).await;
    let ready = first.hear().await;
    assert_eq!((&ready["status"], &ready["source"]), (&"resumed".into(), &"ring".into()), "{ready}");
    assert_eq!(first.results(2).await.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [1, 2]);
    node.tell(&[("ATL", 3)], true).await;
    assert_eq!(first.results(1).await, [("flights/ATL".to_owned(), 3)]);
    first.say(r#"{"op":"repair","id":1,"ch":"flights/ATL","last":1}"#).await;
    assert_eq!(first.results(2).await.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), [2, 3]);
    let repaired = first.hear().await;
    assert_eq!((&repaired["op"], &repaired["through"]), (&"repaired".into(), &3.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_appears_later_is_read_from_its_beginning() {
    let node = Node::start(|_| {}).await;
    let mut socket = Socket::greet(&node).await;
    socket.say(r#"{"op":"sub","id":1,"ch":["**"]}"#).await;
    assert_eq!(socket.hear().await["op"], "ready");
    let topic = node.topics.results("late");
    node.kafka.create(&topic, 1).await;
    let value = node.recorded("ATL", 1);
    node.kafka.produce(&topic, Some(0), b"x/y", &value, &[("seq", b"1")]).await;
    let result = socket.hear().await;
    assert_eq!((&result["ch"], &result["seq"]), (&"late/x/y".into(), &1.into()));
}
