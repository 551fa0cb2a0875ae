//! The admin endpoint of a process: `/health/live`, `/health/ready` and `/metrics`. Meant for operators and orchestrators, on its own port.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};

use crate::lifecycle::Lifecycle;
use crate::listener::{self, Error, Options};
use crate::telemetry;

/// Histograms are folded this often, so that they stay small when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// Scrapers and probes are few.
const CONNECTIONS: usize = 256;

/// Starts the endpoint; it stays up until the core stops, so that a drain can be watched. `flag` is named when the port is in use.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(address: SocketAddr, flag: &'static str, lifecycle: &Lifecycle) -> Result<SocketAddr, Error> {
    // before anything counts: what is counted without a recorder is lost
    telemetry::prometheus();
    let options = Options { connections: CONNECTIONS, ..Options::new("admin", address, flag) };
    let bound = listener::bind(&options).await?;
    let address = bound.local_addr();
    let core = lifecycle.core();
    bound.serve(router(lifecycle.clone()), &core);
    let stop = core.stop();
    core.spawn("metrics upkeep", async move {
        let mut tick = tokio::time::interval(UPKEEP);
        while !stop.requested() {
            tokio::select! {
                _ = tick.tick() => telemetry::prometheus().upkeep(),
                () = stop.wait() => {}
            }
        }
        Ok::<(), Error>(())
    });
    Ok(address)
}

fn router(lifecycle: Lifecycle) -> Router {
    Router::new()
        // an answer at all is the proof: a stuck scheduler gives none, and the probe times out
        .route("/health/live", get(|| async { "alive\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(lifecycle)
}

async fn ready(State(lifecycle): State<Lifecycle>) -> impl IntoResponse {
    let (ready, draining) = (lifecycle.is_ready(), lifecycle.is_draining());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ready": ready, "draining": draining, "components": lifecycle.components() });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body))
}

async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::prometheus().render())
}
