use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use chassis::lifecycle::Lifecycle;
use chassis::listener::{self, Error, Options};
use chassis::problem::{Name, Problem};
use chassis::{admin, problem};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::kit::{DEADLINE, end};

fn options() -> Options {
    Options::new("public", "127.0.0.1:0".parse().unwrap(), "--listen")
}

async fn serve(options: Options, router: Router, lifecycle: &Lifecycle) -> SocketAddr {
    let bound = listener::bind(&options).await.unwrap();
    let address = bound.local_addr();
    bound.serve(router, lifecycle);
    address
}

/// Sends bytes and reads until the server closes.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // closed with bytes unread is told as a reset, which is an end as well
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn ask(address: SocketAddr, path: &str) -> String {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = listener::bind(&Options { address, ..options() }).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }));
    assert_eq!(error.to_string(), format!("port {} is in use: free it or choose another with --listen", address.port()));
}

#[tokio::test]
async fn a_request_knows_its_peer_and_host() {
    let lifecycle = Lifecycle::new();
    let handler = |ConnectInfo(peer): ConnectInfo<SocketAddr>, headers: HeaderMap| async move {
        format!("{} {:?}", peer.ip(), headers["host"])
    };
    let address = serve(options(), Router::new().route("/", get(handler)), &lifecycle).await;
    let answer = ask(address, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("127.0.0.1 \"{address}\"")), "{answer}");
    end(lifecycle).await;
}

#[tokio::test]
async fn http_2_is_spoken_on_the_same_port() {
    let lifecycle = Lifecycle::new();
    let address = serve(options(), Router::new(), &lifecycle).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    let mut frame = [0; 9];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3], 4, "the server's first frame is SETTINGS");
    drop(stream);
    end(lifecycle).await;
}

#[tokio::test]
async fn a_running_request_is_finished_after_the_stop() {
    let lifecycle = Lifecycle::new();
    let (began, begun) = oneshot::channel();
    let (go, goes) = oneshot::channel::<()>();
    let once = std::sync::Arc::new(std::sync::Mutex::new(Some((began, goes))));
    let handler = move || {
        let taken = once.lock().unwrap().take();
        async move {
            let (began, goes) = taken.unwrap();
            began.send(()).unwrap();
            goes.await.unwrap();
            "done"
        }
    };
    let address = serve(options(), Router::new().route("/", get(handler)), &lifecycle).await;
    let (asked, stop) = (lifecycle.clone(), lifecycle.stop());
    let client = async {
        let answer = ask(address, "/").await;
        assert!(answer.ends_with("done"), "{answer}");
    };
    let server = async {
        begun.await.unwrap();
        asked.request_stop("test");
        let release = async {
            stop.wait().await;
            go.send(()).unwrap();
        };
        let (ended, ()) = tokio::join!(lifecycle.run_until_signal(DEADLINE), release);
        assert!(ended.left.is_empty(), "{ended}");
    };
    tokio::join!(client, server);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let lifecycle = Lifecycle::new();
    let quick = Options { header_time: Duration::from_millis(100), ..options() };
    let address = serve(quick, Router::new(), &lifecycle).await;
    for first in [&b""[..], b"PRI * HT"] {
        assert_eq!(exchange(address, first).await, "");
    }
    end(lifecycle).await;
}

#[tokio::test]
async fn a_problem_names_its_request() {
    let lifecycle = Lifecycle::new();
    let router = Router::new().route("/", get(|| async { Problem::new(Name::NotFound, "not here") })).merge(problem::router());
    let address = serve(options(), router, &lifecycle).await;
    let answer =
        exchange(address, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: abc-1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("x-request-id: abc-1") && answer.contains(r#""instance":"urn:forebay:request:abc-1""#), "{answer}");
    let page = ask(address, "/problems/outcome-unknown").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("same id"), "{page}");
    end(lifecycle).await;
}

#[tokio::test]
async fn readiness_shows_every_part() {
    let lifecycle = Lifecycle::new();
    let address = admin::serve("127.0.0.1:0".parse().unwrap(), "--admin", &lifecycle).await.unwrap();
    assert!(ask(address, "/health/live").await.starts_with("HTTP/1.1 200"));
    lifecycle.set_ready("producer", false, "warming up");
    let answer = ask(address, "/health/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(r#""detail":"warming up""#), "{answer}");
    lifecycle.set_ready("producer", true, "");
    assert!(ask(address, "/health/ready").await.starts_with("HTTP/1.1 200"));
    let metrics = ask(address, "/metrics").await;
    assert!(metrics.contains("forebay_tasks{task=\"admin\"} 1"), "{metrics}");
    end(lifecycle).await;
}

#[tokio::test]
async fn an_upgrade_gives_the_plain_socket_back() {
    let lifecycle = Lifecycle::new();
    let tasks = lifecycle.clone();
    let handler = move |mut request: axum::extract::Request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tasks.spawn_request("socket", async move {
            let parts = auto::upgrade::downcast::<TokioIo<TcpStream>>(upgrade.await.unwrap()).unwrap();
            let mut socket = parts.io.into_inner();
            let mut said = parts.read_buf.to_vec();
            socket.read_to_end(&mut said).await.unwrap();
            socket.write_all(&said).await.unwrap();
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    };
    let address = serve(options(), Router::new().route("/", get(handler)), &lifecycle).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(b"after the upgrade").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("after the upgrade"), "{answer}");
    end(lifecycle).await;
}
