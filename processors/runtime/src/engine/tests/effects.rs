//! Effects: attempts are recorded before they are made, and one outcome is recorded whatever happens.

use std::time::Duration;

use schemas::catalog::{EffectRules, Retry};
use schemas::key::EventKey;
use state::records::State;

use super::world::{Fault, World};
use crate::effects::Error;
use crate::processor::effect_id_of;

/// A second, µs.
const SECOND: i64 = 1_000_000;

fn sums(world: &World) -> Vec<i64> {
    world.results("a").into_iter().map(|(_, sum)| sum).collect()
}

#[test]
fn an_effect_is_attempted_after_its_record_and_its_outcome_is_an_input() {
    let mut world = World::new();
    world.send_with_id("a effect hello", "asks");
    world.run();
    assert_eq!(world.effect_state("asks"), State::Processing);
    assert_eq!(world.items("a").len(), 1, "the attempt is on record");
    let attempt = world.end_attempt(Ok("7"));
    assert_eq!((&attempt.argument[..], attempt.attempt), (&b"hello"[..], 1));
    let id = effect_id_of(EventKey::of("test", "asks", None).0, 0);
    assert_eq!(*attempt.key.id, *format!("e/{id}"));
    world.run();
    assert_eq!(sums(&world), [7]);
    assert_eq!(world.effect_state("asks"), State::Succeeded);
    assert_eq!(world.items("a"), [""; 0]);
    world.pass(100 * SECOND);
    world.run();
    assert!(world.attempts.is_empty());
}

#[test]
fn no_attempt_is_made_that_is_not_committed() {
    let mut world = World::new();
    world.send_all(["a effect hello"]);
    world.fail_next(Fault::Produce);
    world.run();
    assert_eq!(world.attempts.len(), 1);
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.run();
    world.send_all(["a effect hello"]);
    world.fail_next(Fault::Ownership);
    world.run();
    assert!(world.attempts.is_empty());
}

#[test]
fn an_attempt_that_failed_is_made_again_and_the_last_one_ends_it() {
    let mut world = World::new();
    world.send_with_id("a effect hello", "asks");
    world.run();
    for attempt in 1..=3 {
        let made = world.end_attempt(Err(Error::Retry("not now".into())));
        assert_eq!(made.attempt, attempt);
        world.run();
        if attempt < 3 {
            assert_eq!(
                world.effect_state("asks"),
                if world.attempts.is_empty() { State::FailedRetryable } else { State::Processing }
            );
        }
        world.pass(20 * SECOND);
        world.run();
    }
    assert_eq!(sums(&world), [-1]);
    assert_eq!(world.effect_state("asks"), State::FailedTerminal);
    assert_eq!(world.items("a"), [""; 0]);
}

#[test]
fn a_new_owner_waits_for_the_lease_and_hears_nothing_of_the_old_attempt() {
    let mut world = World::new();
    world.send_all(["a effect hello"]);
    world.run();
    world.take_over();
    let old = world.end_attempt(Ok("1"));
    world.run();
    assert!(world.attempts.is_empty() && sums(&world).is_empty());
    world.pass(31 * SECOND);
    world.run();
    assert_eq!(world.tally.leases_expired, 1);
    let new = world.end_attempt(Ok("2"));
    assert_eq!((new.attempt, new.key.id), (2, old.key.id));
    world.run();
    assert_eq!(sums(&world), [2]);
}

#[test]
fn an_outcome_counts_once_although_its_transaction_failed() {
    for fault in [Fault::Produce, Fault::CommitHappenedButUnknown] {
        let mut world = World::new();
        world.send_all(["a effect hello"]);
        world.run();
        world.end_attempt(Ok("5"));
        world.fail_next(fault);
        world.run();
        world.run();
        assert_eq!(sums(&world), [5]);
    }
}

#[test]
fn a_cancelled_effect_has_no_outcome() {
    let mut world = World::new();
    world.send_with_id("a effect hello", "asks");
    world.run();
    let id = effect_id_of(EventKey::of("test", "asks", None).0, 0);
    world.send_all([&*format!("a cancel {id}")]);
    world.run();
    world.end_attempt(Ok("5"));
    world.run();
    world.pass(100 * SECOND);
    world.run();
    assert_eq!(sums(&world), [0; 0]);
    assert_eq!((world.items("a"), world.attempts.len()), (Vec::new(), 0));
}

