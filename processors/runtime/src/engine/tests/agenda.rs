//! Timers and retries.

use proptest::prelude::*;
use schemas::names;
use state::records::State;

use super::world::{Fault, World};

/// A second, µs.
const SECOND: i64 = 1_000_000;

fn sums(world: &World, subject: &str) -> Vec<i64> {
    world.results(subject).into_iter().map(|(_, sum)| sum).collect()
}

#[test]
fn a_timer_fires_once_when_its_time_has_come() {
    let mut world = World::new();
    world.send_all(["a timer t 5000 +5"]);
    world.run();
    world.pass(4 * SECOND);
    world.run();
    assert_eq!(world.results("a"), []);
    world.pass(SECOND);
    world.run();
    assert_eq!(world.results("a"), [(1, 5)]);
    world.pass(60 * SECOND);
    world.run();
    world.take_over();
    world.run();
    assert_eq!(world.results("a"), [(1, 5)]);
    assert_eq!(world.items("a"), [""; 0]);
}

#[test]
fn nothing_that_is_due_begins_where_shards_are_about_to_go() {
    let mut world = World::new();
    world.send_all(["a timer t 5000 +5"]);
    world.run();
    world.core.start_no_more();
    world.pass(5 * SECOND);
    world.run();
    assert!(world.core.is_quiet(), "the store has its frames, and no other is made");
    assert_eq!(world.results("a"), []);
    world.take_over();
    world.run();
    assert_eq!(world.results("a"), [(1, 5)]);
}

#[test]
fn a_timer_that_is_set_again_or_cleared_does_not_fire_at_its_old_time() {
    let mut world = World::new();
    world.send_all(["a timer t 1000 +1", "a timer u 1000 +10", "a timer v 1000 +100"]);
    world.run();
    world.send_all(["a timer t 3000 +2", "a clear u", "a clear none"]);
    world.run();
    world.pass(2 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [100]);
    world.pass(2 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [100, 102]);
}

#[test]
fn a_timer_cleared_by_one_that_is_due_with_it_does_not_fire() {
    let mut world = World::new();
    world.send_all(["a timer t 1000 clear u", "a timer u 1000 +10"]);
    world.run();
    world.pass(2 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [0; 0]);
    assert_eq!(world.items("a"), [""; 0]);
}

#[test]
fn a_timer_beyond_reach_is_found_when_its_time_comes_near() {
    let mut world = World::new();
    world.send_all(["a timer t 600000 +5", "b timer t 90000000 +7"]);
    world.run();
    for _ in 0..12 {
        world.pass(60 * SECOND);
        world.run();
    }
    assert_eq!(sums(&world, "a"), [5]);
    world.take_over();
    // a worker that was away for a day, and then some
    world.pass(90_000 * SECOND);
    world.run();
    assert_eq!(sums(&world, "b"), [7]);
}

#[test]
fn the_reach_is_not_raised_while_items_are_on_their_way_to_the_store() {
    let mut world = World::new();
    world.run();
    world.store_is_deaf = true;
    world.send_all(["a timer t 180000 +5"]);
    world.run();
    world.pass(100 * SECOND);
    world.send_all(["a +1"]);
    world.run();
    assert_eq!(sums(&world, "a"), [0; 0], "inputs wait for the store");
    world.catch_up();
    world.run();
    world.pass(100 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [1, 6]);
}

#[test]
fn a_timer_that_was_due_when_a_transaction_failed_fires_once() {
    for fault in [Fault::Produce, Fault::CommitHappenedButUnknown] {
        let mut world = World::new();
        world.send_all(["a timer t 1000 +5"]);
        world.run();
        world.fail_next(fault);
        world.pass(2 * SECOND);
        world.run();
        world.run();
        assert_eq!(world.results("a"), [(1, 5)]);
    }
}

#[test]
fn a_result_of_a_timer_names_it_as_its_cause() {
    let mut world = World::new();
    world.send_all(["a timer t 1000 +5"]);
    world.run();
    world.pass(2 * SECOND);
    world.run();
    assert_eq!(world.told_headers("a", names::HEADER_CAUSE), ["t/a/t"]);
}

