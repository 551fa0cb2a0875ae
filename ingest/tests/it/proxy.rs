//! A broker behind a wire that can be cut: forwards to the real one and rewrites the address in its answers, so that
//! clients keep coming through here.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use chassis::lifecycle::Lifecycle;

/// What the wire does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Everything passes.
    Whole,
    /// Nothing comes back from the broker.
    Mute,
    /// Connections are closed and none is taken.
    Cut,
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    /// Listens on a port of its own for `broker` (`127.0.0.1:port`).
    pub(crate) async fn start(broker: &str, lifecycle: &Lifecycle) -> Self {
        let broker: SocketAddr = broker.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = watch::Sender::new(Wire::Whole);
        let (state, owner) = (wire.subscribe(), lifecycle.clone());
        lifecycle.spawn_request("proxy", async move {
            while let Ok((client, _)) = listener.accept().await {
                if *state.borrow() != Wire::Cut {
                    forward(client, broker, address.port(), state.clone(), &owner).await;
                }
            }
        });
        Self { address, wire }
    }

    pub(crate) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

async fn forward(client: TcpStream, broker: SocketAddr, port: u16, wire: watch::Receiver<Wire>, lifecycle: &Lifecycle) {
    let server = TcpStream::connect(broker).await.unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = Arc::new(wire);
    let (there, back) = (Arc::clone(&cut), cut);
    lifecycle.spawn_request("proxy there", async move {
        tokio::select! {
            () = pass(from_client, to_server) => {}
            () = until_cut(&there) => {}
        }
    });
    lifecycle.spawn_request("proxy back", async move {
        tokio::select! {
            () = answers(from_server, to_client, broker.port(), port, &back) => {}
            () = until_cut(&back) => {}
        }
    });
}

async fn until_cut(wire: &watch::Receiver<Wire>) {
    let _ = wire.clone().wait_for(|wire| *wire == Wire::Cut).await;
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// Forwards frame by frame. A broker's address stands in an answer as its host's text, then its port in four bytes.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, broker: u16, port: u16, wire: &watch::Receiver<Wire>) {
    let place = |port: u16| [&b"127.0.0.1"[..], &u32::from(port).to_be_bytes()].concat();
    let (real, ours) = (place(broker), place(port));
    loop {
        let Ok(length) = from.read_u32().await else { return };
        let mut frame = vec![0; length as usize];
        if from.read_exact(&mut frame).await.is_err() {
            return;
        }
        while let Some(at) = frame.windows(real.len()).position(|window| window == real) {
            frame[at..at + ours.len()].copy_from_slice(&ours);
        }
        let _ = wire.clone().wait_for(|wire| *wire != Wire::Mute).await;
        if to.write_u32(length).await.is_err() || to.write_all(&frame).await.is_err() {
            return;
        }
    }
}
