//! `Follower` against a server of a few lines that says what the test tells it to.

use futures::{SinkExt, StreamExt};
use loadtest::live::{Error, Follower};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

const PROTOCOL: &str = "forebay.v1.json";

#[tokio::test]
async fn a_follower_subscribes_to_every_channel_before_it_is_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let channels: Vec<String> = (0..40).map(|n| format!("flights/Q{n:02}")).collect();

    let (follower, asked) = tokio::join!(Follower::open(&base, None, &channels), serve_subscriptions(&listener, 3, &[]));

    assert!(follower.is_ok());
    assert_eq!(asked, channels);
}

#[tokio::test]
async fn results_are_handed_on_and_beacons_are_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let then = [
        r#"{"op":"pos","g":1,"token":"AQ","asof":"2026-01-31T12:00:07Z"}"#,
        r#"{"op":"result","g":1,"ch":"flights/ATL","seq":42,"prev":41,"type":"flight.recorded","data":{"flights":42}}"#,
    ];
    let channels = ["flights/ATL".to_owned()];

    let (follower, _) = tokio::join!(Follower::open(&base, None, &channels), serve_subscriptions(&listener, 1, &then));
    let arrival = follower.unwrap().next().await.unwrap();

    assert_eq!((arrival.channel.as_str(), arrival.seq, arrival.kind.as_str()), ("flights/ATL", 42, "flight.recorded"));
    assert_eq!(arrival.data["flights"], 42);
}

#[tokio::test]
async fn a_told_loss_ends_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let channels = ["flights/ATL".to_owned()];
    let then = [r#"{"op":"gap","g":1,"reason":"retention","next":"stop"}"#];

    let (follower, _) = tokio::join!(Follower::open(&base, None, &channels), serve_subscriptions(&listener, 1, &then));
    let end = follower.unwrap().next().await;

    assert!(matches!(end, Err(Error::Ended(said)) if said.contains("retention")));
}

/// Accepts one connection, answers hello and `subscriptions` subs, sends `then`, and gives the patterns asked for.
async fn serve_subscriptions(listener: &TcpListener, subscriptions: usize, then: &[&str]) -> Vec<String> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut socket = accept(stream).await;
    assert_eq!(incoming(&mut socket).await["op"], "hello");
    send(&mut socket, r#"{"op":"welcome","conn":"n1","limits":{}}"#).await;
    let mut asked = Vec::new();
    for _ in 0..subscriptions {
        let sub = incoming(&mut socket).await;
        assert_eq!((&sub["op"], &sub["since"]), (&"sub".into(), &"now".into()));
        asked.extend(sub["ch"].as_array().unwrap().iter().map(|channel| channel.as_str().unwrap().to_owned()));
        send(&mut socket, &serde_json::json!({"op":"ready","id":sub["id"],"g":1,"status":"live"}).to_string()).await;
    }
    for text in then {
        send(&mut socket, text).await;
    }
    asked
}

#[expect(clippy::result_large_err, reason = "the signature is the library's")]
async fn accept(stream: TcpStream) -> WebSocketStream<TcpStream> {
    let choose = |request: &Request, mut response: Response| {
        let offered = request.headers().get("sec-websocket-protocol");
        assert_eq!(offered, Some(&HeaderValue::from_static(PROTOCOL)));
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    accept_hdr_async(stream, choose).await.unwrap()
}

async fn incoming(socket: &mut WebSocketStream<TcpStream>) -> serde_json::Value {
    let message = socket.next().await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

async fn send(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}
