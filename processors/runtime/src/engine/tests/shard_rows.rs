//! Rows of a shard itself, and events for all shards.

use std::collections::HashSet;

use schemas::names;

use super::world::{Fault, World};
use crate::engine::recover::rebuild;

/// Subjects of one shard.
fn neighbours() -> [&'static str; 3] {
    let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut near = all.into_iter().filter(|subject| World::home(subject) == World::home("a"));
    std::array::from_fn(|_| near.next().unwrap())
}

#[test]
fn every_input_of_a_shard_counts_in_the_same_place_whatever_happens_to_its_transaction() {
    let mut world = World::new();
    let [a, b, c] = neighbours();
    for fault in [Fault::Produce, Fault::Ownership, Fault::CommitHappenedButUnknown] {
        world.fail_next(fault);
        world.send_all([format!("{a} count -").as_str(), &format!("{b} count -"), &format!("{c} count -")]);
        world.run();
        world.take_over();
        world.run();
    }
    let mut counts: Vec<_> = [a, b, c].into_iter().flat_map(|subject| world.results(subject)).map(|(_, count)| count).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=9).collect::<Vec<_>>(), "each count once");
}

#[test]
fn a_frame_has_one_image_of_a_row_however_often_it_was_changed() {
    let mut world = World::new();
    let [a, b, _] = neighbours();
    world.send_all([a, b, a, b, a].map(|subject| format!("{subject} count -")).iter().map(String::as_str));
    world.run();
    let (shard, log) = world.log_of(a);
    let frames = rebuild(&shard, None, 0, &log).unwrap().frames;
    let writes = frames.iter().map(|frame| {
        let of_shard = frame.rows.iter().filter(|row| row.key.subject.starts_with('~')).map(|row| row.key.sort.to_string());
        of_shard.collect::<Vec<_>>()
    });
    let writes: Vec<_> = writes.filter(|sorts| !sorts.is_empty()).collect();
    assert_eq!(writes, [["count".to_owned(), "~head".to_owned()]]);
}

#[test]
fn a_broadcast_reaches_every_shard_once_whatever_happens_to_its_transaction() {
    let mut world = World::new();
    for fault in [Fault::Produce, Fault::Ownership, Fault::CommitHappenedButUnknown] {
        world.fail_next(fault);
        world.send_all(["a all keep 100"]);
        world.run();
        world.take_over();
        world.run();
    }
    let other = ["c", "d", "e", "f"].into_iter().find(|other| World::home(other) != World::home("a")).unwrap();
    world.send_all(["a count -", &format!("{other} count -")]);
    world.run();
    assert_eq!((world.results("a"), world.results(other)), (vec![(1, 301)], vec![(1, 301)]));
    let ids: HashSet<_> = world.sent(names::HEADER_CE_ID).into_iter().collect();
    assert_eq!(ids.len(), 6, "one event for each shard has one status");
}

#[test]
fn a_shard_has_timers_that_fire_once_over_its_rows() {
    let mut world = World::new();
    world.send_all(["a later 5000 keep 10", "a count -"]);
    world.run();
    assert_eq!(world.items(&format!("~shard/{}", World::home("a"))).len(), 1);
    world.pass(6_000_000);
    world.fail_next(Fault::CommitHappenedButUnknown);
    world.run();
    world.take_over();
    world.pass(6_000_000);
    world.run();
    world.send_all(["a count -"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 12)]);
    world.send_all(["a later 5000 keep 10", "a unshard", "a count -"]);
    world.pass(6_000_000);
    world.run();
    assert_eq!(world.results("a").last(), Some(&(3, 1)), "its row and its timer are gone");
}

#[test]
fn rows_of_a_shard_are_read_back_whole_by_its_next_owner() {
    let mut world = World::new();
    let sends: Vec<_> = (0..1_100).map(|n| format!("a shard r/{n:04} 1")).collect();
    world.send_all(sends.iter().map(String::as_str));
    world.run();
    world.take_over();
    world.send_all(["a count r/10", "a count r/0"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 10_001), (2, 10_002)]);
}

#[test]
fn only_processors_write_to_shards_and_only_to_shards_that_are_there() {
    let mut world = World::new();
    let processor = [(names::HEADER_CE_SOURCE, "forebay/other")];
    world.send_with("~shard/0 keep 1", &[]);
    world.send_with("~shard/7 keep 1", &processor);
    world.send_with("~else keep 1", &processor);
    world.run();
    assert_eq!(world.dead(), ["no_subject"; 3]);
    world.send_with("~shard/0 keep 1", &processor);
    world.run();
    assert_eq!((world.dead().len(), world.tally.processed), (3, 1));
}

#[test]
fn a_shard_tells_no_results_and_hears_no_refusals() {
    let mut world = World::new();
    world.send_all(["a all 5", "a all refuse"]);
    world.run();
    assert_eq!(world.dead(), ["terminal"; 2], "one for each shard");
    assert_eq!((world.tally.rejected, world.rejected("~shard/0")), (2, Vec::new()));
}

#[test]
fn streams_that_do_not_say_so_have_no_rows_of_shards_and_get_no_broadcasts() {
    let mut world = World::with(|settings| {
        settings.shard_rows = false;
        settings.targets[0].shard_rows = false;
    });
    world.send_all(["a count -", "a shard r 1", "a later 1 keep 1", "a all keep 1"]);
    world.send_with("~shard/0 keep 1", &[(names::HEADER_CE_SOURCE, "forebay/other")]);
    world.run();
    let mut dead = world.dead();
    dead.sort();
    assert_eq!(dead, ["no_subject", "terminal", "terminal", "terminal", "terminal"]);
}

#[test]
fn a_shard_is_full_at_its_bound_and_its_other_inputs_go_on() {
    let mut world = World::new();
    let sends: Vec<_> = (0..24).map(|n| format!("a shard r/{n} 700000")).collect();
    world.send_all(sends.iter().map(String::as_str));
    world.send_all(["a count -", "a 7"]);
    world.run();
    assert_eq!(world.dead(), ["too_large"]);
    assert_eq!(world.results("a"), [(1, 1), (2, 7)]);
}

#[test]
fn what_one_frame_does_to_a_subject_fits_a_record_of_the_log() {
    let mut world = World::new();
    let sends: Vec<_> = (0..40).map(|n| format!("{} row {n}{}", ["a", "b"][n % 2], "0".repeat(100_000))).collect();
    world.send_all(sends.iter().map(String::as_str));
    world.run();
    let (_, log) = world.log_of("a");
    let largest = log.iter().map(|record| record.value.len()).max().unwrap();
    assert!((600_000..800_000).contains(&largest), "{largest}");
    assert_eq!((world.restarts, world.tally.processed), (0, 40));
}