#[test]
fn what_is_no_timer_is_a_dead_letter() {
    let mut world = World::new();
    world.send_all(["a timer x/y 1000 +5", "a timer ~x 1000 +5"]);
    world.send_all((0..65).map(|n| format!("b timer t{n} 1000 +1")).collect::<Vec<_>>().iter().map(String::as_str));
    world.run();
    assert_eq!(world.dead(), ["terminal", "terminal", "terminal"]);
    assert_eq!(world.items("b").len(), 64);
}

#[test]
fn a_strict_event_that_waits_holds_the_strict_ones_behind_it() {
    let mut world = World::new();
    world.send_with_id("a need 3", "waits");
    world.send_with_id("a +10", "behind");
    world.send_all(["b +1"]);
    world.run();
    assert_eq!(sums(&world, "a"), [0; 0]);
    assert_eq!(sums(&world, "b"), [1]);
    assert_eq!(
        world.status("waits"),
        (State::FailedRetryable, None, vec![State::Queued, State::Processing, State::FailedRetryable])
    );
    assert_eq!(world.status("behind"), (State::Queued, None, vec![State::Queued]));
    world.take_over();
    world.send_all(["a pass:+3", "a +100"]);
    world.run();
    world.pass(20 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [3, 3, 13, 113]);
    let (state, _, history) = world.status("waits");
    assert_eq!((state, world.attempts("waits")), (State::Succeeded, 2));
    assert_eq!(history[2..], [State::FailedRetryable, State::Queued, State::Processing, State::Succeeded]);
    assert_eq!(world.status("behind").0, State::Succeeded);
    assert_eq!((world.items("a"), world.parked("a")), (Vec::new(), 0));
}

#[test]
fn a_relaxed_event_that_waits_holds_nobody() {
    let mut world = World::new();
    world.send_with_id("a pass:need 3", "waits");
    world.send_all(["a +1", "a +2"]);
    world.run();
    assert_eq!(sums(&world, "a"), [1, 3]);
    assert_eq!(world.status("waits").0, State::FailedRetryable);
    world.pass(20 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [1, 3, 3]);
    assert_eq!(world.status("waits").0, State::Succeeded, "although only failures are tracked");
}

#[test]
fn an_event_whose_attempts_are_used_up_is_a_dead_letter_and_the_next_one_goes_on() {
    let mut world = World::new();
    world.send_with_id("a need 99", "waits");
    world.send_all(["a +1", "a need 88", "a +2"]);
    for _ in 0..12 {
        world.run();
        world.pass(20 * SECOND);
    }
    assert_eq!(world.dead(), ["retries_exhausted", "retries_exhausted"]);
    assert_eq!(sums(&world, "a"), [1, 3]);
    assert_eq!((world.status("waits").0, world.attempts("waits")), (State::FailedTerminal, 4));
}

#[test]
fn a_timer_that_is_to_be_tried_again_is() {
    let mut world = World::new();
    world.send_all(["a timer t 1000 need 5"]);
    world.run();
    world.pass(2 * SECOND);
    world.run();
    world.send_all(["a +5"]);
    world.run();
    world.pass(20 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [5, 5]);
    assert_eq!(world.told_headers("a", names::HEADER_CAUSE)[1], "t/a/t");
}

#[test]
fn a_park_has_a_bound() {
    let mut world = World::with(|settings| settings.limits.park = 2);
    world.send_all(["a need 3", "a +1", "a +2", "a +3"]);
    world.run();
    assert_eq!(world.dead(), ["park_full", "park_full"]);
}

