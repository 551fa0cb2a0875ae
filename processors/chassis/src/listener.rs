//! The accept loop of a process: HTTP/1.1 and HTTP/2 (prior knowledge) on one port, over an axum router. Upgrades keep working: the plain
//! `TcpStream` can be taken back with [`hyper_util::server::conn::auto::upgrade::downcast`] as `TokioIo<TcpStream>`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use crate::lifecycle::{Lifecycle, Stop};
use crate::metrics::{CONNECTIONS, Level};
use crate::request;

/// What a client that speaks HTTP/2 without TLS sends first.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// After an accept error such as "too many open files" the loop waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where and how to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// The listener's name in tasks, metrics and logs.
    pub name: &'static str,
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The flag that sets the address, named when the port is in use.
    pub flag: &'static str,
    /// A new connection must send its first bytes within this time.
    pub header_time: Duration,
    /// A connection without a request is closed after this time; it also bounds how long one request's headers may take.
    pub idle_time: Duration,
    /// Open connections; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// Bytes of a request's headers; more is answered with 431.
    pub header_bytes: usize,
    /// Number of headers of a request; more is answered with 431.
    pub headers: usize,
    /// Concurrent requests of one HTTP/2 connection.
    pub http2_streams: u32,
}

impl Options {
    /// The documented limits for `address`.
    pub fn new(name: &'static str, address: SocketAddr, flag: &'static str) -> Self {
        Self {
            name,
            address,
            flag,
            header_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            connections: 20_000,
            header_bytes: 32 * 1024,
            headers: 100,
            http2_streams: 256,
        }
    }
}

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there.
    #[error("port {port} is in use: free it or choose another with {flag}")]
    InUse {
        /// The port asked for.
        port: u16,
        /// The flag that sets another.
        flag: &'static str,
    },
    /// The address cannot be used for another reason.
    #[error("cannot listen on {address}: {source}; choose another address with {flag}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The flag that sets another.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound port that does not accept yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
}

/// Takes the port.
///
/// # Errors
/// The port is in use, or the address is not this machine's.
pub async fn bind(options: &Options) -> Result<Bound, Error> {
    let bind_error = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { port: options.address.port(), flag: options.flag },
        _ => Error::Bind { address: options.address, flag: options.flag, source },
    };
    let listener = TcpListener::bind(options.address).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    Ok(Bound { listener, address, options: options.clone() })
}

impl Bound {
    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` in the background until the lifecycle's stop; then finishes what is running. Requests carry
    /// `ConnectInfo<SocketAddr>` and always a `Host` header, and get what [`request`] gives to all.
    pub fn serve(self, router: Router, lifecycle: &Lifecycle) {
        let router = router.layer(from_fn_with_state(self.options.name, request::layer));
        let (loop_lifecycle, stop) = (lifecycle.clone(), lifecycle.stop());
        lifecycle.spawn_critical(self.options.name, async move {
            accept(self, router, &loop_lifecycle, stop).await;
            Ok::<(), io::Error>(())
        });
    }
}

async fn accept(bound: Bound, router: Router, lifecycle: &Lifecycle, stop: Stop) {
    let Bound { listener, options, .. } = bound;
    let (server, graceful) = (Arc::new(server(&options)), GracefulShutdown::new());
    let places = Arc::new(Semaphore::new(options.connections));
    let open = metrics::gauge!(CONNECTIONS, "listener" => options.name);
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &places) => accepted,
            () = stop.wait() => break,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = options.name, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (server, watcher, router, open) = (Arc::clone(&server), graceful.watcher(), router.clone(), open.clone());
        let header_time = options.header_time;
        lifecycle.spawn_request("connection", async move {
            let _place = place;
            let _open = Level::new(open);
            if stream.set_nodelay(true).is_err() || !speaks(&stream, header_time).await {
                return;
            }
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service(router, peer));
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

fn server(options: &Options) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.idle_time)
        .max_headers(options.headers)
        .max_buf_size(options.header_bytes);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.idle_time / 2)
        .keep_alive_timeout(options.header_time)
        .max_concurrent_streams(options.http2_streams)
        .max_header_list_size(u32::try_from(options.header_bytes).unwrap_or(u32::MAX));
    server
}

/// Whether the peer has sent enough to tell HTTP/1.1 from HTTP/2 within `limit`. Hyper waits for these first bytes without a limit.
async fn speaks(stream: &TcpStream, limit: Duration) -> bool {
    let enough = async {
        let mut first = [0; HTTP2_PREFACE.len()];
        loop {
            let length = stream.peek(&mut first).await.unwrap_or_default();
            if length == 0 {
                return false;
            }
            if length == first.len() || !HTTP2_PREFACE.starts_with(&first[..length]) {
                return true;
            }
            // half a preface: `peek` would return at once again
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, enough).await.unwrap_or(false)
}

/// Gives the router what it cannot know by itself: the peer, and for HTTP/2 the host.
fn service(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send + 'static,
> + Send
+ 'static {
    hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        if !request.headers().contains_key(header::HOST)
            && let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        router.clone().call(request.map(Body::new))
    })
}
