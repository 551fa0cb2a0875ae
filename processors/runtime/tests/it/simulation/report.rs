//! Many seeds on all cores, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::plan::{MUTANTS, Mutant, Plan};
use super::world::{self, Counts, Outcome};

/// Kinds of violations a line names, the most frequent first.
const KINDS_TOLD: usize = 5;

/// A number from the environment.
pub(super) fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

/// Runs one plan on this thread.
pub(super) fn run(plan: Plan) -> Outcome {
    // readers of views ask for a timer; its time never comes
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = clock.enter();
    world::run(plan)
}

/// What came of many seeds.
#[derive(Default)]
pub(super) struct Report {
    pub(super) seeds: u64,
    pub(super) violating: u64,
    kinds: BTreeMap<&'static str, u64>,
    counts: Counts,
    took: Duration,
    first: Option<u64>,
    mutant: Option<Mutant>,
}

impl Report {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.counts = self.counts + outcome.counts;
        if outcome.violations.is_empty() {
            return;
        }
        self.violating += 1;
        self.first = Some(self.first.map_or(seed, |first| first.min(seed)));
        for kind in outcome.violations.keys() {
            *self.kinds.entry(kind).or_default() += 1;
        }
    }

    fn kinds(&self) -> String {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        kinds.iter().take(KINDS_TOLD).map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// A row of the table of mutants.
    pub(super) fn row(&self, name: &str) -> String {
        let first = self.first.map_or("–".into(), |first| first.to_string());
        format!("| {name} | {} | {} | {first} | {} |", self.seeds, self.violating, self.kinds())
    }

    /// The story of the first seed that broke a promise.
    pub(super) fn first_story(&self) -> String {
        let Some(seed) = self.first else { return String::new() };
        let plan = Plan { told: true, ..Plan::new(seed, self.mutant) };
        story(&plan, &run(plan.clone()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { processes, rebalances, transactions, frames, views, receipts, lists, steps } = self.counts;
        let each = |count: u64| count as f64 / self.seeds.max(1) as f64;
        write!(
            f,
            "{} seeds, {} violating ({}), in {:.1} s ({:.0} per second); per seed {:.1} processes, {:.1} generations, \
             {:.1} transactions, {:.1} frames, {:.0} views, {:.0} receipts, {:.0} lists, {:.0} steps",
            self.seeds,
            self.violating,
            self.kinds(),
            self.took.as_secs_f64(),
            self.seeds as f64 / self.took.as_secs_f64().max(0.001),
            each(processes),
            each(rebalances),
            each(transactions),
            each(frames),
            each(views),
            each(receipts),
            each(lists),
            each(steps),
        )
    }
}

/// What to read, and what to type, when a seed broke a promise.
pub(super) fn story(plan: &Plan, outcome: &Outcome) -> String {
    let violations = outcome.violations.iter().map(|(kind, what)| format!("{kind}: {what}"));
    let without =
        MUTANTS.iter().find(|(_, mutant)| plan.lacks(*mutant)).map_or(String::new(), |(name, _)| format!("SIM_WITHOUT={name} "));
    format!(
        "{}\nseed {}, {} violations\n{}\nagain: SIM_SEED={} {without}cargo test -p runtime --test it simulation::a_seed -- --nocapture",
        outcome.history.join("\n"),
        plan.seed,
        outcome.violations.len(),
        violations.collect::<Vec<_>>().join("\n"),
        plan.seed,
    )
}

/// Runs seeds on every core; with `one_is_enough` only until the first that breaks.
pub(super) fn run_all(first: u64, seeds: u64, mutant: Option<Mutant>, one_is_enough: bool) -> Report {
    let began = Instant::now();
    let report = Mutex::new(Report { mutant, ..Report::default() });
    let (next, done) = (AtomicU64::new(first), AtomicBool::new(false));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let outcome = outcome_of(seed, mutant);
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.add(seed, &outcome);
                    if one_is_enough && report.violating > 0 {
                        done.store(true, Ordering::Relaxed);
                    }
                    if report.seeds.is_multiple_of(5_000) {
                        report.took = began.elapsed();
                        println!("{report}");
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.took = began.elapsed();
    report
}

/// A run that panics broke something as well.
fn outcome_of(seed: u64, mutant: Option<Mutant>) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(Plan::new(seed, mutant)))).unwrap_or_else(|_| Outcome {
        violations: [("panic", "the run panicked".to_owned())].into(),
        history: Vec::new(),
        counts: Counts::default(),
    })
}
