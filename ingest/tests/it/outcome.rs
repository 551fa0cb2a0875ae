//! Waiting for what became of an event. The processors' part, status row and watermark, is written by the test.

use std::time::Duration;

use serde_json::{Value, json};

use schemas::EventKey;
use schemas::partition::partition_of;
use state::records::{EventStatus, State, Step};
use state::types::{Frame, Mark, Shard, StatusKey, StatusWrite};

use crate::http::{Answer, post};
use crate::server::shared;

/// 2026-03-01T10:00:00Z in µs.
const THEN: i64 = 1_772_359_200_000_000;

struct Fate {
    state: State,
    outcome: Option<&'static str>,
    code: Option<&'static str>,
    reason: Option<&'static str>,
    /// States of the effects that it started.
    effects: &'static [State],
}

const OK: Fate = Fate { state: State::Succeeded, outcome: Some("ok"), code: None, reason: None, effects: &[] };

/// Writes what the processor would have written for the event of this id.
async fn processed(id: &str, subject: &str, fate: &Fate) {
    let status = EventStatus {
        state: fate.state,
        outcome: fate.outcome.map(str::to_owned),
        code: fate.code.map(str::to_owned),
        detail: fate.code.map(|code| format!("refused as {code}")),
        history: vec![Step { state: State::Processing, at: THEN }, Step { state: fate.state, at: THEN + 1_000 }],
        attempts: 1,
        next_attempt: None,
        stream: "orders".into(),
        subject: subject.into(),
        partition: partition_of(subject, 3),
        offset: 0,
        cause: None,
        products: Vec::new(),
        reason: fate.reason.map(str::to_owned),
    };
    let shard = Shard { stream: "orders".into(), number: partition_of(subject, 3) };
    let event = EventKey::of("/accounts/main", id, None).0;
    let write = |part: &str, status: &EventStatus| StatusWrite {
        key: StatusKey { event, part: part.into() },
        val: status.encode(),
        expire_at: None,
    };
    let effects = fate.effects.iter().enumerate().map(|(n, &state)| {
        let history = vec![Step { state, at: THEN + 2_000 }];
        write(&format!("e/{n}"), &EventStatus { state, outcome: None, history, ..status.clone() })
    });
    let status = effects.chain([write("", &status)]).collect();
    let (rows, agenda, dedupe, dedupe_ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let frame = Frame { shard: shard.clone(), n: 1, ts: THEN, rows, agenda, status, dedupe, dedupe_ended };
    shared().store.apply(&frame).await.unwrap();
    let mark = Mark { applied: 1, n: 1, ts: THEN, positions: Default::default(), horizon: 0, agenda_floor: 0 };
    shared().store.set_marks(&[(shard, mark)]).await.unwrap();
}

/// Places an order whose fate is known already.
async fn place(fate: &Fate, headers: &[(&str, &str)]) -> (Answer, String) {
    let id = testkit::unique("outcome");
    let own = uuid::Uuid::new_v8(EventKey::of("/accounts/main", &id, None).0).to_string();
    processed(&id, &format!("main/order/{own}"), fate).await;
    let mut all = vec![("ce-id", id.as_str())];
    all.extend(headers);
    (post("/v1/orders", &all, r#"{"lines":[]}"#).await, own)
}

#[tokio::test]
async fn a_created_resource_is_201_with_its_view() {
    let (answer, own) = place(&OK, &[]).await;
    answer.is_verdict(201, "accepted");
    assert_eq!(answer.header("location"), format!("/v1/orders/{own}"));
    let lifecycle = &answer.body["lifecycle"];
    assert_eq!((&lifecycle["state"], &lifecycle["outcome"]), (&json!("SUCCEEDED"), &json!("ok")));
    assert_eq!(lifecycle["channel"], format!("orders/main/order/{own}"));
    assert_eq!(lifecycle["receipt"], answer.body["receipt"]);
    let states: Vec<_> = lifecycle["history"].as_array().unwrap().iter().map(|step| &step["state"]).collect();
    assert_eq!(states, ["RECEIVED", "PROCESSING", "SUCCEEDED"]);
    assert!(answer.header("server-timing").contains("status;dur="));
}

#[tokio::test]
async fn an_event_that_settles_with_its_effects_is_waited_for_until_they_have_ended() {
    let decided = |effects| Fate { state: State::Processing, effects, ..OK };
    let (answer, own) = place(&decided(&[State::Succeeded, State::FailedTerminal]), &[]).await;
    answer.is_verdict(201, "accepted");
    assert_eq!(answer.header("location"), format!("/v1/orders/{own}"));
    let lifecycle = &answer.body["lifecycle"];
    assert_eq!((&lifecycle["state"], &lifecycle["outcome"]), (&json!("SUCCEEDED"), &json!("ok")));
    let (answer, _) = place(&decided(&[State::Succeeded, State::FailedRetryable]), &[("prefer", "wait=1")]).await;
    answer.is_verdict(202, "accepted");
    assert_eq!(answer.body["lifecycle"]["state"], "PROCESSING");
}

#[tokio::test]
async fn refusals_of_the_state_are_conflicts() {
    let rejected = |code| Fate { outcome: Some("rejected"), code: Some(code), ..OK };
    let (answer, _) = place(&rejected("version_conflict"), &[]).await;
    answer.is_problem(409, "conflict").is_verdict(409, "accepted");
    assert_eq!(
        (&answer.body["code"], &answer.body["detail"]),
        (&json!("version_conflict"), &json!("refused as version_conflict"))
    );
    assert_eq!(answer.header("retry-after"), "");
    let (answer, _) = place(&rejected("invalid"), &[]).await;
    answer.is_problem(422, "refused");
}

#[tokio::test]
async fn dead_letters_are_the_events_fault_or_ours() {
    let dead = |reason| Fate { state: State::FailedTerminal, outcome: None, reason: Some(reason), ..OK };
    let (answer, _) = place(&dead("terminal"), &[]).await;
    answer.is_problem(422, "event-failed");
    let (answer, _) = place(&dead("crash"), &[]).await;
    answer.is_problem(503, "processing-failed");
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn an_outcome_that_does_not_come_in_time_is_202() {
    let answer = post("/v1/orders", &[("prefer", "wait=1")], r#"{"lines":[]}"#).await;
    answer.is_verdict(202, "accepted");
    assert_eq!(answer.header("location"), format!("/v1/events/{}", answer.body["receipt"].as_str().unwrap()));
    assert_eq!(answer.header("preference-applied"), "wait=1");
    assert_eq!(answer.body["lifecycle"]["state"], "QUEUED");
}

#[tokio::test]
async fn respond_async_does_not_wait() {
    let begun = std::time::Instant::now();
    let answer = post("/v1/orders", &[("prefer", "respond-async, wait=20")], r#"{"lines":[]}"#).await;
    answer.is_verdict(202, "accepted");
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(answer.header("preference-applied"), "respond-async");
    assert_eq!(answer.body["lifecycle"], Value::Null);
}

#[tokio::test]
async fn any_request_may_wait_and_its_status_stays() {
    let id = testkit::unique("wait");
    processed(&id, &id, &OK).await;
    let note = json!({"type": "order.note", "id": id, "subject": id, "data": {"text": "x"}});
    let answer = post("/v1/streams/orders/events", &[("prefer", "wait=10")], note.to_string()).await;
    answer.is_verdict(200, "accepted");
    assert_eq!(answer.body["lifecycle"]["state"], "SUCCEEDED");
    assert_eq!(answer.header("preference-applied"), "wait=10");
    let batch = post("/v1/streams/orders/events", &[("prefer", "wait=10")], json!([note]).to_string()).await;
    assert_eq!(batch.body["events"][0]["verdict"], "duplicate");
    assert_eq!(batch.body["events"][0]["lifecycle"]["state"], "SUCCEEDED");
}

#[tokio::test]
async fn an_invalid_event_of_an_outcome_route_answers_as_anywhere() {
    let answer = post("/v1/orders", &[], r#"{"lines":1}"#).await;
    answer.is_problem(422, "invalid-event");
    assert_eq!(answer.errors(), [("/lines".into(), "wrong_type".into())]);
}
