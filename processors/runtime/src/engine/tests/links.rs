//! Events between subjects.

use schemas::catalog::FollowStart;
use schemas::names;

use super::world::{Fault, World};

#[test]
fn a_send_arrives_once_whatever_happens_to_its_transaction() {
    let mut world = World::new();
    for fault in [Fault::Produce, Fault::Ownership, Fault::CommitHappenedButUnknown] {
        world.fail_next(fault);
        world.send_all(["a send b +1"]);
        world.run();
        world.take_over();
        world.run();
    }
    assert_eq!(world.results("b"), [(1, 1), (2, 2), (3, 3)]);
}

#[test]
fn sends_from_one_subject_to_another_keep_their_order() {
    let mut world = World::new();
    world.send_all(["a send b 1, c 7, b +2", "a send b refuse", "a send b +3"]);
    world.run();
    assert_eq!(world.results("b"), [(1, 1), (2, 3), (4, 6)]);
    assert_eq!(world.rejected("b"), [3]);
    assert_eq!(world.results("c"), [(1, 7)]);
}

#[test]
fn a_redone_input_sends_under_the_same_ids_and_two_sends_have_two() {
    let mut world = World::new();
    world.send_all(["a send b 1, b 1"]);
    world.run();
    // the same event under another subject, in a shard that knows nothing of the first
    let other = ["c", "d", "e", "f"].into_iter().find(|other| World::home(other) != World::home("a")).unwrap();
    world.send_with_id(&format!("{other} send b 1"), "0");
    world.run();
    let mut ids = world.sent(names::HEADER_CE_ID);
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), world.results("b").len()), (3, 3));
    assert_eq!(world.sent(names::HEADER_CE_SOURCE), ["forebay/sums"; 3]);
}

#[test]
fn the_receiver_sees_who_caused_the_first_event() {
    let mut world = World::new();
    world.send_with("a send b 1", &[(names::HEADER_CE_PRINCIPAL, "acme/ada"), (names::HEADER_CE_ADMIN, "true")]);
    world.send_with("a send b 1", &[(names::HEADER_CE_PRINCIPAL, "acme/eve")]);
    world.run();
    assert_eq!(world.sent(names::HEADER_CE_PRINCIPAL), ["acme/ada", "acme/eve"]);
    assert_eq!(world.sent(names::HEADER_CE_ADMIN), ["true", ""]);
}

#[test]
fn what_goes_in_a_circle_ends_as_a_dead_letter() {
    let mut world = World::new();
    world.send_all([format!("a send b {}", "send b ".repeat(20)).trim()]);
    world.run();
    assert_eq!(world.sent(names::HEADER_CE_HOPS).len(), 17);
    assert_eq!(world.dead(), ["hops"]);
}

#[test]
fn a_send_that_cannot_be_had_takes_everything_of_its_input_along() {
    let mut world = World::new();
    world.send_all(["a send b 1, b undeclared", "a send ~shard/0 1", "a send b 1"]);
    world.run();
    assert_eq!(world.dead(), ["terminal", "terminal"]);
    assert_eq!(world.results("b"), [(1, 1)]);
}

#[test]
fn a_followed_result_has_one_effect_whatever_happens_to_its_transaction() {
    let mut world = World::new();
    world.follow(FollowStart::Earliest, true);
    for fault in [Fault::Produce, Fault::Ownership, Fault::CommitHappenedButUnknown] {
        world.fail_next(fault);
        world.other_tells("other.added", "a +1", "0");
        world.send_all(["a +10"]);
        world.run();
        world.take_over();
        world.run();
    }
    let sums: Vec<_> = world.results("a").into_iter().map(|(_, sum)| sum).collect();
    assert_eq!((sums.len(), sums.last()), (6, Some(&33)), "positions find duplicates, ids do not");
    assert_eq!(world.followed_to("a"), Some(3));
    assert_eq!(world.tally.duplicates, 0);
}

#[test]
fn a_stream_that_is_followed_from_now_on_starts_now_and_goes_on_from_there() {
    let mut world = World::new();
    world.other_tells("other.added", "a +1", "0");
    world.other_tells("other.added", "a +1", "0");
    world.follow(FollowStart::Latest, true);
    assert_eq!(world.results("a"), []);
    // nothing was read before the next owner comes: what is told in between is not lost
    world.other_tells("other.added", "a +5", "0");
    world.take_over();
    assert_eq!(world.results("a"), [(1, 5)]);
}

#[test]
fn a_stream_that_is_followed_from_its_beginning_brings_all_there_is() {
    let mut world = World::new();
    world.send_all(["a +10"]);
    world.run();
    world.other_tells("other.added", "a +1", "0");
    world.follow(FollowStart::Earliest, true);
    assert_eq!(world.results("a"), [(1, 10), (2, 11)]);
}

#[test]
fn results_nobody_asked_for_are_passed_over_and_unknown_ones_are_kept_aside() {
    let mut world = World::new();
    world.follow(FollowStart::Earliest, false);
    world.other_tells("other.noise", "a +1", "0");
    world.other_tells("other.added", "a +2", "0");
    world.run();
    assert_eq!((world.results("a"), world.dead()), (vec![(1, 2)], Vec::new()));
    assert_eq!(world.followed_to("a"), Some(2));
    // one that follows everything has never heard of it
    world.follow(FollowStart::Earliest, true);
    world.other_tells("other.noise", "a +1", "0");
    world.run();
    assert_eq!(world.dead(), ["unknown_schema"]);
}

#[test]
fn followed_results_do_not_move_the_dedupe_window_and_end_a_circle_too() {
    let mut world = World::new();
    world.follow(FollowStart::Earliest, true);
    world.send_with_id("a +1", "once");
    world.run();
    world.other_tells("other.added", "a +1", "16");
    world.other_tells("other.added", "a +1", "15");
    world.run();
    world.send_with_id("a +1", "once");
    world.run();
    assert_eq!(world.dead(), ["hops"]);
    assert_eq!((world.results("a").len(), world.tally.duplicates), (2, 1));
}
