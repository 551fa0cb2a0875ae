//! Bad input gets the published answer, and the connection its published end.

use reqwest::StatusCode;
use serde_json::Value;

use crate::client::{Events, Socket};
use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handshake_refuses_what_it_must() {
    let node = Node::start(|_| {}).await;
    let client = reqwest::Client::new();
    let upgrade = |version: &str, protocol: Option<&str>, origin: Option<&str>| {
        let mut request = client
            .get(node.url("/v1/ws"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", version)
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(protocol) = protocol {
            request = request.header("sec-websocket-protocol", protocol);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.send()
    };
    let answer = upgrade("13", None, None).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(upgrade("13", Some("other"), None).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let answer = upgrade("12", Some("forebay.v1.json"), None).await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["sec-websocket-version"]),
        (StatusCode::UPGRADE_REQUIRED, &"13".parse().unwrap())
    );
    let answer = upgrade("13", Some("forebay.v1.json"), Some("https://evil.example")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let plain = reqwest::get(node.url("/v1/ws")).await.unwrap();
    assert_eq!(plain.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_comes_first_once_and_in_time() {
    let node = Node::start(|options| options.socket.hello_timeout = std::time::Duration::from_millis(500)).await;
    let mut early = Socket::open(&node).await;
    early.say(r#"{"op":"sub","id":1,"ch":["flights/*"]}"#).await;
    assert_eq!(early.next().await.unwrap()["code"], "hello_first");
    assert_eq!(early.last_words().await.1, Some(4401));
    let mut silent = Socket::open(&node).await;
    assert_eq!(silent.last_words().await.1, Some(4408));
    let mut twice = Socket::greet(&node).await;
    twice.say(r#"{"op":"hello"}"#).await;
    assert_eq!(twice.hear().await["code"], "hello_twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_answered_and_the_good_ones_go_on() {
    let node = Node::start(|options| options.connection.subscriptions = 2).await;
    let mut socket = Socket::greet(&node).await;
    for (text, id, code) in [
        ("{", Value::Null, "bad_json"),
        (r#"{"op":"x","op":"y"}"#, Value::Null, "bad_json"),
        (r#"{"op":"dance"}"#, Value::Null, "bad_op"),
        (r#"{"op":"sub","id":1}"#, 1.into(), "bad_field"),
        (r#"{"op":"sub","id":1,"ch":["flights/**/x"]}"#, 1.into(), "channel_syntax"),
        (r#"{"op":"sub","id":1,"ch":["flights/~shard/1"]}"#, 1.into(), "channel_reserved"),
        (r#"{"op":"sub","id":1,"ch":["nowhere/*"]}"#, 1.into(), "stream_unknown"),
        (r#"{"op":"sub","id":1,"ch":["flights/*"],"since":"later"}"#, 1.into(), "since_syntax"),
        (r#"{"op":"sub","id":1,"ch":["flights/*"],"since":"snapshot"}"#, 1.into(), "snapshot_unavailable"),
        (r#"{"op":"sub","id":1,"ch":["flights/*"],"filter":"data.x > 1"}"#, 1.into(), "filter_syntax"),
        (r#"{"op":"unsub","id":5}"#, 5.into(), "id_unknown"),
    ] {
        socket.say(text).await;
        let answer = socket.hear().await;
        assert_eq!((&answer["op"], &answer["code"], &answer["id"]), (&"err".into(), &code.into(), &id), "{text}");
    }
    socket.say(r#"{"op":"sub","id":1,"ch":["flights/*"]}"#).await;
    assert_eq!(socket.hear().await["op"], "ready");
    for (text, code) in [
        (r#"{"op":"sub","id":1,"ch":["flights/ATL"]}"#, "id_in_use"),
        (r#"{"op":"sub","id":2,"ch":["flights/*","flights/*"]}"#, "duplicate_subscription"),
        (r#"{"op":"repair","id":1,"ch":"entities/x","last":0}"#, "bad_field"),
    ] {
        socket.say(text).await;
        assert_eq!(socket.hear().await["code"], code, "{text}");
    }
    socket.say(r#"{"op":"sub","id":2,"ch":["flights/ATL"]}"#).await;
    assert_eq!(socket.hear().await["op"], "ready");
    socket.say(r#"{"op":"sub","id":3,"ch":["flights/JFK"]}"#).await;
    assert_eq!(socket.hear().await["code"], "limit_subscriptions");
    socket.say(r#"{"op":"unsub","id":2}"#).await;
    let end = socket.hear().await;
    assert_eq!((&end["op"], &end["code"]), (&"end".into(), &"done".into()));
    node.tell(&[("ATL", 1)], true).await;
    assert_eq!(socket.results(1).await, [("flights/ATL".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_bad_messages_a_binary_one_and_a_huge_one_end_the_connection() {
    let node = Node::start(|_| {}).await;
    let mut stubborn = Socket::greet(&node).await;
    for _ in 0..10 {
        stubborn.say("{").await;
    }
    let (last, code) = stubborn.last_words().await;
    assert_eq!((&last["op"], &last["code"], code), (&"bye".into(), &"protocol".into(), Some(4400)));
    let mut binary = Socket::greet(&node).await;
    binary.say_binary(&[1, 2, 3]).await;
    assert_eq!(binary.last_words().await.1, Some(1003));
    let mut huge = Socket::greet(&node).await;
    huge.say(&format!(r#"{{"op":"{}"}}"#, "x".repeat(70_000))).await;
    assert!(matches!(huge.last_words().await.1, Some(1009) | None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_gets_its_close_answered() {
    let node = Node::start(|_| {}).await;
    let mut socket = Socket::greet(&node).await;
    socket.leave().await;
    assert_eq!(socket.last_words().await.1, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_cannot_be_used_is_a_gap_and_never_silently_live() {
    let node = Node::start(|_| {}).await;
    let mut socket = Socket::greet(&node).await;
    socket.say(r#"{"op":"sub","id":1,"ch":["flights/*"],"since":{"token":"garbage"}}"#).await;
    let ready = socket.hear().await;
    assert_eq!((&ready["status"], &ready["gap"]["reason"]), (&"gap".into(), &"token".into()));
    socket.say(r#"{"op":"sub","id":2,"ch":["flights/ATL"],"since":{"token":"garbage"},"on_gap":"stop"}"#).await;
    assert_eq!(socket.hear().await["gap"]["next"], "stop");
    assert_eq!(socket.hear().await["code"], "stopped");
    let mut events = Events::open(&node, "ch=flights/*&token=garbage").await;
    let (op, ready) = events.next().await;
    assert_eq!((op.as_str(), &ready["status"]), ("ready", &"gap".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_streams_are_refused_before_they_begin() {
    let node = Node::start(|_| {}).await;
    for (query, status) in [
        ("", StatusCode::BAD_REQUEST),
        ("ch=flights//x", StatusCode::BAD_REQUEST),
        ("ch=nowhere/*", StatusCode::NOT_FOUND),
        ("ch=flights/*&since=later", StatusCode::BAD_REQUEST),
        ("ch=flights/*&since=snapshot", StatusCode::SERVICE_UNAVAILABLE),
        ("ch=flights/*&filter=x", StatusCode::BAD_REQUEST),
    ] {
        let answer = reqwest::get(node.url(&format!("/v1/sse?{query}"))).await.unwrap();
        assert_eq!(answer.status(), status, "{query}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{query}");
    }
}
