//! Waiting for what became of events: `Prefer: wait=N` and routes that answer with the outcome.
//!
//! The rule that tells an event's lifecycle has one copy, `StateReader::lifecycles`; here it is asked and told.

use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use chassis::problem::{Name, Problem};
use schemas::catalog;
use state::reader::{Answer, Lifecycle, Question, Stage, StateReader, Tracking, Within};
use state::types::Shard;

use crate::answer::{self, Told};
use crate::edge::Edge;
use crate::receive::Wishes;
use crate::send::now_ms;
use crate::stream::Kind;
use crate::verdict::Verdict;
use crate::write::Target;

/// Requests with more events do not wait.
const EVENTS_MAX: usize = 100;
/// Pauses between looks; the last one repeats.
const PAUSES_MS: [u64; 5] = [10, 20, 40, 80, 100];
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(1);
/// How long statuses live.
const STATUS_LIFE_US: i64 = 7 * 24 * 3_600 * 1_000_000;

/// What was learned.
#[derive(Default)]
pub(crate) struct Waited {
    /// Whether anything was asked of the store.
    pub(crate) asked: bool,
    /// Preferences that were honoured.
    pub(crate) applied: Option<String>,
    /// Per event of the request.
    pub(crate) lifecycles: Vec<Option<Value>>,
}

/// Waits as long as the caller or the route wants, and no longer than needed.
pub(crate) async fn lifecycles(edge: &Edge, route: Option<&Kind>, wishes: &Wishes, told: &Told<'_>) -> Waited {
    let prefer = wishes.prefer;
    let outcome = route.is_some_and(|kind| kind.outcome) && !told.batch;
    if prefer.respond_async {
        return Waited { applied: outcome.then(|| "respond-async".to_owned()), ..Waited::default() };
    }
    let time = prefer.wait.or_else(|| outcome.then_some(edge.options.answer.wait));
    let (Some(time), Some(reader)) = (time, &edge.reader) else { return Waited::default() };
    let open = questions(edge, told);
    if told.arena.events.len() > EVENTS_MAX || open.is_empty() {
        return Waited::default();
    }
    let Ok(_place) = edge.waiting.try_acquire() else { return Waited::default() };
    let mut answers: Vec<Option<Lifecycle>> = vec![None; told.arena.events.len()];
    let served = poll(reader, open, Instant::now() + time, &mut answers).await;
    let lifecycles = told.arena.events.iter().zip(&answers).map(|(event, lifecycle)| {
        let receipt = event.verdict.as_ref().and_then(Verdict::receipt)?;
        let subject = event.subject.map_or("", |subject| told.arena.text(subject));
        Some(render(lifecycle.as_ref()?, receipt, told.stream, subject))
    });
    let applied = prefer.wait.filter(|_| served).map(|wait| format!("wait={}", wait.as_secs()));
    Waited { asked: true, applied, lifecycles: lifecycles.collect() }
}

/// Asks until everything is settled or the time is over. False when the store never answered.
async fn poll(
    reader: &StateReader,
    mut open: Vec<(usize, Question)>,
    deadline: Instant,
    answers: &mut [Option<Lifecycle>],
) -> bool {
    let mut served = false;
    for look in 0.. {
        let pause = Duration::from_millis(PAUSES_MS[look.min(PAUSES_MS.len() - 1)]);
        if Instant::now() + pause >= deadline {
            return served;
        }
        tokio::time::sleep(pause).await;
        let questions: Vec<_> = open.iter().map(|(_, question)| question.clone()).collect();
        let budget = LOOK.min(deadline.saturating_duration_since(Instant::now()));
        let found = match reader.lifecycles(&questions, Within::new(now_ms() * 1_000, budget)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "the store did not tell lifecycles");
                continue;
            }
        };
        served = true;
        let mut left = Vec::new();
        for ((index, question), answer) in open.into_iter().zip(found) {
            let settled = match answer {
                Some(Answer::Known(lifecycle)) => {
                    let settled = lifecycle.stage.settled();
                    answers[index] = Some(*lifecycle);
                    settled
                }
                Some(Answer::Expired) => true,
                None => false,
            };
            if !settled {
                left.push((index, question));
            }
        }
        open = left;
        if open.is_empty() {
            return served;
        }
    }
    served
}

/// One per event that stands in the log and leaves a status.
fn questions(edge: &Edge, told: &Told<'_>) -> Vec<(usize, Question)> {
    let Some(stream) = edge.stream(told.stream) else { return Vec::new() };
    let asked = told.arena.events.iter().enumerate().filter_map(|(index, event)| {
        let (at, accepted_ms) = match event.verdict.as_ref()? {
            Verdict::Accepted { at, .. } => (at, told.arrival_ms),
            Verdict::Duplicate { at, first_seen, .. } => (at, first_seen.unwrap_or(told.arrival_ms)),
            Verdict::Invalid(_) | Verdict::Retry { .. } | Verdict::Unknown { .. } => return None,
        };
        let tracking = match stream.kinds.get(event.kind?)?.tracking {
            catalog::Tracking::All => Tracking::All,
            catalog::Tracking::Failures => Tracking::Failures,
            catalog::Tracking::None => return None,
        };
        let question = Question {
            event: event.record.as_ref().ok()?.key.0,
            shard: Shard { stream: told.stream.into(), number: at.partition },
            offset: Some(at.offset),
            tracking,
            accepted: accepted_ms * 1_000,
            life: STATUS_LIFE_US,
        };
        Some((index, question))
    });
    asked.collect()
}

