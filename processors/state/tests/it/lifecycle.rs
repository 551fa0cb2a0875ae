//! Where an event is, state by state.

use std::time::Duration;

use bytes::Bytes;
use state::reader::{Answer, Lifecycle, Question, Stage, Tracking, Within};
use state::records::{EventStatus, State, Step};
use state::{Error, StateReader};

use crate::build::{Builds, START, frame, mark, shard};
use crate::stores::{self, Fixture, run};

const LIFE: i64 = 7 * 86_400_000_000;
const EVENT: u8 = 1;

fn question(offset: Option<i64>) -> Question {
    Question { event: [EVENT; 16], shard: shard("s", 0), offset, tracking: Tracking::All, accepted: START, life: LIFE }
}

fn status(state: State, next_attempt: Option<i64>) -> Bytes {
    let steps = [(State::Queued, START + 1), (State::Processing, START + 2), (state, START + 2)];
    let status = EventStatus {
        state,
        outcome: None,
        code: None,
        detail: None,
        history: steps.map(|(state, at)| Step { state, at }).to_vec(),
        attempts: 1,
        next_attempt,
        stream: "s".to_owned(),
        subject: "a".to_owned(),
        partition: 0,
        offset: 10,
        cause: None,
        products: Vec::new(),
        reason: None,
    };
    status.encode()
}

/// A store whose watermark stands at `position`.
async fn at(position: i64, rows: &[(&str, Bytes)]) -> (Fixture, StateReader) {
    let fixture = stores::memory();
    let mut written = frame("s", 2);
    for (part, val) in rows {
        written = written.status(EVENT, part, val.clone());
    }
    fixture.store.apply(&written).await.unwrap();
    fixture.store.set_marks(&[(shard("s", 0), mark("s", 2, position))]).await.unwrap();
    let reader = StateReader::new(fixture.store.clone());
    (fixture, reader)
}

async fn asked(reader: &StateReader, question: &Question, now: i64) -> Answer {
    reader.lifecycle(question, Within::new(now, Duration::from_secs(5))).await.unwrap()
}

async fn known(reader: &StateReader, question: &Question, now: i64) -> Lifecycle {
    match asked(reader, question, now).await {
        Answer::Known(lifecycle) => *lifecycle,
        Answer::Expired => panic!("expired"),
    }
}

#[test]
fn an_event_of_unknown_offset_is_received_until_its_life_ends() {
    run(async {
        let (_fixture, reader) = at(50, &[]).await;
        let found = known(&reader, &question(None), START + LIFE - 1).await;
        assert_eq!((found.stage, found.history), (Stage::Received, vec![(Stage::Received, START)]));
        assert_eq!(asked(&reader, &question(None), START + LIFE).await, Answer::Expired);
    });
}

#[test]
fn an_event_at_or_beyond_the_position_is_queued() {
    run(async {
        let (_fixture, reader) = at(10, &[]).await;
        assert_eq!(known(&reader, &question(Some(10)), START).await.stage, Stage::Queued);
        assert_eq!(known(&reader, &question(Some(11)), START + 2 * LIFE).await.stage, Stage::Queued);
        assert_eq!(asked(&reader, &question(Some(9)), START).await, Answer::Expired);
        let nothing = StateReader::new(stores::memory().store);
        assert_eq!(known(&nothing, &question(Some(0)), START).await.stage, Stage::Queued);
    });
}

#[test]
fn a_failure_tracked_event_without_a_row_has_succeeded() {
    run(async {
        let (_fixture, reader) = at(11, &[]).await;
        let of = |tracking| Question { tracking, ..question(Some(10)) };
        let found = known(&reader, &of(Tracking::Failures), START).await;
        assert_eq!((found.stage, found.derived, found.status), (Stage::Succeeded, true, None));
        assert_eq!(asked(&reader, &of(Tracking::Failures), START + LIFE).await, Answer::Expired);
        assert_eq!(asked(&reader, &of(Tracking::None), START).await, Answer::Expired);
    });
}

