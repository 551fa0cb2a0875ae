//! One connection's dialogue: `hello` first, then requests in, and whatever the lane has queued out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use chassis::auth::Principal;

use crate::app::App;
use crate::clock::now_ms;
use crate::hub::{Command, Connection, Piece, Taken};
use crate::protocol::client::{self, Refusal, Request};
use crate::protocol::code::{Bye, Code};
use crate::protocol::limits::{Admit, Bucket};
use crate::protocol::server::{self, Limits, Push};
use crate::pulse::{Opened, Transport};
use crate::socket::writer::{self, Stopped};
use crate::trace;

/// Bad messages in a row after which the connection is closed.
const BAD_MAX: u32 = 10;
/// A client that sends nothing, not even pongs, for this many heartbeats of 25 s is gone.
const SILENCE: Duration = Duration::from_secs(50);
/// Pings go out this often.
const PING: Duration = Duration::from_secs(25);
/// The client may take the socket for dead after this many seconds without any message.
const SILENCE_S: u32 = 60;

pub(super) struct Session {
    app: Arc<App>,
    principal: Arc<Principal>,
    socket: WebSocket,
    bucket: Bucket,
    bad_in_row: u32,
    heard_at: Instant,
    opened: Opened,
}

/// How a dialogue ends.
enum End {
    /// With a last message.
    Bye(Bye),
    /// With a close code of WebSocket itself.
    Protocol(u16, &'static str),
    /// The peer is gone.
    Gone,
}

impl Session {
    pub(super) fn new(app: Arc<App>, principal: Arc<Principal>, socket: WebSocket) -> Self {
        let now = Instant::now();
        let bucket = Bucket::new(app.options.connection.messages, app.options.connection.burst, now);
        let opened = app.pulse.opened(Transport::WebSocket);
        Self { app, principal, socket, bucket, bad_in_row: 0, heard_at: now, opened }
    }

    pub(super) async fn run(mut self) {
        let end = match self.greet().await {
            Ok(connection) => {
                let end = self.talk(&connection).await;
                drop(connection);
                end
            }
            Err(end) => end,
        };
        match end {
            End::Bye(bye) => {
                self.opened.code = bye.as_str();
                writer::farewell(&mut self.socket, bye).await;
            }
            End::Protocol(code, reason) => {
                self.opened.code = reason;
                writer::refuse(&mut self.socket, code, reason).await;
            }
            End::Gone => writer::let_go(&mut self.socket).await,
        }
    }

    /// Waits for `hello`.
    async fn greet(&mut self) -> Result<Connection, End> {
        let deadline = Instant::now() + self.app.options.socket.hello_timeout;
        loop {
            let received = timeout_at(deadline, self.socket.recv()).await.map_err(|_| End::Bye(Bye::HelloTimeout))?;
            let Some(text) = self.read(received)? else { continue };
            match client::parse(&text) {
                Ok(Request::Hello { heartbeat_s, .. }) => {
                    let connection = self.app.hub.open(heartbeat_s).await;
                    self.welcome(&connection, heartbeat_s);
                    return Ok(connection);
                }
                _ => {
                    let refusal = server::err(None, Code::HelloFirst, "the first message is hello");
                    let _ = self.socket.send(Message::Text(refusal.text)).await;
                    return Err(End::Bye(Bye::NotGreeted));
                }
            }
        }
    }

    fn welcome(&self, connection: &Connection, heartbeat_s: u32) {
        let limits = Limits {
            subscriptions: self.app.options.connection.subscriptions,
            message_bytes: self.app.options.socket.message_max,
        };
        let welcome = Push::Welcome {
            conn: &connection.id.to_string(),
            account: &self.principal.account,
            time: &server::time(now_ms()),
            expires: None,
            heartbeat_s,
            silence_s: SILENCE_S.max(2 * heartbeat_s),
            limits,
        };
        connection.outbox.answer(welcome.frame());
    }

