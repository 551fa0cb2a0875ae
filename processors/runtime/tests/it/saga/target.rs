//! What payments are made at: it fails now and then, and writes down who called.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use runtime::effects::{Call, Error};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// A call, as the target saw it.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) id: String,
    pub(crate) order: String,
    pub(crate) paid: bool,
}

/// A server that takes one line, `<id> <order> <how>`, and answers with another.
pub(crate) struct Target {
    address: String,
    calls: Arc<Mutex<Vec<Called>>>,
}

impl Target {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, calls) = (listener.local_addr().unwrap().to_string(), Arc::new(Mutex::new(Vec::new())));
        let book = calls.clone();
        // one call after another; ends with the tests
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                // a caller that is killed amid its call does not matter
                let _answered = socket.and_then(|socket| answer(socket, &book));
            }
        });
        Self { address, calls }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.lock().unwrap().clone()
    }
}

fn answer(socket: TcpStream, calls: &Mutex<Vec<Called>>) -> std::io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut socket = std::io::BufReader::new(socket);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut socket, &mut line)?;
    let words: Vec<_> = line.split_whitespace().collect();
    let [id, order, how] = words[..] else { return Ok(()) };
    let paid = {
        let mut calls = calls.lock().unwrap();
        let mut before: BTreeMap<&str, usize> = BTreeMap::new();
        for call in calls.iter() {
            *before.entry(&call.id).or_default() += 1;
        }
        // every third payment works at once, the others at the second or third call
        let fails = usize::from(order.bytes().next_back().unwrap_or_default()) % 3;
        let paid = how == "soon" && before.get(id).copied().unwrap_or_default() >= fails;
        calls.push(Called { id: id.to_owned(), order: order.to_owned(), paid });
        paid
    };
    std::io::Write::write_all(socket.get_mut(), if paid { b"paid\n" } else { b"busy\n" })
}

/// The effect: one attempt at a payment.
pub(crate) async fn charge(target: String, call: Call) -> Result<Bytes, Error> {
    let lost = |error: std::io::Error| Error::Retry(error.to_string());
    let order = String::from_utf8_lossy(&call.argument).into_owned();
    let mut socket = BufReader::new(tokio::net::TcpStream::connect(target).await.map_err(lost)?);
    socket.write_all(format!("{} {order}\n", call.id).as_bytes()).await.map_err(lost)?;
    let mut line = String::new();
    socket.read_line(&mut line).await.map_err(lost)?;
    match line.trim() {
        "paid" => Ok(Bytes::from_static(b"paid")),
        answer => Err(Error::Retry(format!("the target is {answer:?}"))),
    }
}
