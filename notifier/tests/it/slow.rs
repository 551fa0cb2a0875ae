//! Readers that do not read: bounded, and told.

use crate::client::Socket;
use crate::node::{Node, PATIENCE};

/// Results enough to fill the queue and the kernel's buffers many times over.
const RESULTS: i64 = 40_000;

async fn flood(node: &Node) {
    for first in (1..=RESULTS).step_by(2_000) {
        let batch: Vec<(&str, i64)> = (first..first + 2_000).map(|seq| ("ATL", seq)).collect();
        node.tell(&batch, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_is_cut_and_the_others_are_not() {
    let node = Node::start(|options| options.queue.bytes = 64 * 1024).await;
    let mut stalled = Socket::greet_slow(&node).await;
    stalled.say(r#"{"op":"sub","id":1,"ch":["flights/*"],"policy":"cut"}"#).await;
    assert_eq!(stalled.hear().await["op"], "ready");
    let mut reader = Socket::greet(&node).await;
    reader.say(r#"{"op":"sub","id":1,"ch":["flights/*"]}"#).await;
    assert_eq!(reader.hear().await["op"], "ready");
    let reading = async {
        let mut expected = 1;
        while expected <= RESULTS {
            let value = reader.hear().await;
            if value["op"] == "result" {
                assert_eq!(value["seq"], expected);
                expected += 1;
            }
        }
    };
    tokio::join!(flood(&node), reading);
    testkit::eventually_async(PATIENCE, || async {
        let pulse: serde_json::Value = reqwest::get(node.url("/v1/pulse")).await.unwrap().json().await.unwrap();
        (pulse["connections"]["websocket"] == 1).then_some(())
    })
    .await;
    let (_, code) = stalled.last_words().await;
    assert!(matches!(code, None | Some(4410)), "{code:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_reads_on_from_the_ring_without_loss() {
    let node = Node::start(|options| options.queue.bytes = 64 * 1024).await;
    let mut slow = Socket::greet_slow(&node).await;
    slow.say(r#"{"op":"sub","id":1,"ch":["flights/*"],"policy":"catchup"}"#).await;
    assert_eq!(slow.hear().await["op"], "ready");
    flood(&node).await;
    let mut expected = 1;
    while expected <= RESULTS {
        let value = slow.hear().await;
        match value["op"].as_str() {
            Some("result") => {
                assert_eq!(value["seq"], expected);
                expected += 1;
            }
            Some("lag") => {}
            _ => panic!("{value}"),
        }
    }
    node.tell(&[("ATL", RESULTS + 1)], true).await;
    loop {
        let value = slow.hear().await;
        if value["op"] == "result" {
            assert_eq!(value["seq"], RESULTS + 1);
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_lost_its_place_is_told_a_gap() {
    let node = Node::start(|options| {
        options.queue.bytes = 64 * 1024;
        options.ring.partition_bytes = 512 * 1024;
    })
    .await;
    let mut slow = Socket::greet_slow(&node).await;
    slow.say(r#"{"op":"sub","id":1,"ch":["flights/*"]}"#).await;
    assert_eq!(slow.hear().await["op"], "ready");
    flood(&node).await;
    // else the reader might keep up with a node that is itself behind
    testkit::eventually_async(PATIENCE, || async {
        let pulse: serde_json::Value = reqwest::get(node.url("/v1/pulse")).await.unwrap().json().await.unwrap();
        let flights = pulse["streams"].as_array()?.iter().find(|stream| stream["stream"] == "flights")?;
        (flights["results_total"] == RESULTS).then_some(())
    })
    .await;
    let gap = loop {
        let value = slow.hear().await;
        match value["op"].as_str() {
            Some("result") => assert_ne!(value["seq"], RESULTS, "what the ring had dropped was told as whole"),
            Some("gap") => break value,
            _ => {}
        }
    };
    assert_eq!((&gap["reason"], &gap["next"]), (&"budget".into(), &"live".into()));
    // what is told while it still reads the ring may lie in the next gap
    let mut after = RESULTS + 1;
    node.tell(&[("ATL", after)], true).await;
    loop {
        let value = slow.hear().await;
        if value["op"] == "gap" {
            after += 1;
            node.tell(&[("ATL", after)], true).await;
        } else if value["op"] == "result" && value["seq"].as_i64().unwrap() > RESULTS {
            return;
        }
    }
}