#[test]
fn an_effect_that_is_cancelled_in_the_frame_of_its_attempt_is_not_attempted() {
    let mut world = World::new();
    world.send_with_id("a effect hello", "asks");
    world.run();
    world.end_attempt(Err(Error::Retry("not now".into())));
    world.run();
    world.pass(20 * SECOND);
    let id = effect_id_of(EventKey::of("test", "asks", None).0, 0);
    world.send_all([&*format!("a cancel {id}")]);
    world.run();
    assert_eq!((world.items("a"), world.attempts.len()), (Vec::new(), 0));
}

#[test]
fn an_open_effect_that_is_started_again_stays_one() {
    let mut world = World::new();
    world.send_with_id("a effect hello", "asks");
    world.run();
    world.pass(20 * 60 * SECOND);
    world.send_with_id("a effect hello", "asks");
    world.run();
    assert_eq!(world.items("a").len(), 1);
    while !world.attempts.is_empty() {
        world.end_attempt(Ok("7"));
        world.run();
    }
    world.pass(100 * SECOND);
    world.run();
    assert_eq!(sums(&world), [7]);
    assert_eq!(world.items("a"), [""; 0]);
}

#[test]
fn a_cancelled_effect_says_so_whether_memory_or_the_store_has_its_item() {
    for deaf in [false, true] {
        let mut world = World::new();
        world.store_is_deaf = deaf;
        world.send_with_id("a effect hello", "asks");
        world.run();
        let id = effect_id_of(EventKey::of("test", "asks", None).0, 0);
        world.send_all([&*format!("a cancel {id}"), "a +1"]);
        world.run();
        world.catch_up();
        world.run();
        let status = world.effect_status("asks");
        assert_eq!((status.state, status.outcome.as_deref()), (State::Succeeded, Some("cancelled")));
        assert_eq!(
            status.history.iter().map(|step| step.state).collect::<Vec<_>>(),
            [State::Queued, State::Processing, State::Succeeded]
        );
        assert_eq!((world.items("a"), sums(&world)), (Vec::new(), vec![1]));
    }
}

#[test]
fn an_event_that_settles_with_its_effects_stays_processing_until_they_have_ended() {
    let mut world = World::with(|settings| {
        settings.event_types.get_mut("sum.add").unwrap().settles_with_effects = true;
    });
    world.send_with_id("a effect hello", "asks");
    world.send_with_id("a +1", "asks nothing");
    world.run();
    let ok = || Some("ok".to_owned());
    assert_eq!(world.status("asks"), (State::Processing, ok(), vec![State::Queued, State::Processing]));
    assert_eq!(world.status("asks nothing").0, State::Succeeded);
    assert_eq!(world.effect_state("asks"), State::Processing);
    world.end_attempt(Ok("7"));
    world.run();
    // the reader puts the two together
    assert_eq!((world.status("asks").0, world.effect_state("asks")), (State::Processing, State::Succeeded));
}

#[test]
fn no_more_attempts_are_made_than_there_are_places() {
    let mut world = World::with(|settings| settings.limits.effects = 2);
    world.send_all(["a effect 1", "a effect 2", "a effect 3", "b effect 4", "b effect 5"]);
    world.run();
    let mut ended = 0;
    while !world.attempts.is_empty() {
        assert!(world.attempts.len() <= 2);
        world.end_attempt(Ok("1"));
        ended += 1;
        world.run();
    }
    assert_eq!(ended, 5);
    assert_eq!(world.results("a").len() + world.results("b").len(), 5);
}

#[test]
fn an_effect_with_a_free_place_is_under_way_with_the_frame_that_starts_it() {
    let mut world = World::with(|settings| settings.limits.effects = 1);
    world.send_with_id("a effect 1", "first");
    world.send_with_id("a effect 2", "second");
    world.run();
    assert_eq!(world.frames("a"), 1);
    assert_eq!(world.attempts.len(), 1);
    assert_eq!((world.effect_state("first"), world.effect_state("second")), (State::Processing, State::Queued));
    world.end_attempt(Ok("1"));
    world.run();
    assert_eq!(world.end_attempt(Ok("2")).attempt, 1);
    world.run();
    assert_eq!(sums(&world), [1, 2]);
}

#[test]
fn an_effect_that_is_cancelled_in_the_batch_that_starts_it_is_never_attempted() {
    let mut world = World::new();
    world.send_with_id("a effect hello", "asks");
    let id = effect_id_of(EventKey::of("test", "asks", None).0, 0);
    world.send_all([&*format!("a cancel {id}")]);
    world.run();
    assert_eq!((world.frames("a"), world.attempts.len(), world.items("a")), (1, 0, Vec::new()));
}