#[test]
fn a_row_tells_the_state_its_times_and_its_effects() {
    run(async {
        for (state, stage) in [
            (State::Processing, Stage::Processing),
            (State::Succeeded, Stage::Succeeded),
            (State::FailedTerminal, Stage::FailedTerminal),
        ] {
            let rows = [("", status(state, None)), ("e/77", status(State::Processing, None))];
            let (_fixture, reader) = at(11, &rows).await;
            let found = known(&reader, &question(Some(10)), START + 9).await;
            assert_eq!((found.stage, found.duplicate_of, found.derived), (stage, None, false));
            assert_eq!(found.history[..2], [(Stage::Received, START), (Stage::Queued, START + 1)]);
            assert_eq!((&*found.effects[0].0, found.effects[0].1.state), ("77", State::Processing));
            assert_eq!(known(&reader, &question(None), START).await.stage, stage);
        }
    });
}

#[test]
fn an_event_that_settles_with_its_effects_has_succeeded_when_the_last_of_them_has_ended() {
    run(async {
        let decoded = |row: &Bytes| EventStatus::decode(row).unwrap();
        let decided = EventStatus { outcome: Some("ok".into()), ..decoded(&status(State::Processing, None)) };
        for (effects, stage) in [
            ([State::Processing, State::Succeeded], Stage::Processing),
            ([State::FailedRetryable, State::FailedTerminal], Stage::Processing),
            ([State::FailedTerminal, State::Succeeded], Stage::Succeeded),
        ] {
            let [one, other] = effects.map(|state| status(state, None));
            let (_fixture, reader) = at(11, &[("", decided.encode()), ("e/1", one.clone()), ("e/2", other)]).await;
            let found = known(&reader, &question(Some(10)), START + 9).await;
            assert_eq!(found.stage, stage);
            if stage == Stage::Succeeded {
                assert_eq!(found.history.last(), Some(&(Stage::Succeeded, decoded(&one).history.last().unwrap().at)));
            }
        }
    });
}

#[test]
fn a_failed_event_is_queued_again_once_its_next_attempt_has_come() {
    run(async {
        let (_fixture, reader) = at(11, &[("", status(State::FailedRetryable, Some(START + 100)))]).await;
        assert_eq!(known(&reader, &question(Some(10)), START + 99).await.stage, Stage::FailedRetryable);
        assert_eq!(known(&reader, &question(Some(10)), START + 100).await.stage, Stage::Queued);
    });
}

#[test]
fn a_receipt_with_another_offset_is_a_duplicate_of_the_first() {
    run(async {
        let (_fixture, reader) = at(11, &[("", status(State::Succeeded, None))]).await;
        let found = known(&reader, &question(Some(12)), START).await;
        assert_eq!((found.stage, found.duplicate_of), (Stage::Succeeded, Some(10)));
    });
}

#[test]
fn a_row_newer_than_the_watermark_is_not_told() {
    run(async {
        let (fixture, reader) = at(10, &[]).await;
        fixture.store.apply(&frame("s", 3).status(EVENT, "", status(State::Succeeded, None))).await.unwrap();
        let soon = Within::new(START, Duration::from_millis(40));
        assert!(matches!(reader.lifecycle(&question(Some(10)), soon).await, Err(Error::Unavailable(_))));
        let other = Question { event: [9; 16], ..question(Some(20)) };
        let soon = Within::new(START, Duration::from_millis(40));
        let both = reader.lifecycles(&[question(Some(10)), other], soon).await.unwrap();
        assert!(both[0].is_none() && matches!(&both[1], Some(Answer::Known(found)) if found.stage == Stage::Queued));
        fixture.store.set_marks(&[(shard("s", 0), mark("s", 3, 11))]).await.unwrap();
        assert_eq!(known(&reader, &question(Some(10)), START).await.stage, Stage::Succeeded);
    });
}
