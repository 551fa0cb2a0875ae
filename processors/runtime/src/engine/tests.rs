//! The engine core against a world in memory: a log, topics and rows that do exactly what they are told.

mod agenda;
mod crash;
mod effects;
mod links;
mod settle;
mod shard_rows;
mod sums;
mod world;

use schemas::datum::Datum;
use schemas::engine::{LogClaim, LogTrailer};
use schemas::key::EventKey;
use state::Mark;

use self::world::{Fault, World};
use super::recover::{Halt, LogRecord, LogStart, rebuild};

const MINUTE_US: i64 = 60_000_000;

#[test]
fn results_are_numbered_densely_per_subject() {
    let mut world = World::new();
    world.send_all(["a +1", "b +5", "a +2", "a +3"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 3), (3, 6)]);
    assert_eq!(world.results("b"), [(1, 5)]);
}

#[test]
fn nothing_of_an_aborted_batch_is_seen() {
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.run();
    world.fail_next(Fault::Produce);
    world.send_all(["a +2", "a +4"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 3), (3, 7)]);
    assert_eq!(world.aborted, 1);
}

#[test]
fn an_event_that_comes_twice_has_one_effect() {
    let mut world = World::new();
    world.send_with_id("a +1", "once");
    world.send_with_id("a +1", "once");
    world.run();
    world.send_with_id("a +1", "once");
    world.run();
    assert_eq!(world.results("a"), [(1, 1)]);
    assert_eq!(world.tally.duplicates, 2);
}

#[test]
fn a_copy_behind_the_window_takes_effect_even_in_the_batch_of_the_first() {
    let mut world = World::new();
    world.send_with_id("a +1", "once");
    world.send_with_id("a +1", "once");
    world.pass(1_200_000_000);
    world.send_with_id("a +1", "once");
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 2)]);
}

#[test]
fn duplicates_are_still_found_by_a_new_owner() {
    let mut world = World::new();
    world.send_with_id("a +1", "once");
    world.run();
    world.take_over();
    world.send_with_id("a +1", "once");
    world.run();
    assert_eq!(world.results("a"), [(1, 1)]);
}

#[test]
fn a_new_owner_deletes_what_left_the_window_before_it_came() {
    let mut world = World::new();
    let add = |world: &mut World| {
        world.send_all(["a +1"]);
        world.run();
        world.minutes("a")
    };
    assert_eq!(add(&mut world), 1);
    world.pass(16 * MINUTE_US);
    assert_eq!(add(&mut world), 2, "the first one is kept for a minute behind the window");
    world.take_over();
    world.pass(2 * MINUTE_US);
    assert_eq!(add(&mut world), 2, "the first one is gone");
}

#[test]
fn a_refusal_is_told_and_changes_nothing() {
    let mut world = World::new();
    world.send_all(["a +1", "a refuse", "a +1"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (3, 2)]);
    assert_eq!(world.rejected("a"), [2]);
    assert_eq!(world.tally.rejected, 1);
}

#[test]
fn a_poisonous_input_is_set_aside_and_its_neighbours_go_on() {
    let mut world = World::new();
    world.send_all(["a +1", "a panic", "a terminal", "a +1"]);
    world.send_raw(Some("a"), b"\x00nonsense");
    world.send_raw(Some("a"), b"no frame");
    world.send_raw(None, b"");
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 2)]);
    assert_eq!(world.dead(), ["panic", "terminal", "unknown_schema", "undecodable", "no_subject"]);
}

#[test]
fn a_batch_ends_before_the_input_that_is_too_much_for_its_subject_in_one_frame() {
    let mut world = World::with(|settings| settings.limits.row_bytes = 2_000);
    let inputs: Vec<_> = (0..40).map(|n| format!("a pass:row {n:0200}")).collect();
    world.send_all(inputs.iter().map(String::as_str));
    world.send_all(["b +1"]);
    world.run();
    let (_, log) = world.log_of("a");
    let data: Vec<_> = log.iter().filter(|record| record.headers.count() == 0).map(|record| record.value.len()).collect();
    assert!(data.len() >= 5 && data.iter().all(|bytes| *bytes < 2_400), "{data:?}");
    world.send_all(["a first 100"]);
    world.run();
    assert_eq!(world.results("a"), [(1, (0..40).sum())], "all of them are there");
    assert_eq!((world.dead(), world.results("b")), (vec![], vec![(1, 1)]));
}

