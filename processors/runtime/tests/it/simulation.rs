//! The protocol under a scheduler that means it no good.
//!
//! `docs/simulation.md` says what is simulated and how a failing seed is replayed.

mod applier;
mod clients;
mod hands;
mod history;
mod kafka;
mod lists;
mod oracle;
mod plan;
mod random;
mod receipts;
mod report;
mod store;
mod target;
mod views;
mod workload;
mod world;

use std::pin::Pin;
use std::task::Poll;

use self::plan::{MUTANTS, Plan};
use self::report::{number, run, run_all};

/// Seeds of the whole protocol in every run of the tests.
const SEEDS: u64 = 2_000;
/// Seeds per mutant at the most; the first that breaks is enough.
const SEEDS_PER_MUTANT: u64 = 3_000;

/// The scheduler's turn: everybody else may act before the caller goes on.
async fn turn() {
    let mut begun = false;
    std::future::poll_fn(|context| {
        // who joins many futures polls those that were woken
        context.waker().wake_by_ref();
        if std::mem::replace(&mut begun, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Lets `future` go on as far as it can now.
async fn polled<T>(mut future: Pin<&mut (dyn Future<Output = T> + '_)>) -> Option<T> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn without_faults_one_worker_does_it_all() {
    for seed in 0..20 {
        let plan = Plan { told: true, ..Plan::peaceful(seed) };
        let outcome = run(plan.clone());
        assert!(outcome.violations.is_empty(), "{}", report::story(&plan, &outcome));
        assert_eq!(outcome.counts.processes, 1);
    }
}

/// `SIM_SEEDS` and `SIM_FIRST` choose how many seeds, and from where.
#[test]
fn no_seed_breaks_a_promise() {
    let report = run_all(number("SIM_FIRST", 0), number("SIM_SEEDS", SEEDS), None, false);
    println!("{report}");
    assert_eq!(report.violating, 0, "{}", report.first_story());
}

/// `SIM_TABLE=300` tries that many seeds of every mutant and prints the table of the documentation; `SIM_WITHOUT` picks
/// one of them.
#[test]
fn every_rule_is_needed() {
    let table = number("SIM_TABLE", 0);
    let only = std::env::var("SIM_WITHOUT").ok();
    for (name, mutant) in MUTANTS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
        let seeds = if table > 0 { table } else { SEEDS_PER_MUTANT };
        let report = run_all(0, seeds, Some(*mutant), table == 0);
        println!("{}", report.row(name));
        assert!(report.violating > 0, "nothing breaks without {name} in {seeds} seeds");
    }
}

/// `SIM_SEED` (and `SIM_WITHOUT`) choose the run whose whole history is printed.
#[test]
fn a_seed_replays_exactly() {
    let mutant = std::env::var("SIM_WITHOUT").ok().map(|name| plan::mutant(&name));
    let plan = Plan { told: true, ..Plan::new(number("SIM_SEED", 1), mutant) };
    let outcome = run(plan.clone());
    println!("{}", report::story(&plan, &outcome));
    let again = run(plan);
    assert!(outcome.history == again.history, "the same seed had another history");
    assert_eq!(outcome.violations, again.violations);
    assert!(mutant.is_some() || outcome.violations.is_empty(), "the seed breaks a promise: {:?}", outcome.violations);
}
