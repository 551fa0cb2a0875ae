use proptest::prelude::*;

use super::*;
use crate::fault::finding;
use crate::verdict::{Position, Unknown};

fn accepted() -> Verdict {
    Verdict::Accepted { at: Position { partition: 0, offset: 1 }, receipt: String::new() }
}

fn duplicate() -> Verdict {
    let at = Position { partition: 0, offset: 1 };
    Verdict::Duplicate { at, receipt: String::new(), first_seen: Some(0), duplicate_of: None }
}

fn invalid(reason: Invalid) -> Verdict {
    Verdict::invalid(reason, finding("/data", "missing", "", "", "a sentence"))
}

fn retry(reason: Retry) -> Verdict {
    Verdict::Retry { reason, after_ms: 1_000 }
}

fn unknown() -> Verdict {
    Verdict::Unknown { reason: Unknown::AckTimeout, receipt: String::new(), after_ms: 1_000 }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let reasons = [Invalid::Syntax, Invalid::Schema, Invalid::TooLarge, Invalid::Forbidden, Invalid::IdReused];
    let retries = [Retry::InProgress, Retry::LogUnavailable, Retry::Overloaded, Retry::ShuttingDown];
    prop_oneof![
        Just(accepted()),
        Just(duplicate()),
        Just(unknown()),
        prop::sample::select(reasons.to_vec()).prop_map(invalid),
        prop::sample::select(retries.to_vec()).prop_map(retry),
    ]
}

fn status(overall: Overall) -> u16 {
    match overall {
        Overall::Fine => 200,
        Overall::Mixed => 207,
        Overall::Failed(name) => Problem::new(name, "").status.as_u16(),
    }
}

proptest! {
    #[test]
    fn the_status_of_a_batch_depends_on_its_verdicts_alone_and_not_on_their_order(
        (verdicts, shuffled) in prop::collection::vec(any_verdict(), 1..12).prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle())),
    ) {
        let found = status(overall(verdicts.iter(), true, false));
        prop_assert_eq!(found, status(overall(shuffled.iter(), true, false)));
        let any = |kind: Kind| verdicts.iter().any(|verdict| verdict.kind() == kind);
        let fine = any(Kind::Accepted) || any(Kind::Duplicate);
        let kinds = [fine, any(Kind::Invalid), any(Kind::Retry), any(Kind::Unknown)].into_iter().filter(|seen| *seen).count();
        match found {
            200 => prop_assert!(fine && kinds == 1),
            207 => prop_assert!(kinds > 1),
            403 | 422 => prop_assert!(any(Kind::Invalid) && kinds == 1),
            409 => prop_assert!(any(Kind::Retry) && kinds == 1),
            503 => prop_assert!((any(Kind::Retry) || any(Kind::Unknown)) && kinds == 1),
            other => prop_assert!(false, "{} is no status of a batch", other),
        }
    }

    #[test]
    fn a_single_event_answers_by_its_own_verdict(verdict in any_verdict()) {
        let expected = match &verdict {
            Verdict::Accepted { .. } | Verdict::Duplicate { .. } => 200,
            Verdict::Invalid(fault) => match fault.reason {
                Invalid::TooLarge => 413,
                Invalid::Forbidden => 403,
                _ => 422,
            },
            Verdict::Retry { reason: Retry::InProgress, .. } => 409,
            Verdict::Retry { .. } | Verdict::Unknown { .. } => 503,
        };
        prop_assert_eq!(status(overall(std::iter::once(&verdict), false, false)), expected);
    }
}

#[test]
fn a_strict_batch_with_one_invalid_event_is_refused_whole() {
    let verdicts = [retry(Retry::Withheld), invalid(Invalid::Schema)];
    assert_eq!(overall(verdicts.iter(), true, true), Overall::Failed(Name::InvalidBatch));
}

#[test]
fn a_batch_is_forbidden_only_if_every_event_is() {
    let all = [invalid(Invalid::Forbidden), invalid(Invalid::Forbidden)];
    assert_eq!(overall(all.iter(), true, false), Overall::Failed(Name::Forbidden));
    let some = [invalid(Invalid::Forbidden), invalid(Invalid::Schema)];
    assert_eq!(overall(some.iter(), true, false), Overall::Failed(Name::InvalidBatch));
}

#[test]
fn different_reasons_to_retry_are_told_as_one_that_is_503() {
    let some = [retry(Retry::InProgress), retry(Retry::LogUnavailable)];
    assert_eq!(overall(some.iter(), true, false), Overall::Failed(Name::LogUnavailable));
}

#[test]
fn times_are_told_with_milliseconds() {
    assert_eq!(time(1_772_359_200_120).as_deref(), Some("2026-03-01T10:00:00.120Z"));
}

#[test]
fn a_request_tells_a_bounded_number_of_findings() {
    let mut arena = Arena::default();
    for _ in 0..60 {
        let error = finding("/data/a", "missing", "", "", "a sentence");
        let fault = crate::verdict::Fault { reason: Invalid::Schema, errors: vec![error; 20], omitted: 3, schema: None };
        let record = Err(Box::new(fault.clone()));
        let verdict = Some(Verdict::Invalid(Box::new(fault)));
        arena.events.push(Event { kind: None, id: None, subject: None, record, verdict });
    }
    let told =
        Told { stream: "s", arena: &arena, batch: true, arrival_ms: 0, strict: false, minimal: false, lifecycles: Vec::new() };
    let body = serde_json::to_value(body(&told)).unwrap();
    let events = body["events"].as_array().unwrap();
    let shown: usize = events.iter().filter_map(|event| event["errors"].as_array()).map(Vec::len).sum();
    assert_eq!(shown, ERRORS_PER_REQUEST);
    assert_eq!(events[0]["errors_omitted"], 3);
    assert_eq!(events[59]["errors_omitted"], 23);
}