fn bill(change: impl FnOnce(&mut EffectRules)) -> World {
    let retry = Retry { base_ms: 1_000, cap_ms: 1_000, attempts: 100, ..Retry::default() };
    let mut rules =
        EffectRules { name: "bill".into(), target: None, concurrency: 64, per_key: 64, lease_s: 30, retry, breaker: true };
    change(&mut rules);
    World::with(|settings| settings.effects = vec![rules])
}

#[test]
fn a_target_and_a_key_have_bounds_of_their_own_and_stop_nothing_else() {
    let mut world = bill(|rules| (rules.concurrency, rules.per_key) = (2, 1));
    world.send_all(["a bill x", "a bill x", "b bill x", "a bill y", "b bill z"]);
    world.send_all(["a timer later 1 +1", "b effect 7"]);
    world.run();
    world.pass(SECOND);
    world.run();
    let under_way = |world: &World| -> Vec<_> { world.attempts.iter().map(|(_, made)| made.named.key.to_string()).collect() };
    let mut keys = under_way(&world);
    keys.sort();
    assert_eq!(keys.len(), 3, "two bills and the mail: {keys:?}");
    assert!(keys.windows(2).all(|two| two[0] != two[1]), "{keys:?}");
    assert_eq!(sums(&world), [1], "the timer passes what has no place");
    let mut ended = 0;
    while !world.attempts.is_empty() {
        world.end_attempt(Ok("1"));
        ended += 1;
        world.run();
        let mut keys: Vec<_> = under_way(&world).into_iter().filter(|key| !key.is_empty()).collect();
        keys.sort();
        assert!(keys.len() <= 2 && keys.windows(2).all(|two| two[0] != two[1]), "{keys:?}");
    }
    assert_eq!(ended, 6);
}

/// Lets every attempt fail that is under way; how many those were.
fn fail_all(world: &mut World) -> usize {
    let made = world.attempts.len();
    (0..made).for_each(|_| drop(world.end_attempt(Err(Error::Retry("away".into())))));
    world.run();
    made
}

#[test]
fn a_target_that_keeps_failing_is_left_alone_then_probed_once_and_what_waited_uses_up_no_attempt() {
    let mut world = bill(|_| {});
    world.send_all((0..12).map(|n| format!("a bill {n}")).collect::<Vec<_>>().iter().map(String::as_str));
    world.run();
    assert_eq!(fail_all(&mut world), 12);
    world.pass(20 * SECOND);
    world.send_all(["b bill new"]);
    world.run();
    assert_eq!(world.attempts.len(), 0, "what is due stays due, what starts is queued");
    world.send_all(["a effect 1"]);
    world.run();
    world.end_attempt(Ok("7"));
    world.pass(10 * SECOND);
    world.run();
    assert_eq!(fail_all(&mut world), 1, "a probe");
    world.pass(59 * SECOND);
    world.run();
    assert_eq!(world.attempts.len(), 0, "twice as long");
    world.pass(SECOND);
    world.run();
    let probe = world.end_attempt(Ok("1"));
    assert!(probe.attempt <= 3);
    world.run();
    assert_eq!(world.attempts.len(), 12, "it is closed");
    assert!(world.attempts.iter().all(|(_, made)| made.attempt <= 3), "{:?}", world.attempts);
}

#[test]
fn a_target_whose_breaker_is_turned_off_is_never_left_alone() {
    let mut world = bill(|rules| rules.breaker = false);
    world.send_all((0..12).map(|n| format!("a bill {n}")).collect::<Vec<_>>().iter().map(String::as_str));
    world.run();
    for _ in 0..3 {
        assert_eq!(fail_all(&mut world), 12);
        world.pass(SECOND);
        world.run();
    }
}

#[test]
fn a_target_that_names_a_time_is_not_attempted_before() {
    let mut world = bill(|_| {});
    world.send_all(["a bill x"]);
    world.run();
    world.end_attempt(Err(Error::Later("busy".into(), Duration::from_secs(50))));
    world.run();
    world.pass(49 * SECOND);
    world.run();
    assert_eq!(world.attempts.len(), 0);
    world.pass(SECOND);
    world.run();
    assert_eq!(world.attempts.len(), 1);
}

#[test]
fn an_effect_that_is_none_is_a_dead_letter_and_too_many_are() {
    let mut world = World::new();
    world.send_all((0..65).map(|n| format!("a effect {n}")).collect::<Vec<_>>().iter().map(String::as_str));
    world.run();
    assert_eq!(world.dead(), ["terminal"]);
}
