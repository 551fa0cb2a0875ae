//! Writing to a socket that may not read: every step has a bound, and the end of the connection interrupts.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::SinkExt;
use tokio::time::timeout;

use crate::hub::{Outbox, Piece};
use crate::protocol::code::Bye;
use crate::protocol::server;

/// How long the last words and the peer's answer to them may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why writing stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The connection is to end; say so if possible.
    Bye(Bye),
    /// The peer is gone.
    Gone,
}

/// Writes `pieces`. A peer that accepts no byte for `stall` is slow.
pub(super) async fn write(socket: &mut WebSocket, outbox: &Outbox, pieces: &[Piece], stall: Duration) -> Result<(), Stopped> {
    let work = async {
        for piece in pieces {
            match piece {
                Piece::Own(frame) => step(socket.feed(Message::Text(frame.text.clone())), stall).await?,
                Piece::Results(chunk) => {
                    for message in &chunk.messages {
                        step(socket.feed(Message::Text(message.clone())), stall).await?;
                    }
                }
            }
        }
        step(socket.flush(), stall).await
    };
    tokio::select! {
        biased;
        done = work => done,
        bye = outbox.ended() => Err(Stopped::Bye(bye)),
    }
}

async fn step(step: impl Future<Output = Result<(), axum::Error>>, stall: Duration) -> Result<(), Stopped> {
    match timeout(stall, step).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Stopped::Gone),
        Err(_) => Err(Stopped::Bye(Bye::Slow)),
    }
}

/// The last message, the close frame, and a short wait for the peer's.
pub(super) async fn farewell(socket: &mut WebSocket, bye: Bye) {
    let last = async {
        socket.feed(Message::Text(server::bye(bye).text)).await?;
        close(socket, bye.close_code(), bye.as_str()).await
    };
    // a peer that does not read any more does not hear it either
    if let Ok(Ok(())) = timeout(FAREWELL, last).await {
        let_go(socket).await;
    }
}

/// Reads to the end: the answer to the peer's close frame goes out on the way.
pub(super) async fn let_go(socket: &mut WebSocket) {
    let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
}

/// Closes for a reason of the protocol itself, without a last message.
pub(super) async fn refuse(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let _ = timeout(FAREWELL, close(socket, code, reason)).await;
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) -> Result<(), axum::Error> {
    socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await
}
