//! The walk of one write: receive → split → encode → dedupe → send → answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use metrics::{counter, histogram};
use tokio::sync::oneshot;

use chassis::auth::{Action, Principal};
use chassis::problem::{Name, Problem};
use chassis::telemetry;
use schemas::key::EventKey;
use schemas::plan;

use crate::admission::{Held, RECORD_OVERHEAD};
use crate::answer::{self, Told};
use crate::arena::Arena;
use crate::edge::Edge;
use crate::encode::{Common, Encoder};
use crate::fault::Faults;
use crate::headers::{self, Media};
use crate::metrics::{BATCH_EVENTS, BYTES, REFUSALS, STAGE_DURATION, UNKNOWN_FIELDS, number};
use crate::receive::{self, Wishes};
use crate::send::{self, Promise, Settled, Work};
use crate::split::{Malformed, Shape, Split};
use crate::stream::{Kind, Stream};
use crate::validate;
use crate::wait;
use crate::window::Claim;

/// The encoder gives other requests a turn after this many events, or this many bytes.
const EVENTS_PER_TURN: usize = 256;
const BYTES_PER_TURN: usize = 128 * 1024;

/// Where a request goes.
pub(crate) struct Target {
    pub(crate) stream: Arc<Stream>,
    /// The type, on a catalog route.
    pub(crate) kind: Option<usize>,
    /// Parameters of the route's path.
    pub(crate) parameters: Vec<(String, String)>,
    /// Method and path template.
    pub(crate) route: Arc<str>,
    /// Whether the events are only checked.
    pub(crate) dry: bool,
}

impl Target {
    fn kind(&self) -> Option<&Kind> {
        self.stream.kinds.get(self.kind?)
    }
}

/// What the first stages leave for the others.
struct Encoded {
    arena: Arena,
    held: Held,
    batch: bool,
    key_missing: bool,
}

