//! `GET /v1/events/{receipt}`: where an event is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use state::Shard;
use state::reader::{Answer, Lifecycle, Question, Stage, Tracking};

use chassis::auth::Action;
use chassis::problem::{Name, Problem};
use schemas::catalog;
use schemas::receipt::Receipt;

use crate::app::App;
use crate::protocol::server;
use crate::reads::{bad_parameter, fresh, unavailable, views, within};

/// How long status rows live, µs: 7 days.
const STATUS_LIFE_US: i64 = 7 * 24 * 3_600 * 1_000_000;
/// First pause between two looks at the store.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest one.
const PAUSE_LAST: Duration = Duration::from_secs(1);
/// How long `?after=` waits.
const AFTER: Duration = Duration::from_secs(5);
/// Pause between two looks of `?after=`.
const AFTER_PAUSE: Duration = Duration::from_millis(20);

/// Requests waiting now.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The query.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    wait: Option<String>,
    from: Option<String>,
}

/// The lifecycle of one event.
pub(crate) async fn status(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(receipt): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let begun = Instant::now();
    let answer = answer(&app, peer, &headers, &receipt, &asked).await;
    views::timed("event", begun, answer)
}

async fn answer(app: &App, peer: SocketAddr, headers: &HeaderMap, text: &str, asked: &Asked) -> Result<Response, Problem> {
    let principal = app.access.authenticate(headers, peer)?;
    let (receipt, question) = question(app, text)?;
    if !principal.may(Action::Status, &receipt.stream, &receipt.subject) {
        return Err(Problem::new(Name::Forbidden, "the event's channel is not covered by a status capability"));
    }
    let wait = match &asked.wait {
        None => Duration::ZERO,
        Some(text) => {
            seconds(text).ok_or_else(|| bad_parameter("/wait", "wait is a time such as 10s"))?.min(app.options.views.wait_max)
        }
    };
    let _waiting = if wait.is_zero() { None } else { Some(Waiting::begin(app.options.views.waits)?) };
    let deadline = Instant::now() + wait;
    let mut pause = PAUSE_FIRST;
    loop {
        let lifecycle = look(app, &question).await?;
        let changed = match &asked.from {
            Some(from) => lifecycle.stage.name() != from,
            None => lifecycle.stage.settled(),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if changed || left.is_zero() || app.lifecycle.is_draining() {
            return Ok(fresh(shown(text, &receipt, &lifecycle).to_string()));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

/// Waits until the event is processed and its rows are in the store: read your own write.
pub(super) async fn wait_until_applied(app: &App, text: &str) -> Result<(), Problem> {
    let (_, question) = question(app, text)?;
    let deadline = Instant::now() + AFTER;
    loop {
        // a status row is applied with the rows of its frame, and it shows by the final-view rule only
        if look(app, &question).await?.stage.settled() {
            return Ok(());
        }
        if Instant::now() + AFTER_PAUSE >= deadline {
            let problem = Problem::new(Name::NotYet, "the event is not processed yet");
            return Err(problem.retry_after(Duration::from_secs(1)));
        }
        tokio::time::sleep(AFTER_PAUSE).await;
    }
}

async fn look(app: &App, question: &Question) -> Result<Lifecycle, Problem> {
    match app.reader.lifecycle(question, within(app.options.views.deadline)).await.map_err(|error| unavailable(&error))? {
        Answer::Known(lifecycle) => Ok(*lifecycle),
        Answer::Expired => Err(Problem::new(Name::ReceiptExpired, "the event is too old, or was never tracked")),
    }
}

fn question(app: &App, text: &str) -> Result<(Receipt, Question), Problem> {
    let receipt = app.receipts.open(text).map_err(|error| bad_parameter("/receipt", &error.to_string()))?;
    let question = Question {
        event: receipt.event_key.0,
        shard: Shard { stream: receipt.stream.as_str().into(), number: receipt.partition },
        offset: receipt.offset,
        tracking: receipt.tracking.map_or_else(|| of_stream(app, &receipt.stream), of_type),
        accepted: receipt.accepted_ms * 1_000,
        life: STATUS_LIFE_US,
    };
    Ok((receipt, question))
}

fn of_type(tracking: catalog::Tracking) -> Tracking {
    match tracking {
        catalog::Tracking::All => Tracking::All,
        catalog::Tracking::Failures => Tracking::Failures,
        catalog::Tracking::None => Tracking::None,
    }
}

/// For receipts that do not say it. Success may be derived from absence only where every type of the stream leaves a row when it fails,
/// and not all leave one when they succeed.
fn of_stream(app: &App, stream: &str) -> Tracking {
    let types = app.catalog.stream(stream).map_or(&[][..], |stream| &stream.events);
    let any = |tracking| types.iter().any(|event| event.tracking == tracking);
    match (any(catalog::Tracking::All), any(catalog::Tracking::Failures), any(catalog::Tracking::None)) {
        (false, false, true) => Tracking::None,
        (_, true, false) => Tracking::Failures,
        _ => Tracking::All,
    }
}

fn shown(text: &str, receipt: &Receipt, lifecycle: &Lifecycle) -> Value {
    let time = |us: i64| server::time(us.div_euclid(1_000));
    let history: Vec<Value> =
        lifecycle.history.iter().map(|(stage, at)| json!({"state": stage.name(), "at": time(*at)})).collect();
    let status = lifecycle.status.as_ref();
    let products: Vec<Value> = status.map_or(&[][..], |status| &status.products).iter().map(product).collect();
    let effects: Vec<Value> = lifecycle
        .effects
        .iter()
        .map(|(id, status)| json!({"id": &**id, "state": Stage::from(status.state).name(), "attempts": status.attempts}))
        .collect();
    json!({
        "receipt": text,
        "stream": receipt.stream,
        "channel": format!("{}/{}", receipt.stream, receipt.subject),
        "partition": receipt.partition,
        "offset": receipt.offset,
        "event_key": receipt.event_key.to_string(),
        "state": lifecycle.stage.name(),
        "outcome": status.and_then(|status| status.outcome.as_deref()).or(lifecycle.derived.then_some("ok")),
        "code": status.and_then(|status| status.code.as_deref()),
        "detail": status.and_then(|status| status.detail.as_deref()),
        "attempts": status.map_or(0, |status| status.attempts),
        "history": history,
        "products": products,
        "effects": effects,
        "reason": status.and_then(|status| status.reason.as_deref()),
        "next_attempt": status.and_then(|status| status.next_attempt).map(time),
        "duplicate_of": lifecycle.duplicate_of,
        "derived": lifecycle.derived,
    })
}

fn product(product: &state::records::Product) -> Value {
    json!({
        "kind": product.kind,
        "stream": product.stream,
        "subject": product.subject,
        "type": product.event_type,
        "seq": product.seq,
        "event_key": product.key.map(|key| schemas::key::EventKey(key).to_string()),
    })
}

/// `10s`, `500ms` or a bare number of seconds.
fn seconds(text: &str) -> Option<Duration> {
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s').unwrap_or(text).parse().ok().map(Duration::from_secs)
}

/// A waiting request in the books.
struct Waiting;

impl Waiting {
    fn begin(most: usize) -> Result<Self, Problem> {
        if WAITING.fetch_add(1, Ordering::Relaxed) >= most {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            let problem = Problem::new(Name::QuotaExceeded, "too many requests wait; ask without wait");
            return Err(problem.retry_after(Duration::from_secs(1)));
        }
        Ok(Self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}