#[test]
fn inputs_that_wait_count_for_their_subjects_share_too() {
    let mut world = World::with(|settings| settings.limits.row_bytes = 3_000);
    let inputs: Vec<_> = (0..10).map(|n| format!("a need {n:0900}")).collect();
    world.send_all(["a need 1"]);
    world.send_all(inputs.iter().map(String::as_str));
    world.run();
    assert_eq!(world.parked("a"), 11);
    let (_, log) = world.log_of("a");
    assert!(log.iter().all(|record| record.value.len() < 4_500));
    world.send_all(["a pass:+100"]);
    world.run();
    world.pass(60_000_000);
    world.run();
    assert_eq!((world.parked("a"), world.results("a").len(), world.dead()), (0, 12, vec![]));
}

#[test]
fn a_decision_that_no_frame_can_hold_is_too_large_and_its_neighbours_go_on() {
    let mut world = World::with(|settings| settings.limits.row_bytes = 2_000);
    let (row, effect) = (format!("a row {:02100}", 1), format!("a effect {:02100}", 1));
    world.send_all(["a +1", &row, &effect, "a +2"]);
    world.run();
    assert_eq!(world.dead(), ["too_large", "too_large"]);
    assert_eq!(world.results("a"), [(1, 1), (2, 3)]);
}

#[test]
fn a_record_on_a_foreign_partition_is_a_dead_letter() {
    let mut world = World::new();
    world.send_to_partition("a +1", 1 - World::home("a"));
    world.run();
    assert_eq!(world.dead(), ["wrong_partition"]);
}

#[test]
fn a_new_owner_finds_the_state_of_the_old_one() {
    let mut world = World::new();
    for round in 0..5 {
        world.send_all(["a +1", "b +2", "c +3"]);
        if round % 2 == 0 {
            // committed, but the store never hears of it
            world.store_is_deaf = true;
        }
        world.run();
        world.take_over();
        world.store_is_deaf = false;
    }
    assert_eq!(world.results("a").last(), Some(&(5, 5)));
    assert_eq!(world.results("c").last(), Some(&(5, 15)));
}

#[test]
fn an_unknown_outcome_is_never_guessed() {
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.fail_next(Fault::CommitHappenedButUnknown);
    world.run();
    assert_eq!(world.restarts, 1);
    world.send_all(["a +1"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 2)]);
}

#[test]
fn a_claim_that_was_aborted_is_made_again() {
    let mut world = World::new();
    world.fail_next(Fault::Produce);
    world.take_over();
    world.send_all(["a +1"]);
    world.run();
    assert_eq!((world.aborted, world.restarts), (1, 0));
    assert_eq!(world.results("a"), [(1, 1)]);
}

#[test]
fn the_first_frame_of_a_replaced_producer_carries_its_name() {
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.run();
    let last = |world: &World| {
        let value = world.log_of("a").1.pop().unwrap().value;
        let (id, datum) = schemas::frame::split(&value).unwrap();
        if id == 12 { LogClaim::decode(datum).unwrap().writer } else { LogTrailer::decode(datum).unwrap().writer }
    };
    let first = last(&world);
    world.fail_next(Fault::Recycle);
    world.send_all(["a +2"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 1), (2, 3)]);
    assert_eq!((first, last(&world)), ([1; 8], [99; 8]));
    world.fail_next(Fault::Recycle);
    world.take_over();
    assert_eq!(last(&world), [99; 8], "a claim too");
    assert_eq!((world.aborted, world.restarts), (0, 0));
}

#[test]
fn an_owner_that_was_fenced_waits_for_the_group() {
    let mut world = World::new();
    world.send_all(["a +1"]);
    world.fail_next(Fault::Ownership);
    world.run();
    assert_eq!(world.results("a"), []);
    world.take_over();
    world.run();
    assert_eq!(world.results("a"), [(1, 1)]);
}

#[test]
fn a_broken_chain_halts_the_shard() {
    let mut world = World::new();
    for _ in 0..3 {
        world.send_all(["a +1"]);
        world.run();
    }
    let (shard, log) = world.log_of("a");
    let trailers: Vec<usize> = (0..log.len()).filter(|at| log[*at].headers.count() > 0).collect();
    let mut damaged: Vec<LogRecord> = log.clone();
    // the second frame disappears, with its data
    damaged.drain(trailers[0] + 1..=trailers[1]);
    assert!(matches!(rebuild(&shard, None, 0, &damaged), Err(Halt::Broken { .. })));
    // a frame that lost a record is ignored, and what follows does not chain
    let mut torn = log;
    torn.remove(trailers[1] - 1);
    assert!(matches!(rebuild(&shard, None, 0, &torn), Err(Halt::Broken { .. })));
}

