use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::verdict::Position;

fn key(n: u8) -> EventKey {
    EventKey([n; 16])
}

fn at(offset: i64) -> Position {
    Position { partition: 1, offset }
}

#[test]
fn a_settled_key_is_a_duplicate_with_the_first_position() {
    let window: Window<Position> = Window::new(100, 1_000);
    assert_eq!(window.claim(key(1), 7, 0), Claim::New);
    assert_eq!(window.claim(key(1), 7, 1), Claim::InFlight);
    window.settle(key(1), at(5), 2);
    assert_eq!(window.claim(key(1), 7, 3), Claim::Duplicate { first: at(5), seen_ms: 2 });
    assert_eq!(window.claim(key(1), 8, 3), Claim::Reused);
}

#[test]
fn a_released_key_is_new_again() {
    let window: Window<Position> = Window::new(100, 1_000);
    assert_eq!(window.claim(key(1), 7, 0), Claim::New);
    window.release(key(1));
    assert_eq!(window.claim(key(1), 9, 1), Claim::New);
}

#[test]
fn a_settled_key_cannot_be_released() {
    let window: Window<Position> = Window::new(100, 1_000);
    window.claim(key(1), 7, 0);
    window.settle(key(1), at(5), 2);
    window.release(key(1));
    assert_eq!(window.claim(key(1), 7, 3), Claim::Duplicate { first: at(5), seen_ms: 2 });
}

#[test]
fn keys_are_forgotten_after_their_age() {
    let window: Window<Position> = Window::new(100, 1_000);
    window.claim(key(1), 7, 0);
    window.settle(key(1), at(5), 10);
    assert_eq!(window.claim(key(1), 7, 1_010), Claim::Duplicate { first: at(5), seen_ms: 10 });
    assert_eq!(window.claim(key(1), 7, 1_011), Claim::New);
}

#[test]
fn a_full_window_forgets_the_oldest_but_never_one_in_flight() {
    let window: Window<Position> = Window::new(1, 1_000_000);
    // Same first byte, so the same shard, which holds one settled key.
    let [a, b, c] = [0u8, 1, 2].map(|n| {
        let mut bytes = [9; 16];
        bytes[15] = n;
        EventKey(bytes)
    });
    window.claim(a, 0, 0);
    window.claim(b, 0, 0);
    window.claim(c, 0, 0);
    assert_eq!(window.settle(b, at(1), 1), 0);
    assert_eq!(window.settle(c, at(2), 2), 1);
    assert_eq!(window.claim(a, 0, 3), Claim::InFlight);
    assert_eq!(window.claim(b, 0, 3), Claim::New);
    assert!(matches!(window.claim(c, 0, 3), Claim::Duplicate { .. }));
    assert_eq!(window.len(), 3);
}

#[derive(Clone, Debug)]
enum Step {
    Claim(u8, u64),
    Settle(u8),
    Release(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, 0..2u64).prop_map(|(key, print)| Step::Claim(key, print)),
        (0..6u8).prop_map(Step::Settle),
        (0..6u8).prop_map(Step::Release),
    ]
}

proptest! {
    #[test]
    fn duplicate_is_only_said_of_an_acknowledged_event_with_the_same_content(
        steps in proptest::collection::vec(step(), 0..200),
        entries in 1..400usize,
        age in 1..300i64,
    ) {
        let window: Window<Position> = Window::new(entries, age);
        // What was really sent, and what was really acknowledged.
        let mut in_flight: HashMap<u8, u64> = HashMap::new();
        let mut acknowledged: HashMap<(u8, u64), Vec<i64>> = HashMap::new();
        for (now, step) in steps.into_iter().enumerate() {
            let now = i64::try_from(now).unwrap();
            match step {
                Step::Claim(n, print) => match window.claim(key(n), print, now) {
                    Claim::New => prop_assert!(in_flight.insert(n, print).is_none(), "two requests send one key at once"),
                    Claim::InFlight => prop_assert!(in_flight.contains_key(&n)),
                    Claim::Duplicate { first, .. } => {
                        let offsets = acknowledged.get(&(n, print));
                        prop_assert!(offsets.is_some_and(|offsets| offsets.contains(&first.offset)));
                    }
                    Claim::Reused => prop_assert!(acknowledged.contains_key(&(n, 1 - print))),
                },
                Step::Settle(n) => {
                    if let Some(print) = in_flight.remove(&n) {
                        window.settle(key(n), at(now), now);
                        acknowledged.entry((n, print)).or_default().push(now);
                    }
                }
                Step::Release(n) => {
                    if in_flight.remove(&n).is_some() {
                        window.release(key(n));
                    }
                }
            }
        }
    }
}
