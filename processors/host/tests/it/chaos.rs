//! Processes are killed and stopped under load; every event still has one effect.
//!
//! A few rounds run with all tests. `FOREBAY_CHAOS_ROUNDS=20 cargo test -p host --test it chaos -- --nocapture` runs more of
//! each (at 20: 400 kills and 20 pauses of each kind) and prints what happened.

pub(crate) mod fleet;

use std::time::{Duration, Instant};

use self::fleet::Fleet;

/// Longer than a session (6 s) and a transaction (5 s) of the fleet.
const PAUSE: Duration = Duration::from_secs(9);

/// How often each scenario is repeated.
pub(crate) fn rounds() -> usize {
    std::env::var("FOREBAY_CHAOS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_any_of_three_processes_cost_no_event_and_double_none() {
    let mut fleet = Fleet::start("kills", 3).await;
    for kill in 0..20 * rounds() {
        // after a number of events taken up, not of seconds: a slow machine is hit as often, and always amid work
        let results = fleet.results().await;
        fleet.depart(60).await;
        fleet.await_results(results + 20).await;
        fleet.kill(kill * 7 % 3);
        fleet.depart(30).await;
        fleet.restart(kill * 7 % 3);
        fleet.progress();
    }
    fleet.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_for_longer_than_its_session_commits_nothing_when_it_wakes() {
    let mut fleet = Fleet::start("zombies", 2).await;
    for round in 0..rounds() {
        let (sleeper, other) = (round % 2, (round + 1) % 2);
        fleet.depart(100).await;
        fleet.pause(sleeper);
        let begun = Instant::now();
        let results = fleet.results().await;
        // the other one takes everything over
        fleet.depart_until(|| begun.elapsed() > PAUSE).await;
        fleet.await_results(results + 200).await;
        fleet.resume(sleeper);
        fleet.depart(200).await;
        // and the sleeper takes part again
        fleet.pause(other);
        let begun = Instant::now();
        let results = fleet.results().await;
        fleet.depart_until(|| begun.elapsed() > PAUSE).await;
        fleet.await_results(results + 100).await;
        fleet.resume(other);
        fleet.progress();
    }
    fleet.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_join_and_leave_all_the_time_keep_the_others_working() {
    let mut fleet = Fleet::start("storm", 2).await;
    for _ in 0..4 * rounds() {
        let results = fleet.results().await;
        let guest = fleet.join().await;
        fleet.depart(100).await;
        fleet.await_results(results + 50).await;
        fleet.leave(guest).await;
        fleet.depart(50).await;
        fleet.progress();
    }
    fleet.check().await;
}
