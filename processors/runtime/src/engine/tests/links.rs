//! Events between subjects.

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