/// Answers one write.
pub(crate) async fn write(edge: Arc<Edge>, target: Target, request: Request) -> Response {
    let mut account = None;
    let mut response = match walk(&edge, &target, request, &mut account).await {
        Ok(response) => response,
        Err(problem) => {
            let account = account.unwrap_or_else(|| "none".to_owned());
            counter!(REFUSALS, "reason" => problem.name.as_str(), "account" => account).increment(1);
            answer::refuse(*problem)
        }
    };
    if response.status() == axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let takes = "application/json, application/x-ndjson, application/jsonl, application/cloudevents+json, \
                     application/cloudevents-batch+json";
        response.headers_mut().insert("accept-post", HeaderValue::from_static(takes));
        response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if receive::leaves_body_unread(response.status()) || edge.lifecycle.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// `account` is set as soon as it is known.
async fn walk(
    edge: &Arc<Edge>,
    target: &Target,
    request: Request,
    account: &mut Option<String>,
) -> Result<Response, Box<Problem>> {
    let (parts, body) = request.into_parts();
    let arrival_ms = send::now_ms();
    open_for_business(edge)?;
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let principal = principal(edge, &parts.headers, peer, &target.stream.name)?;
    *account = Some(principal.account.clone());
    let wishes = receive::wishes(&parts.headers, &parts.uri, edge.options.limits.request_time)?;
    check_media(target, &wishes, &parts.headers)?;
    let begun = Instant::now();
    let most = target.kind().and_then(|kind| kind.limits.body).unwrap_or(edge.options.limits.body);
    let (bytes, held) = receive::body(body, &parts.headers, &edge.options.limits, most, &edge.pool).await?;
    let read = begun.elapsed();
    counter!(BYTES, "stream" => target.stream.name.clone(), "direction" => "wire").increment(bytes.len() as u64);
    let deadline = Instant::now() + wishes.timeout;
    let promise = promise(edge, target, &principal, &wishes, &parts.headers, &bytes)?;
    let begun = Instant::now();
    let encoded = encode(edge, target, &principal, &wishes, &parts.headers, bytes, held).await?;
    let encode_time = begun.elapsed();
    if encoded.key_missing {
        let text = "this type wants an Idempotency-Key header, or an id on every event";
        return Err(Box::new(Problem::new(Name::IdempotencyKeyMissing, text)));
    }
    histogram!(BATCH_EVENTS, "stream" => target.stream.name.clone()).record(number(encoded.arena.events.len()));
    if target.dry {
        return Ok(validate::respond(&target.stream, &encoded.arena));
    }
    let invalid = encoded.arena.events.iter().any(|event| event.record.is_err());
    let withheld = wishes.strict && encoded.batch && invalid;
    let batch = encoded.batch;
    // the records continue the trace below this span; what is not sampled needs none
    let span = telemetry::current_traceparent().map(|_| {
        let (stream, events) = (target.stream.name.as_str(), encoded.arena.events.len());
        tracing::info_span!("produce", "otel.kind" = "producer", stream, events)
    });
    let work = Work {
        edge: Arc::clone(edge),
        stream: Arc::clone(&target.stream),
        own_source: own_source(&principal),
        principal,
        arrival_ms,
        traceparent: span.as_ref().and_then(|span| span.in_scope(telemetry::current_traceparent)),
        span,
        arena: encoded.arena,
        held: encoded.held,
        deadline,
        withheld,
        promise,
    };
    let settled = hand_over(edge, work).await?;
    let times = [("read", read), ("encode", encode_time), ("dedupe", settled.dedupe), ("ack", settled.ack)];
    let told = Told {
        stream: &target.stream.name,
        arena: &settled.arena,
        batch,
        arrival_ms,
        strict: withheld,
        minimal: wishes.prefer.minimal,
        lifecycles: Vec::new(),
    };
    Ok(finish(edge, target, &wishes, told, &times).await)
}

/// From here on the work is a task's; should it die, the caller is told that this was a bug.
async fn hand_over(edge: &Edge, work: Work) -> Result<Settled, Box<Problem>> {
    let (answer, told) = oneshot::channel();
    edge.lifecycle.spawn_request("ingest request", send::run(work, answer));
    told.await.map_err(|_| Box::new(Problem::new(Name::Internal, "the task that sends the events ended without an answer")))
}

async fn finish(
    edge: &Edge,
    target: &Target,
    wishes: &Wishes,
    mut told: Told<'_>,
    times: &[(&'static str, Duration)],
) -> Response {
    let begun = Instant::now();
    let waited = wait::lifecycles(edge, target.kind(), wishes, &told).await;
    let status = begun.elapsed();
    let mut applied = Vec::new();
    if wishes.prefer.minimal && told.batch {
        applied.push("return=minimal".to_owned());
    }
    applied.extend(waited.applied);
    told.lifecycles = waited.lifecycles;
    let outcome = target.kind().filter(|kind| kind.outcome && !told.batch);
    let mut response = match outcome {
        Some(kind) => wait::respond(kind, target, &told),
        None => answer::respond(&told),
    };
    let headers = response.headers_mut();
    let mut timing: Vec<_> = times.iter().map(|(stage, time)| (*stage, *time)).collect();
    if waited.asked {
        timing.push(("status", status));
    }
    set(headers, "server-timing", &server_timing(&timing));
    if !applied.is_empty() {
        set(headers, "preference-applied", &applied.join(", "));
    }
    let mut verdicts = told.arena.events.iter().filter_map(|event| event.verdict.as_ref());
    if wishes.idempotency_key.is_some() && verdicts.clone().all(|verdict| verdict.kind() == crate::verdict::Kind::Duplicate) {
        set(headers, "idempotent-replayed", "true");
    }
    let receipt =
        verdicts.next().filter(|verdict| verdict.kind() == crate::verdict::Kind::Accepted).and_then(|verdict| verdict.receipt());
    if let Some(receipt) = receipt.filter(|_| !told.batch && !headers.contains_key(header::LOCATION)) {
        set(headers, "location", &format!("/v1/events/{receipt}"));
    }
    for (stage, time) in timing {
        histogram!(STAGE_DURATION, "stage" => stage).record(time.as_secs_f64());
    }
    response
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn server_timing(times: &[(&str, Duration)]) -> String {
    let entries = times.iter().map(|(stage, time)| format!("{stage};dur={:.2}", time.as_secs_f64() * 1_000.0));
    entries.collect::<Vec<_>>().join(", ")
}

/// # Errors
/// 503 while the process starts or ends.
fn open_for_business(edge: &Edge) -> Result<(), Box<Problem>> {
    if edge.lifecycle.stop().requested() {
        return Err(Box::new(Problem::new(Name::ShuttingDown, "").retry_after(Duration::from_secs(1))));
    }
    if !edge.warm.load(Acquire) {
        return Err(Box::new(Problem::new(Name::NotReady, "").retry_after(Duration::from_secs(1))));
    }
    Ok(())
}

/// Who asks, and whether it may write anything of the stream at all.
pub(crate) fn principal(
    edge: &Edge,
    headers: &HeaderMap,
    peer: Option<SocketAddr>,
    stream: &str,
) -> Result<Arc<Principal>, Box<Problem>> {
    let peer = peer.ok_or_else(|| Problem::new(Name::Internal, "the listener gave no peer address"))?;
    let principal = edge.access.authenticate(headers, peer)?;
    if !principal.may_some(Action::Write, stream) {
        return Err(Box::new(Problem::new(Name::Forbidden, "you may not write to this stream")));
    }
    Ok(principal)
}

fn own_source(principal: &Principal) -> String {
    format!("/accounts/{}", principal.account)
}

/// What a target does not take although it could be read.
fn check_media(target: &Target, wishes: &Wishes, headers: &HeaderMap) -> Result<(), Box<Problem>> {
    let Some(kind) = target.kind() else {
        if headers.contains_key("ce-specversion") {
            let text = "CloudEvents binary mode is not taken here: send the event as a JSON object";
            return Err(Box::new(Problem::new(Name::UnsupportedMediaType, text)));
        }
        return Ok(());
    };
    if matches!(wishes.media, Media::CloudEvent | Media::CloudEvents) {
        let text = "this route takes the data alone; CloudEvents go to /v1/streams/{stream}/events";
        return Err(Box::new(Problem::new(Name::UnsupportedMediaType, text)));
    }
    if wishes.media == Media::Lines && !kind.batch {
        return Err(Box::new(Problem::new(
            Name::UnsupportedMediaType,
            "this route takes one event at a time, as application/json",
        )));
    }
    let named = headers.get("ce-type").map(HeaderValue::as_bytes);
    if named.is_some_and(|named| named != kind.ce_type.as_bytes()) {
        return Err(Box::new(Problem::new(
            Name::MalformedRequest,
            format!("this route takes events of type {} only", kind.ce_type),
        )));
    }
    Ok(())
}

/// Claims the request's `Idempotency-Key` for this body. `None`: there is none, or the request was done before.
fn promise(
    edge: &Arc<Edge>,
    target: &Target,
    principal: &Principal,
    wishes: &Wishes,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Promise>, Box<Problem>> {
    let Some(name) = wishes.idempotency_key.as_deref().filter(|_| !target.dry) else { return Ok(None) };
    let key = EventKey::of(&format!("{} {}", principal.account, target.route), name, None);
    let media = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    match edge.keys.claim(key, edge.keys.fingerprint(&[media, body]), send::now_ms()) {
        Claim::New => Ok(Some(Promise::new(Arc::clone(edge), key))),
        Claim::Duplicate { .. } => Ok(None),
        Claim::InFlight => {
            let text = "a request with this Idempotency-Key is being handled right now";
            Err(Box::new(Problem::new(Name::RequestInProgress, text).retry_after(Duration::from_secs(1))))
        }
        Claim::Reused => {
            let text = "this Idempotency-Key was used for a request with another body";
            Err(Box::new(Problem::new(Name::IdempotencyKeyReused, text)))
        }
    }
}

async fn encode(
    edge: &Edge,
    target: &Target,
    principal: &Principal,
    wishes: &Wishes,
    headers: &HeaderMap,
    mut body: Vec<u8>,
    mut held: Held,
) -> Result<Encoded, Box<Problem>> {
    let kind = target.kind();
    let shape = match kind {
        None => Shape::Events,
        Some(kind) if kind.batch => Shape::DataOrBatch,
        Some(_) => Shape::Data,
    };
    if kind.is_some() && body.iter().all(u8::is_ascii_whitespace) && wishes.media == Media::Json {
        body = b"{}".to_vec();
    }
    let version = match kind.filter(|kind| kind.versioned) {
        Some(_) => {
            headers::expected_version(headers).map_err(|error| receive::refused(&error))?.map(|version| version.to_string())
        }
        None => None,
    };
    let mut fill: Vec<(&str, &str)> = target.parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    fill.extend(version.as_deref().map(|version| ("expected_version", version)));
    let limits = &edge.options.limits;
    let mut split = Split::new(&body, wishes.media, shape).map_err(malformed)?;
    if split.batch && kind.is_some() && headers.contains_key("ce-id") {
        return Err(Box::new(Problem::new(Name::MalformedRequest, "ce-id names one event, and the body is a batch")));
    }
    let own_source = own_source(principal);
    let event_bytes = kind.and_then(|kind| kind.limits.event).unwrap_or(limits.event);
    let most = kind.and_then(|kind| kind.limits.batch).unwrap_or(limits.batch);
    let mut encoder = Encoder::new(Common {
        stream: &target.stream,
        principal,
        own_source: &own_source,
        kind: kind.map(|kind| kind.ce_type.as_str()).or(wishes.kind.as_deref()),
        route: kind.is_some(),
        idempotency_key: wishes.idempotency_key.as_deref(),
        fill: &fill,
        headers,
        limits: plan::Limits { depth: limits.depth, items: limits.items, bytes: event_bytes },
        batch: split.batch,
    });
    let mut faults = Faults::default();
    let (mut events, mut turn) = (0, (0, 0));
    while let Some(part) = split.next(&mut faults).map_err(malformed)? {
        if events == most {
            return Err(Box::new(receive::too_large("limits.batch", most)));
        }
        encoder.event(part, &mut faults);
        events += 1;
        let written = encoder.arena.bytes.len();
        if events - turn.0 >= EVENTS_PER_TURN || written - turn.1 >= BYTES_PER_TURN {
            turn = (events, written);
            held.hold(body.len() + written + events * RECORD_OVERHEAD).map_err(receive::full)?;
            tokio::task::yield_now().await;
        }
    }
    if events == 0 {
        return Err(Box::new(Problem::new(Name::MalformedRequest, "the body has no events")));
    }
    if encoder.unknown_fields > 0 {
        counter!(UNKNOWN_FIELDS, "stream" => target.stream.name.clone()).increment(encoder.unknown_fields as u64);
    }
    let (batch, key_missing) = (split.batch, encoder.key_missing);
    let arena = encoder.arena;
    held.hold(arena.bytes.len() + events * RECORD_OVERHEAD).map_err(receive::full)?;
    Ok(Encoded { arena, held, batch, key_missing })
}

fn malformed(error: Malformed) -> Box<Problem> {
    let Malformed { what, at } = error;
    let text = format!("the body is not JSON: {what}, at line {}, column {}", at.line, at.column);
    let problem = Problem::new(Name::MalformedRequest, text);
    Box::new(problem.with("line", at.line).with("column", at.column).with("byte", at.byte))
}
