//! The target of the effects: answers over HTTP, fails as often as it is told to, and dies for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chassis::lifecycle::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it saw.
#[derive(Default)]
pub(super) struct Seen {
    /// When each effect was attempted, by its id, and the attempt's number.
    pub(super) attempts: HashMap<i64, Vec<(Instant, i32)>>,
    /// `Idempotency-Key` of each effect.
    pub(super) keys: HashMap<i64, Vec<String>>,
    /// How often each was answered with success.
    pub(super) served: HashMap<i64, usize>,
    /// Dead from then on for so long.
    pub(super) death: Option<(Instant, Duration)>,
}

#[derive(Clone)]
pub(super) struct Target {
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) url: String,
}

impl Target {
    pub(super) async fn start(lifecycle: &Lifecycle) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self { seen: Arc::default(), url: format!("http://{}", listener.local_addr().unwrap()) };
        let (clone, serving) = (target.clone(), lifecycle.clone());
        lifecycle.spawn_request("target", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let target = clone.clone();
                serving.spawn_request("answer", async move { target.answer(socket).await });
            }
        });
        target
    }

    pub(super) fn die(&self, length: Duration) {
        self.seen.lock().unwrap().death = Some((Instant::now(), length));
    }

    /// Whether it is dead now.
    pub(super) fn is_dead(&self) -> bool {
        self.seen.lock().unwrap().death.is_some_and(|(since, length)| since.elapsed() < length)
    }

    /// Whether it has been told to die.
    pub(super) fn has_died(&self) -> bool {
        self.seen.lock().unwrap().death.is_some()
    }

    /// One request per connection: `POST /<id>/<attempt>`.
    async fn answer(&self, mut socket: TcpStream) {
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.ends_with(b"{}") {
            match socket.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(length) => request.extend_from_slice(&chunk[..length]),
            }
        }
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let path = text.split(' ').nth(1).unwrap();
        let (id, attempt) = path.trim_start_matches('/').split_once('/').unwrap();
        let (id, attempt): (i64, i32) = (id.parse().unwrap(), attempt.parse().unwrap());
        let key = text.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap().to_owned();
        let status = {
            let mut seen = self.seen.lock().unwrap();
            let attempts = seen.attempts.entry(id).or_default();
            attempts.push((Instant::now(), attempt));
            let lot = blake3::hash(format!("{id}/{}", attempts.len()).as_bytes()).as_bytes()[0];
            seen.keys.entry(id).or_default().push(key);
            if seen.death.is_some_and(|(since, length)| since.elapsed() < length) {
                return;
            }
            if lot < 77 {
                // three in ten
                "503 Service Unavailable"
            } else {
                *seen.served.entry(id).or_default() += 1;
                "200 OK"
            }
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        // the caller may have been killed meanwhile
        let _heard = socket.write_all(answer.as_bytes()).await;
    }
}