/// The object that `GET /v1/events/{receipt}` returns.
fn render(lifecycle: &Lifecycle, receipt: &str, stream: &str, subject: &str) -> Value {
    let status = lifecycle.status.as_ref();
    let time = |micros: i64| answer::time(micros.div_euclid(1_000));
    let history = lifecycle.history.iter().map(|(stage, at)| json!({"state": stage.name(), "at": time(*at)}));
    let products = status.map(|status| {
        let products = status.products.iter().map(|product| {
            json!({
                "kind": product.kind,
                "stream": product.stream,
                "subject": product.subject,
                "type": product.event_type,
                "seq": product.seq,
            })
        });
        products.collect::<Vec<_>>()
    });
    let mut body = json!({
        "receipt": receipt,
        "stream": stream,
        "channel": format!("{stream}/{subject}"),
        "state": lifecycle.stage.name(),
        "outcome": status.and_then(|status| status.outcome.as_deref()),
        "code": status.and_then(|status| status.code.as_deref()),
        "detail": status.and_then(|status| status.detail.as_deref()),
        "attempts": status.map_or(0, |status| status.attempts),
        "history": history.collect::<Vec<_>>(),
        "products": products.unwrap_or_default(),
        "reason": status.and_then(|status| status.reason.as_deref()),
        "next_attempt": status.and_then(|status| status.next_attempt).and_then(time),
    });
    if let Some(offset) = lifecycle.duplicate_of {
        body["duplicate_of"] = offset.into();
    }
    body
}

/// Answers a single event of a route that tells the outcome.
pub(crate) fn respond(kind: &Kind, target: &Target, told: &Told<'_>) -> Response {
    let Some(event) = told.arena.events.first() else { return answer::respond(told) };
    let Some(Verdict::Accepted { receipt, .. } | Verdict::Duplicate { receipt, .. }) = &event.verdict else {
        return answer::respond(told);
    };
    let lifecycle = told.lifecycles.first().and_then(Option::as_ref);
    let text = |member: &str| lifecycle.and_then(|lifecycle| lifecycle[member].as_str()).unwrap_or_default();
    let stage = text("state");
    if stage == Stage::FailedTerminal.name() {
        return refused(told, failed(text("reason")), text("reason"), text("detail"));
    }
    if stage != Stage::Succeeded.name() {
        let mut response = answer::json(StatusCode::ACCEPTED, &answer::body(told));
        locate(&mut response, &format!("/v1/events/{receipt}"));
        return response;
    }
    if text("outcome") == "rejected" {
        let name = if text("code") == "invalid" { Name::Refused } else { Name::Conflict };
        return refused(told, name, text("code"), text("detail"));
    }
    let Some(location) = kind.location.as_deref() else { return answer::json(StatusCode::OK, &answer::body(told)) };
    let mut response = answer::json(StatusCode::CREATED, &answer::body(told));
    let subject = event.subject.map_or("", |subject| told.arena.text(subject));
    locate(&mut response, &place(location, &target.parameters, subject));
    response
}

/// The problem that a dead letter's reason is.
fn failed(reason: &str) -> Name {
    match reason {
        "undecodable" | "unknown_schema" | "no_subject" | "wrong_partition" | "terminal" | "too_large" | "hops" => {
            Name::EventFailed
        }
        _ => Name::ProcessingFailed,
    }
}

fn refused(told: &Told<'_>, name: Name, code: &str, detail: &str) -> Response {
    let mut problem = Problem::new(name, detail);
    problem.members = answer::members(&answer::body(told));
    answer::refuse(problem.with("code", code))
}

fn locate(response: &mut Response, place: &str) {
    if let Ok(value) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, value);
    }
}

/// Path of the view of what was created: a parameter that the route did not have is the subject's last segment.
fn place(location: &str, parameters: &[(String, String)], subject: &str) -> String {
    let own = subject.rsplit('/').next().unwrap_or_default();
    let segments = location.split('/').map(|segment| {
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else { return segment.to_owned() };
        let value = parameters.iter().find(|(parameter, _)| parameter == name).map_or(own, |(_, value)| value);
        percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
    });
    segments.collect::<Vec<_>>().join("/").replace("%2D", "-").replace("%5F", "_").replace("%2E", ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_filled_from_the_route_and_the_subject() {
        let parameters = [("class".to_owned(), "a b".to_owned())];
        assert_eq!(place("/v1/students/{id}", &[], "main/student/0192-x"), "/v1/students/0192-x");
        assert_eq!(
            place("/v1/classes/{class}/students/{id}", &parameters, "main/student/ä"),
            "/v1/classes/a%20b/students/%C3%A4"
        );
    }

    #[test]
    fn dead_letters_are_the_events_fault_or_ours() {
        assert_eq!(failed("terminal"), Name::EventFailed);
        assert_eq!(failed("crash"), Name::ProcessingFailed);
    }
}