#[test]
fn a_long_park_is_worked_off_in_order() {
    let mut world = World::new();
    world.send_all(["a need 3"]);
    world.send_all((0..200).map(|n| format!("a mark {n}")).collect::<Vec<_>>().iter().map(String::as_str));
    world.run();
    assert_eq!(world.parked("a"), 201);
    world.send_all(["a pass:+3"]);
    world.run();
    world.pass(20 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a")[2..], (0..200).collect::<Vec<_>>());
}

#[test]
fn a_parked_input_that_is_missing_is_never_passed_over() {
    let mut world = World::new();
    world.send_all(["a need 3", "a +1"]);
    world.run();
    world.take_over();
    world.lose_parked("a");
    world.pass(20 * SECOND);
    world.run();
    assert_eq!(sums(&world, "a"), [0; 0]);
    assert_eq!(world.restarts, 1, "another owner may be at work");
    let why = world.halted("a").expect("a fresh start has seen it again");
    assert!(why.contains("the parked input 0 of a is missing"), "{why}");
    let neighbour = ["b", "c", "d", "e"].into_iter().find(|other| World::home(other) != World::home("a")).unwrap();
    world.send_all([&*format!("{neighbour} +1")]);
    world.run();
    assert_eq!(world.results(neighbour), [(1, 1)], "the others run on");
}

#[derive(Clone, Debug)]
enum Deed {
    Send(u8, u8),
    Run,
    Pass(u8),
    TakeOver,
    Fail(u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..2u8, 0..6u8).prop_map(|(subject, kind)| Deed::Send(subject, kind)),
        3 => Just(Deed::Run),
        3 => (0..20u8).prop_map(Deed::Pass),
        1 => Just(Deed::TakeOver),
        1 => (0..2u8).prop_map(Deed::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: every event and timer counts once, strict ones in their order, and nothing is left over.
    #[test]
    fn everything_that_waits_takes_effect_once(deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut world = World::with(|settings| {
            settings.limits.agenda_index = 3;
            settings.event_types.values_mut().for_each(|event| event.retry.attempts = 1_000);
        });
        let (mut total, mut marks) = ([0i64; 2], [0i64; 2]);
        for deed in deeds {
            match deed {
                Deed::Send(subject, kind) => {
                    let at = usize::from(subject);
                    let name = ["a", "b"][at];
                    let text = match kind {
                        0 | 1 => {
                            marks[at] += 1;
                            format!("mark {}", -marks[at])
                        }
                        2 => "need 1000000".to_owned(),
                        3 => "pass:need 1000000".to_owned(),
                        4 => {
                            total[at] += 1;
                            format!("pass:timer t{} {} +1", total[at] % 40, total[at] * 37 % 9_000)
                        }
                        _ => {
                            total[at] += 1;
                            "pass:+1".to_owned()
                        }
                    };
                    // a timer that is set again counts once, so each gets time to fire
                    if kind == 4 && total[at] % 40 == 0 {
                        world.pass(20 * SECOND);
                        world.run();
                    }
                    world.send_all([&*format!("{name} {text}")]);
                }
                Deed::Run => world.run(),
                Deed::Pass(seconds) => world.pass(i64::from(seconds) * SECOND),
                Deed::TakeOver => world.take_over(),
                Deed::Fail(0) => world.fail_next(Fault::Produce),
                Deed::Fail(_) => world.fail_next(Fault::CommitHappenedButUnknown),
            }
        }
        world.run();
        world.send_all(["a pass:+1000000", "b pass:+1000000"]);
        for _ in 0..20 {
            world.run();
            world.pass(20 * SECOND);
        }
        for (at, name) in ["a", "b"].into_iter().enumerate() {
            let told = sums(&world, name);
            let marked: Vec<i64> = told.iter().copied().filter(|sum| *sum < 0).map(|mark| -mark).collect();
            prop_assert_eq!(marked, (1..=marks[at]).collect::<Vec<_>>());
            prop_assert_eq!(told.iter().max().copied().unwrap_or(0), 1_000_000 + total[at]);
            prop_assert_eq!(world.items(name), Vec::<String>::new());
            prop_assert_eq!(world.parked(name), 0);
        }
        prop_assert_eq!(world.dead(), Vec::<String>::new());
    }
}