#[test]
fn a_log_that_lost_unapplied_frames_halts_the_shard_until_an_operator_accepts_it() {
    let mut world = World::new();
    for _ in 0..2 {
        world.send_all(["a +1"]);
        world.run();
    }
    let (shard, log) = world.log_of("a");
    let first = rebuild(&shard, None, 0, &log).unwrap().tip;
    let second = log.iter().rposition(|record| record.headers.count() == 0).unwrap();
    let (start, left) = (log[second].offset, &log[second..]);
    assert_eq!(rebuild(&shard, None, start, left).unwrap_err(), Halt::Gap { start, applied: 0 });
    let accepted = LogStart { offset: start, gap_accepted: true, ..LogStart::default() };
    assert_eq!(rebuild(&shard, None, accepted, left).unwrap().tip, first);
}

#[test]
fn a_log_emptied_by_retention_goes_on_when_nothing_is_missing() {
    let mut world = World::new();
    for _ in 0..2 {
        world.send_all(["a +1"]);
        world.run();
    }
    let (shard, log) = world.log_of("a");
    let tip = rebuild(&shard, None, 0, &log).unwrap().tip;
    let mark = Mark::from(&tip);
    let emptied = |group_agrees| LogStart { offset: tip.applied + 3, group_agrees, gap_accepted: false };
    assert!(matches!(rebuild(&shard, Some(&mark), emptied(false), &[]), Err(Halt::Gap { .. })));
    assert_eq!(rebuild(&shard, Some(&mark), emptied(true), &[]).unwrap().tip, tip);
    // the frame after the mark is there: it shows that none is missing, whatever the group says
    let trailers: Vec<usize> = (0..log.len()).filter(|at| log[*at].headers.count() > 0).collect();
    let before = Mark::from(&rebuild(&shard, None, 0, &log[..=trailers[trailers.len() - 2]]).unwrap().tip);
    let second = log.iter().rposition(|record| record.headers.count() == 0).unwrap();
    assert_eq!(rebuild(&shard, Some(&before), log[second].offset, &log[second..]).unwrap().tip, tip);
}

#[test]
fn the_trailer_lists_what_was_accepted() {
    let mut world = World::new();
    world.send_with_id("a +1", "x");
    world.run();
    let (shard, log) = world.log_of("a");
    let rebuilt = rebuild(&shard, None, 0, &log).unwrap();
    let keys: Vec<_> = rebuilt.frames.iter().flat_map(|frame| &frame.dedupe).map(|row| row.keys.clone()).collect();
    assert_eq!(keys, [&EventKey::of("test", "x", None).0[..]]);
}

#[test]
fn a_full_backlog_stops_the_intake() {
    let mut world = World::new();
    world.store_is_deaf = true;
    for _ in 0..100 {
        world.send_all(["a +1"]);
        world.run();
    }
    let frames = world.backlog("a");
    assert_eq!(frames, world.settings.limits.backlog_frames);
    world.store_is_deaf = false;
    world.take_over();
    world.run();
    assert_eq!(world.results("a").len(), 100);
}

#[test]
fn a_range_shows_what_earlier_inputs_of_the_batch_did() {
    let mut world = World::new();
    world.send_all(["a row 1", "a row 2", "a row 3", "a row 4", "a row 5"]);
    world.run();
    world.take_over();
    world.store_is_deaf = true;
    world.send_all(["a row 0"]);
    world.run();
    // the first reading sees what is only in memory, the second must read on behind what was deleted meanwhile
    world.send_all(["a first 3", "a drop 1", "a drop 2", "a drop 3", "a first 2", "a row 3", "a first 3"]);
    world.run();
    let sums: Vec<i64> = world.results("a").into_iter().map(|(_, sum)| sum).collect();
    assert_eq!(sums, [1 + 2, 4, 3 + 4]);
}

#[test]
fn a_range_skips_rows_that_have_expired() {
    let mut world = World::new();
    world.send_all(["a brief 1", "a brief 2", "a row 3", "a first 2"]);
    world.run();
    world.pass(60_000);
    world.take_over();
    world.send_all(["a first 2"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 3), (2, 3)]);
}

#[test]
fn a_row_of_an_older_schema_is_read_with_the_present_one() {
    let mut world = World::new();
    world.send_all(["a +41", "a brief 73", "a row 92"]);
    world.run();
    // the new version has dropped the first digit
    world.upgrade_rows();
    world.send_all(["a +1", "a first 2"]);
    world.run();
    assert_eq!(world.results("a"), [(1, 41), (2, 1 + 1), (3, 3 + 2)]);
    assert_eq!(world.dead(), [""; 0]);
}
