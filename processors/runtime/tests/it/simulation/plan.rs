//! What a run is made of: its seed, the rule that is missing, and what may go wrong.

use std::sync::Arc;

use runtime::engine::rules::{Rule, Rules};

use super::random::Random;

/// A protocol without one of its rules. Every one of them must be caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// A rule of the engine.
    Without(Rule),
    /// F1: positions are sent without generation and member.
    NoGeneration,
    /// F2: generation and member are asked for when positions are sent.
    GenerationAtCommit,
    /// F4: a producer whose EndTxn may have a copy on its way is kept.
    NoRecycle,
    /// F5: an error of commit counts as an abort.
    UnknownIsAbort,
    /// F11: recovery reads to the last stable offset it finds.
    NoBarrier,
    /// F11, F13: and starts at the group's offsets.
    GroupOffsets,
    /// Positions are sent before the records are acknowledged.
    PositionsBeforeDrain,
    /// S1: rows carry the clock of whoever writes them.
    WallClock,
    /// S2: replicas acknowledge what they have not synced.
    AckBeforeSync,
    /// S8: a delete leaves nothing behind.
    NoTombstones,
    /// The final-view rule is not asked.
    AnyView,
    /// The final-view rule with the watermark read behind the rows.
    MarkAfterRows,
}

/// All of them, with the names they are told by.
pub(super) const MUTANTS: [(&str, Mutant); 30] = [
    ("F1", Mutant::NoGeneration),
    ("F2", Mutant::GenerationAtCommit),
    ("F4", Mutant::NoRecycle),
    ("F5", Mutant::UnknownIsAbort),
    ("F11", Mutant::NoBarrier),
    ("F13", Mutant::GroupOffsets),
    ("drain", Mutant::PositionsBeforeDrain),
    ("S1", Mutant::WallClock),
    ("S2", Mutant::AckBeforeSync),
    ("S8", Mutant::NoTombstones),
    ("view", Mutant::AnyView),
    ("view-mark-first", Mutant::MarkAfterRows),
    ("rising-time", Mutant::Without(Rule::RisingTime)),
    ("nothing-dirty", Mutant::Without(Rule::NothingDirty)),
    ("apply-after-commit", Mutant::Without(Rule::ApplyAfterCommit)),
    ("mark-after-acks", Mutant::Without(Rule::MarkAfterAcks)),
    ("pinned-until-acked", Mutant::Without(Rule::PinnedUntilAcked)),
    ("stored-window", Mutant::Without(Rule::StoredWindow)),
    ("trailer-always", Mutant::Without(Rule::TrailerAlways)),
    ("positions-always", Mutant::Without(Rule::PositionsAlways)),
    ("drained-reach", Mutant::Without(Rule::DrainedReach)),
    ("low-floor", Mutant::Without(Rule::LowFloor)),
    ("item-goes-with-firing", Mutant::Without(Rule::ItemGoesWithFiring)),
    ("followed-positions", Mutant::Without(Rule::FollowedPositions)),
    ("durable-hold", Mutant::Without(Rule::DurableHold)),
    ("timers-pass-holds", Mutant::Without(Rule::TimersPassHolds)),
    ("pending-ends-with-assignment", Mutant::Without(Rule::PendingEndsWithAssignment)),
    ("attempt-after-commit", Mutant::Without(Rule::AttemptAfterCommit)),
    ("outcome-of-its-attempt", Mutant::Without(Rule::OutcomeOfItsAttempt)),
    ("shard-rows-read", Mutant::Without(Rule::ShardRowsRead)),
];

/// Rates of what goes wrong, per step or per call. Zero is never.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) kill: f64,
    /// A process stops for longer than any time-out and goes on as if nothing had happened.
    pub(super) zombie: f64,
    pub(super) rebalance: f64,
    /// Nobody is there for longer than the dedupe window.
    pub(super) outage: f64,
    pub(super) transaction_timeout: f64,
    /// A delivery fails, or an abortable error comes.
    pub(super) abort: f64,
    /// The outcome of a commit is not told.
    pub(super) unknown: f64,
    /// EndTxn is sent twice, and the copy comes whenever it likes.
    pub(super) copies: f64,
    pub(super) loss: f64,
    pub(super) store_timeout: f64,
    pub(super) replica_restart: f64,
    /// The store stops answering for a while.
    pub(super) store_down: f64,
    /// Time passes at once.
    pub(super) clock_jump: f64,
    /// A call of a target never ends.
    pub(super) hang: f64,
    /// It is refused, for now or for good.
    pub(super) refused: f64,
    /// Messages to replicas that arrive per step: few make the store slow.
    pub(super) store_speed: usize,
    /// Own clocks are off by at most this, µs.
    pub(super) skew_us: i64,
}

impl Faults {
    /// Each kind is there in most runs, not in all: some faults hide others.
    fn some(random: &mut Random) -> Self {
        let store_speed = 1 + random.below(4);
        let mut maybe = |rate: f64| if random.chance(0.8) { rate } else { 0.0 };
        Self {
            kill: maybe(0.003),
            zombie: maybe(0.004),
            rebalance: maybe(0.004),
            outage: maybe(0.0003),
            transaction_timeout: maybe(0.0012),
            abort: maybe(0.05),
            unknown: maybe(0.03),
            copies: maybe(0.3),
            loss: maybe(0.2),
            store_timeout: maybe(0.02),
            replica_restart: maybe(0.003),
            store_down: maybe(0.0015),
            clock_jump: maybe(0.002),
            hang: maybe(0.15),
            refused: maybe(0.4),
            store_speed,
            skew_us: if maybe(1.0) > 0.0 { 20_000_000 } else { 0 },
        }
    }

    /// What stays when faults end.
    pub(super) fn calm(&self) -> Self {
        Self { loss: self.loss, store_speed: 4, skew_us: self.skew_us, ..Self::default() }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) mutant: Option<Mutant>,
    pub(super) faults: Faults,
    /// Steps with faults; afterwards everything must come to its end.
    pub(super) chaos: usize,
    pub(super) rules: Rules,
    /// Whether the history is kept.
    pub(super) told: bool,
}

impl Plan {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let faults = Faults::some(&mut Random::new(seed ^ 0xfa17));
        Self { seed, mutant, faults, chaos: 2_000, rules: rules(mutant), told: false }
    }

    /// No faults and one worker.
    pub(super) fn peaceful(seed: u64) -> Self {
        Self { faults: Faults { store_speed: 4, ..Faults::default() }, chaos: 0, ..Self::new(seed, None) }
    }

    pub(super) fn lacks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the simulation")]
fn rules(mutant: Option<Mutant>) -> Rules {
    match mutant {
        Some(Mutant::Without(rule)) => Rules::without(rule),
        _ => Rules::all(),
    }
}

/// The mutant of this name.
pub(super) fn mutant(name: &str) -> Mutant {
    let found = MUTANTS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("there is no {name}, but {:?}", MUTANTS.map(|(known, _)| known))).1
}

/// The stream's name, once.
pub(super) fn stream() -> Arc<str> {
    "chains".into()
}
