//! A subscriber over WebSocket, protocol `forebay.v1.json`: says hello, subscribes, hands on what comes.

use std::borrow::Cow;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The one protocol there is.
const PROTOCOL: &str = "forebay.v1.json";

/// Patterns of one subscription, the most the protocol takes.
const PATTERNS_MAX: usize = 16;

/// Every subscription is ready within this time, or the run does not start.
const READY_WAIT: Duration = Duration::from_secs(30);

/// Why a subscriber cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("the live socket failed: {0}")]
    Socket(#[from] Box<tungstenite::Error>),
    /// The URL or the token cannot be used.
    #[error("cannot open a live socket to {0}: give an http:// URL and a token of visible characters")]
    Address(String),
    /// The other side ended it.
    #[error("the live socket ended: {0}")]
    Ended(String),
    /// The subscriptions did not become ready.
    #[error("not all of {0} subscriptions were ready within 30 s")]
    NotReady(usize),
    /// A message that is not of the protocol.
    #[error("{text:?} is no message of the protocol: {source}")]
    Message {
        /// The first part of it.
        text: String,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// One result as it came.
#[derive(Debug)]
pub struct Arrival {
    /// `<stream>/<subject>`.
    pub channel: String,
    /// Dense per channel.
    pub seq: u64,
    /// The CloudEvents type.
    pub kind: String,
    /// The result's data.
    pub data: serde_json::Value,
}

/// A connection whose subscriptions are all live.
pub struct Follower {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    ch: Option<String>,
    seq: Option<u64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<serde_json::Value>,
    code: Option<String>,
    text: Option<String>,
}

impl Follower {
    /// Connects to the read side at `base` and follows `channels` from now on; returns when every subscription is ready.
    ///
    /// # Errors
    /// The address is wrong, the socket fails, or a subscription is refused or not ready in time.
    pub async fn open(base: &str, token: Option<&str>, channels: &[String]) -> Result<Self, Error> {
        let address = || Error::Address(base.to_owned());
        let rest = base.strip_prefix("http://").ok_or_else(address)?;
        let mut request = format!("ws://{rest}/v1/ws").into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| address())?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let (socket, _) = connect_async(request).await?;
        let mut follower = Self { socket };
        let groups = channels.chunks(PATTERNS_MAX).len();
        let all = follower.subscribe(channels);
        tokio::time::timeout(READY_WAIT, all).await.map_err(|_| Error::NotReady(groups))??;
        Ok(follower)
    }

    /// The next result. Beacons, heartbeats and lag notes are passed over.
    ///
    /// # Errors
    /// The socket failed or was ended, a subscription ended, or a loss was told: a run cannot go on then.
    pub async fn next(&mut self) -> Result<Arrival, Error> {
        loop {
            let text = self.text().await?;
            let message = parse(&text)?;
            match message.op.as_ref() {
                "result" => {
                    let (Some(channel), Some(kind)) = (message.ch, message.kind) else { return Err(Error::Ended(text)) };
                    // A result without seq makes no claim of exactly-once and does not belong to a measured run.
                    let Some(seq) = message.seq else { return Err(Error::Ended(text)) };
                    return Ok(Arrival { channel, seq, kind, data: message.data.unwrap_or_default() });
                }
                "gap" | "skip" | "end" | "err" | "bye" => return Err(Error::Ended(text)),
                _ => {}
            }
        }
    }

    async fn subscribe(&mut self, channels: &[String]) -> Result<(), Error> {
        self.socket.send(Message::text(r#"{"op":"hello","sdk":"forebay-loadtest/0.1"}"#)).await?;
        let mut waiting = 0;
        for (index, group) in channels.chunks(PATTERNS_MAX).enumerate() {
            let sub = serde_json::json!({"op":"sub","id":index + 1,"ch":group,"since":"now","on_gap":"stop"});
            self.socket.send(Message::text(sub.to_string())).await?;
            waiting += 1;
        }
        while waiting > 0 {
            let text = self.text().await?;
            let message = parse(&text)?;
            match message.op.as_ref() {
                "ready" => waiting -= 1,
                "err" | "end" | "bye" => {
                    let said = [message.code, message.text].into_iter().flatten().collect::<Vec<_>>().join(": ");
                    return Err(Error::Ended(said));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn text(&mut self) -> Result<String, Error> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => return Err(Error::Ended(format!("{frame:?}"))),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Error::Ended("no close frame".to_owned())),
            }
        }
    }
}

fn parse(text: &str) -> Result<Incoming<'_>, Error> {
    serde_json::from_str(text).map_err(|source| Error::Message { text: text.chars().take(200).collect(), source })
}
