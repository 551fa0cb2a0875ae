//! `GET /v1/ws`: the handshake and one connection's dialogue. The bytes of the protocol are tungstenite's; results come ready-made
//! from the connection's lane.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use chassis::auth::Principal;
use chassis::problem::{Name, Problem};

use crate::app::App;
use crate::protocol::SUBPROTOCOL;

use session::Session;

mod session;
mod writer;

/// Bytes that are gathered before a system call; a slow reader shows progress after as many.
const WRITE_BUFFER: usize = 16 * 1024;

/// The handshake: principal and origin are checked before the upgrade.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match admit(&app, peer, &headers, upgrade) {
        Ok((principal, upgrade)) => upgrade.on_upgrade(move |socket| serve(app, principal, socket)),
        Err(refusal) => *refusal,
    }
}

type Rejection = WebSocketUpgradeRejection;

fn admit(
    app: &App,
    peer: SocketAddr,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, Rejection>,
) -> Result<(Arc<Principal>, WebSocketUpgrade), Box<Response>> {
    if app.lifecycle.is_draining() {
        return Err(boxed(Problem::new(Name::ShuttingDown, "this node is going away")));
    }
    let principal = app.access.authenticate(headers, peer).map_err(boxed)?;
    let malformed = |text: &str| boxed(Problem::new(Name::MalformedRequest, text));
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        let mut response = malformed("the WebSocket version is 13");
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(response);
    }
    let upgrade = upgrade.map_err(|rejection| malformed(&rejection.body_text()))?;
    let upgrade = upgrade.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(malformed("Sec-WebSocket-Protocol: forebay.v1.json is required"));
    }
    app.admit_connection().map_err(boxed)?;
    let message_max = app.options.socket.message_max;
    let upgrade = upgrade.max_message_size(message_max).max_frame_size(message_max).write_buffer_size(WRITE_BUFFER);
    Ok((principal, upgrade))
}

fn boxed(problem: Problem) -> Box<Response> {
    Box::new(problem.into_response())
}

async fn serve(app: Arc<App>, principal: Arc<Principal>, socket: WebSocket) {
    Session::new(app, principal, socket).run().await;
}
