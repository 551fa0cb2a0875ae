//! Inputs that end the process.

use schemas::catalog::FollowStart;

use super::world::World;
use crate::engine::log::{Claim, KIND_CLAIM, Trying};
use crate::engine::recover::{Claimed, rebuild};
use crate::engine::settings::Limits;
use crate::engine::single::Single;
use crate::engine::transaction::OutRecord;

/// Three owners die before anybody is suspect; then the input is tried five times alone.
const DEATHS: usize = 3 + 5;

#[test]
fn an_input_that_ends_the_process_is_one_dead_letter_and_its_neighbours_count_once() {
    for killer in ["kill", "bomb"] {
        let mut world = World::new();
        let body = format!("a {killer}");
        world.send_all(["a +1", "b +7", &body, "a +2", "b +1", "c +5"]);
        world.run();
        assert_eq!(world.dead(), ["crash"]);
        assert_eq!(world.deaths, DEATHS);
        assert_eq!(world.results("a"), [(1, 1), (2, 3)]);
        assert_eq!(world.results("b"), [(1, 7), (2, 8)]);
        world.take_over();
        world.send_all(["a +4"]);
        world.run();
        assert_eq!((world.deaths, world.results("a").pop()), (DEATHS, Some((3, 7))));
    }
}

#[test]
fn what_an_input_is_under_suspicion_for_is_told_before_it_is_looked_at() {
    let mut world = World::new();
    world.send_all(["a bomb"]);
    world.run();
    let (_, log) = world.log_of("a");
    let tries: Vec<_> = (0..log.len()).filter_map(|end| tries(&world, end + 1)).collect();
    assert_eq!(tries, [1, 2, 3, 4, 5]);
}

/// What the last of the first `end` records announces, if it is a claim that does.
fn tries(world: &World, end: usize) -> Option<i32> {
    let (shard, log) = world.log_of("a");
    let before = rebuild(&shard, None, 0, &log[..end - 1]).unwrap().claims.len();
    let claims = rebuild(&shard, None, 0, &log[..end]).unwrap().claims;
    let trying = claims.get(before)?.trying.clone()?;
    assert_eq!((&*trying.source, trying.offset, trying.id), ("sums.events", 0, None));
    Some(trying.tries)
}

#[test]
fn a_timer_that_ends_the_process_is_one_dead_letter() {
    let mut world = World::new();
    world.send_all(["a +1", "a timer t 50 kill", "a timer u 50 +2"]);
    world.run();
    world.pass(60_000);
    world.run();
    // the first one had committed something
    assert_eq!((world.dead(), world.deaths), (vec!["crash".to_owned()], 1 + DEATHS));
    assert_eq!(world.results("a"), [(1, 1), (2, 3)]);
    assert_eq!(world.items("a"), [""; 0]);
}

#[test]
fn a_parked_input_that_ends_the_process_is_one_dead_letter_and_the_rest_of_the_park_goes_on() {
    let mut world = World::new();
    // the first one holds its subject until there is a sum
    world.send_all(["a need 1", "a +1", "a kill", "a +2"]);
    world.run();
    assert_eq!((world.parked("a"), world.deaths), (4, 0));
    world.send_all(["a pass:+8"]);
    world.run();
    world.pass(60_000_000);
    world.run();
    assert_eq!((world.dead(), world.deaths), (vec!["crash".to_owned()], 1 + DEATHS));
    assert_eq!(world.results("a"), [(1, 8), (2, 8), (3, 9), (4, 11)]);
    assert_eq!(world.parked("a"), 0);
}

#[test]
fn owners_that_come_and_go_while_nothing_arrives_put_nothing_under_suspicion() {
    let mut world = World::new();
    for _ in 0..10 {
        world.take_over();
    }
    let claims = |world: &World| world.log_of("a").1.len();
    let before = claims(&world);
    world.pass(1_000_000);
    world.send_all(["a +1", "a +2", "a +3"]);
    world.run();
    assert_eq!(world.results("a").len(), 3);
    assert_eq!(claims(&world) - before, 2, "one frame for all three: DATA and trailer, no claim");
}

#[test]
fn a_new_owner_begins_with_few_inputs_so_that_few_are_under_suspicion() {
    let mut world = World::with(|settings| settings.limits.single_inputs = 2);
    world.send_all(["b +1", "a +1", "a kill", "a +2", "a +3", "a +4", "a +5"]);
    world.run();
    // the first owner commits two inputs before it dies, and the suspects begin behind them
    assert_eq!((world.dead(), world.deaths), (vec!["crash".to_owned()], 1 + DEATHS));
    assert_eq!(world.results("a").last(), Some(&(5, 15)));
}

#[test]
fn claims_of_a_process_that_lives_are_no_evidence() {
    let claim = |process: u8, trying: Option<i32>| Claimed {
        writer: [process, 0, 0, 0, trying.unwrap_or_default() as u8, 1, 2, 3],
        trying: trying.map(|tries| Trying { source: "a".into(), offset: 1, id: None, tries }),
    };
    let (own, limits) = ([1, 0, 0, 0, 9, 9, 9, 9], Limits::default());
    let after = |claims: &[Claimed]| Single::after(claims, &own, &limits, 0).is_some();
    assert!(!after(&[claim(1, None), claim(1, Some(1)), claim(1, None), claim(1, Some(2))]));
    assert!(!after(&[claim(2, None), claim(3, None)]));
    assert!(after(&[claim(2, None), claim(2, None), claim(2, None)]));
    assert!(after(&[claim(2, Some(1)), claim(1, None)]), "one that was tried is enough");
}

#[test]
fn a_claim_reads_as_it_was_written() {
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.run();
    let (shard, mut log) = world.log_of("a");
    let trying = Trying { source: "agenda".into(), offset: -5, id: Some("t/a/é".into()), tries: 3 };
    let claim = Claim {
        writer: [7; 8],
        slot: "slot",
        host: "host",
        generation: 3,
        after_n: 1,
        ts: 5,
        positions: &[("sums.events".to_owned(), 4)].into(),
        trying: Some(&trying),
    };
    let OutRecord { headers, value, .. } = OutRecord::marker(0, KIND_CLAIM, claim.encode(12));
    log.push(crate::engine::recover::LogRecord { offset: log.len() as i64, headers, value });
    let claims = rebuild(&shard, None, 0, &log).unwrap().claims;
    assert_eq!(claims, [Claimed { writer: [7; 8], trying: Some(trying) }]);
}

#[test]
fn the_frame_behind_the_claim_of_a_new_follower_is_found_again() {
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.run();
    world.follow(FollowStart::Earliest, true);
    world.take_over();
    world.send_all(["a +1"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 2)]);
}
