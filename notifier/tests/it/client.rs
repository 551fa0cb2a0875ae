//! A client as a stranger would write one: WebSocket by tungstenite, Server-Sent Events by reading lines.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::node::{Node, PATIENCE};

/// An open WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// Connects without saying anything.
    pub(crate) async fn open(node: &Node) -> Self {
        Self::open_on(node, TcpSocket::new_v4().unwrap()).await
    }

    async fn open_on(node: &Node, socket: TcpSocket) -> Self {
        let mut request = format!("ws://{}/v1/ws", node.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "forebay.v1.json".parse().unwrap());
        let stream = socket.connect(node.address).await.unwrap();
        let (stream, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "forebay.v1.json");
        Self { stream }
    }

    /// Connects and greets.
    pub(crate) async fn greet(node: &Node) -> Self {
        Self::open(node).await.greeted().await
    }

    /// The same with a receive buffer that stays small: left to itself the kernel keeps tens of megabytes for a client
    /// that does not read, and the server would never notice.
    pub(crate) async fn greet_slow(node: &Node) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        Self::open_on(node, socket).await.greeted().await
    }

    async fn greeted(mut self) -> Self {
        self.say(r#"{"op":"hello","heartbeat_s":1}"#).await;
        assert_eq!(self.hear().await["op"], "welcome");
        self
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    /// Begins the closing handshake.
    pub(crate) async fn leave(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.stream.send(Message::Close(Some(frame))).await.unwrap();
    }

    pub(crate) async fn say_binary(&mut self, bytes: &[u8]) {
        self.stream.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next message that is no beacon.
    pub(crate) async fn hear(&mut self) -> Value {
        let heard = async {
            loop {
                match self.next().await {
                    Ok(value) if value["op"] == "pos" || value["op"] == "hb" => {}
                    Ok(value) => return value,
                    Err(code) => panic!("closed with {code:?}"),
                }
            }
        };
        timeout(PATIENCE, heard).await.expect("more than beacons in time")
    }

    /// The next message, or the code of the close.
    pub(crate) async fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Reads on until the connection is closed; the last message and the close code.
    pub(crate) async fn last_words(&mut self) -> (Value, Option<u16>) {
        let mut last = Value::Null;
        loop {
            match self.next().await {
                Ok(value) => last = value,
                Err(code) => return (last, code),
            }
        }
    }

    /// `ch` and `seq` of the next `count` results.
    pub(crate) async fn results(&mut self, count: usize) -> Vec<(String, i64)> {
        let mut results = Vec::new();
        while results.len() < count {
            let value = self.hear().await;
            assert_eq!(value["op"], "result", "{value}");
            results.push((value["ch"].as_str().unwrap().to_owned(), value["seq"].as_i64().unwrap()));
        }
        results
    }

    /// Nothing but beacons for this long.
    pub(crate) async fn quiet(&mut self, long: Duration) {
        let heard = timeout(long, self.hear()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

/// An open event stream.
pub(crate) struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    pub(crate) async fn open(node: &Node, query: &str) -> Self {
        let response = reqwest::get(node.url(&format!("/v1/sse?{query}"))).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { response, buffer: String::new() }
    }

    /// The next event: name and object. `retry:` is passed over.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(op), Some(data)) = (field("event: "), field("data: ")) {
                    return (op, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("an event in time").unwrap();
            self.buffer.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        }
    }
}
