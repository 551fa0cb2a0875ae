//! `GET /v1/sse`: one subscription per response, the same objects in the same order as over WebSocket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use chassis::lifecycle::Stop;
use chassis::problem::{Name, Problem};

use crate::app::App;
use crate::clock::now_ms;
use crate::delivery;
use crate::hub::{Command, Connection, Piece, Taken, push_event};
use crate::protocol::Subscribe;
use crate::protocol::client::{self, Refusal, Since};
use crate::protocol::code::{Bye, Code};
use crate::protocol::server;
use crate::pulse::{Opened, Transport};
use crate::trace;

/// Seconds between beacons of an idle response: its heartbeat.
const HEARTBEAT_S: u32 = 15;

/// Opens the stream; everything that can be refused is refused before it begins.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    match begin(app, peer, &headers, &query).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn begin(app: Arc<App>, peer: SocketAddr, headers: &HeaderMap, query: &[(String, String)]) -> Result<Response, Problem> {
    if app.lifecycle.is_draining() {
        return Err(Problem::new(Name::ShuttingDown, "this node is going away"));
    }
    let principal = app.access.authenticate(headers, peer)?;
    let asked = asked(headers, query).map_err(|refusal| problem_of(&refusal))?;
    app.authorise(&principal, None, &asked.patterns).map_err(|refusal| problem_of(&refusal))?;
    app.admit_connection()?;
    let connection = app.hub.open(HEARTBEAT_S).await;
    connection.send(Command::Subscribe { connection: connection.id, asked }).await;
    // the first words of the lane are `ready`, or why not
    let first = match connection.outbox.take().await {
        Taken::Pieces(pieces) => pieces,
        Taken::Bye(_) => return Err(Problem::new(Name::ShuttingDown, "this node is going away")),
    };
    if let Some(Piece::Own(frame)) = first.first()
        && frame.op == "err"
    {
        return Err(refused(&frame.text));
    }
    let retry_ms = 1_000 + now_ms().unsigned_abs() % 2_000;
    let opened = app.pulse.opened(Transport::Sse);
    let stop = app.lifecycle.stop();
    let greeting = Some(format!("retry: {retry_ms}\n\n"));
    let stream = Stream { app, connection, opened, stop, pending: first, spans: Vec::new(), greeting, over: false };
    let body = Body::from_stream(futures::stream::unfold(stream, Stream::next));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

/// Reads the query. An unreadable token is no refusal: it is answered by `ready` with a gap.
fn asked(headers: &HeaderMap, query: &[(String, String)]) -> Result<Subscribe, Refusal> {
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let channels: Vec<&str> = query.iter().filter(|(key, _)| key == "ch").map(|(_, value)| value.as_str()).collect();
    client::refuse_unserved(None, value("filter"), value("mode"))?;
    let last_event = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let since = match (last_event.or_else(|| value("token")), value("since")) {
        (Some(token), _) => Since::Token(token.to_owned()),
        (None, Some(since)) => client::since_text(None, since)?,
        (None, None) => Since::Now,
    };
    Ok(Subscribe {
        id: 0,
        patterns: client::patterns(None, channels.into_iter())?,
        since,
        policy: client::policy(None, value("policy"))?,
        on_gap: client::on_gap(None, value("on_gap"))?,
    })
}

fn problem_of(refusal: &Refusal) -> Problem {
    let name = match refusal.code {
        Code::Forbidden => Name::Forbidden,
        Code::StreamUnknown => Name::NotFound,
        Code::Warming => Name::NotReady,
        Code::SnapshotUnavailable => Name::ViewUnavailable,
        Code::LimitRate | Code::LimitSubscriptions => Name::QuotaExceeded,
        _ => Name::MalformedRequest,
    };
    Problem::new(name, refusal.text.clone()).with("code", refusal.code.as_str())
}

/// The problem that an `err` of the lane is.
fn refused(text: &str) -> Problem {
    let told: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let words = told["text"].as_str().unwrap_or("refused").to_owned();
    let code = [Code::Warming, Code::SnapshotUnavailable].into_iter().find(|code| told["code"] == code.as_str());
    problem_of(&Refusal::new(None, code.unwrap_or(Code::BadField), words))
}

/// A response under way.
struct Stream {
    app: Arc<App>,
    connection: Connection,
    opened: Opened,
    stop: Stop,
    /// Taken from the outbox, given to the body, not yet known as written.
    pending: Vec<Piece>,
    /// Of the pending ones.
    spans: Vec<tracing::Span>,
    greeting: Option<String>,
    over: bool,
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(mut text) = self.greeting.take() {
            for piece in &self.pending {
                push_piece(&mut text, piece);
            }
            return Some((Ok(text.into()), self));
        }
        if self.over {
            return None;
        }
        // being asked again means that the last piece was taken by the connection
        self.spans.clear();
        self.connection.outbox.written(&self.pending);
        delivery::account(&self.app, Transport::Sse, &self.pending);
        let taken = tokio::select! {
            taken = self.connection.outbox.take() => taken,
            () = self.stop.wait() => Taken::Bye(Bye::Drain),
        };
        let bytes = match taken {
            Taken::Pieces(pieces) => {
                self.spans = trace::writes(Transport::Sse, &pieces);
                self.pending = pieces;
                self.render()
            }
            Taken::Bye(bye) => {
                self.over = true;
                self.opened.code = bye.as_str();
                let mut text = String::new();
                push_event(&mut text, "bye", &server::bye(bye).text);
                text.into()
            }
        };
        Some((Ok(bytes), self))
    }

    fn render(&self) -> Bytes {
        // the usual case shares the bytes with all members of the group
        if let [Piece::Results(chunk)] = self.pending.as_slice() {
            return chunk.sse();
        }
        let mut text = String::new();
        for piece in &self.pending {
            push_piece(&mut text, piece);
        }
        text.into()
    }
}

fn push_piece(text: &mut String, piece: &Piece) {
    match piece {
        Piece::Own(frame) => push_event(text, frame.op, &frame.text),
        Piece::Results(chunk) => {
            for message in &chunk.messages {
                push_event(text, "result", message);
            }
        }
    }
}