    async fn talk(&mut self, connection: &Connection) -> End {
        let stop = self.app.lifecycle.stop();
        let heartbeat = PING;
        let mut ping_at = Instant::now() + heartbeat;
        let mut subscriptions = 0u32;
        loop {
            let done = tokio::select! {
                taken = connection.outbox.take() => match taken {
                    Taken::Pieces(pieces) => self.write(connection, &pieces).await,
                    Taken::Bye(bye) => Err(End::Bye(bye)),
                },
                received = self.socket.recv() => match self.read(received) {
                    Ok(Some(text)) => self.answer(connection, &text, &mut subscriptions).await,
                    Ok(None) => Ok(()),
                    Err(end) => Err(end),
                },
                () = sleep_until(ping_at) => {
                    ping_at = Instant::now() + heartbeat;
                    self.ping(connection, subscriptions == 0).await
                }
                () = stop.wait() => Err(End::Bye(Bye::Drain)),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn write(&mut self, connection: &Connection, pieces: &[Piece]) -> Result<(), End> {
        let stall = self.app.options.socket.stall_timeout;
        let _spans = trace::writes(Transport::WebSocket, pieces);
        writer::write(&mut self.socket, &connection.outbox, pieces, stall).await.map_err(|stopped| match stopped {
            Stopped::Bye(bye) => End::Bye(bye),
            Stopped::Gone => End::Gone,
        })?;
        connection.outbox.written(pieces);
        crate::delivery::account(&self.app, Transport::WebSocket, pieces);
        Ok(())
    }

    async fn ping(&mut self, connection: &Connection, idle: bool) -> Result<(), End> {
        if self.heard_at.elapsed() > SILENCE {
            return Err(End::Bye(Bye::Idle));
        }
        if idle {
            connection.outbox.answer(Push::Hb { time: &server::time(now_ms()) }.frame());
        }
        let stall = self.app.options.socket.stall_timeout;
        match tokio::time::timeout(stall, self.socket.send(Message::Ping(Bytes::new()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Bye(Bye::Slow)),
        }
    }

    /// The text of a message; `None` for control frames.
    fn read(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<Option<Utf8Bytes>, End> {
        self.heard_at = Instant::now();
        match received {
            Some(Ok(Message::Text(text))) => Ok(Some(text)),
            Some(Ok(Message::Binary(_))) => Err(End::Protocol(1003, "only text messages")),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(None),
            Some(Ok(Message::Close(_))) | None => Err(End::Gone),
            Some(Err(error)) => Err(protocol_end(&error)),
        }
    }

    async fn answer(&mut self, connection: &Connection, text: &str, subscriptions: &mut u32) -> Result<(), End> {
        let outcome = match self.bucket.admit(Instant::now()) {
            Admit::Yes => self.obey(connection, text, subscriptions).await,
            Admit::No => Err(Refusal::new(None, Code::LimitRate, "too many messages")),
            Admit::Close => return Err(End::Bye(Bye::Limit)),
        };
        match outcome {
            Ok(()) => self.bad_in_row = 0,
            Err(refusal) => {
                connection.outbox.answer(server::err(refusal.id, refusal.code, &refusal.text));
                self.bad_in_row = if is_bad(refusal.code) { self.bad_in_row + 1 } else { 0 };
                if self.bad_in_row >= BAD_MAX {
                    return Err(End::Bye(Bye::Protocol));
                }
            }
        }
        Ok(())
    }

    async fn obey(&mut self, connection: &Connection, text: &str, subscriptions: &mut u32) -> Result<(), Refusal> {
        match client::parse(text)? {
            Request::Hello { .. } => Err(Refusal::new(None, Code::HelloTwice, "hello comes once")),
            // in open mode there is one principal, whatever the credential
            Request::Auth { .. } => {
                self.welcome(connection, 25);
                Ok(())
            }
            Request::Sub(asked) => {
                self.app.authorise(&self.principal, Some(asked.id), &asked.patterns)?;
                *subscriptions += 1;
                connection.send(Command::Subscribe { connection: connection.id, asked }).await;
                Ok(())
            }
            Request::Unsub { id } => {
                *subscriptions = subscriptions.saturating_sub(1);
                connection.send(Command::Unsubscribe { connection: connection.id, id }).await;
                Ok(())
            }
            Request::Repair { id, channel, last } => {
                connection.send(Command::Repair { connection: connection.id, id, channel, last }).await;
                Ok(())
            }
        }
    }
}

/// Whether the message itself was bad, and not only its time or its sender.
fn is_bad(code: Code) -> bool {
    matches!(code, Code::BadJson | Code::BadOp | Code::BadField | Code::ChannelSyntax | Code::ChannelReserved | Code::SinceSyntax)
}

/// tungstenite's error types are not re-exported by axum, so its words must do.
fn protocol_end(error: &axum::Error) -> End {
    let text = error.to_string();
    if text.contains("Message too long") || text.contains("Space limit") {
        End::Protocol(1009, "message too big")
    } else if text.contains("UTF-8") {
        End::Protocol(1007, "text is not UTF-8")
    } else if text.contains("protocol error") && !text.contains("without closing handshake") {
        End::Protocol(1002, "protocol error")
    } else {
        End::Gone
    }
}
