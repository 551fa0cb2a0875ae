//! What events ask for, and what must come of each.

use crate::simulation::random::Random;

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Op {
    /// Folds itself into the subject's state.
    Add,
    /// The same twice, with two results.
    Two,
    /// Deletes the state.
    Delete,
    /// Sets a second row that lives for a while, and leaves the state alone.
    Child,
    /// Is fine and changes nothing.
    Unchanged,
    Refuse,
    /// Sets a timer.
    Timer,
    /// Clears the oldest timer of the subject.
    Clear,
    /// Starts an effect.
    Effect,
    /// Cancels the oldest open effect of the subject.
    Cancel,
    /// Sends two events to other subjects.
    Send,
    /// One of these.
    Relay,
    /// Sends an event to another stream.
    Mail,
    /// Sends itself on and on, until it has gone too far.
    Ring,
    /// Sets a row of a range.
    Item,
    /// Deletes one.
    Drop,
    /// Looks at the range.
    List,
    /// Folds itself into a row of its shard, and looks at others there.
    Count,
    /// Tells every shard.
    Broadcast,
    /// What a shard is told.
    Hear,
    /// Sets a timer of its shard.
    Arrange,
    /// Is tried again for a while; later ones wait behind it.
    Flaky,
    /// Is tried again for a while; later ones pass.
    Loose,
    /// Is tried again until the subject has no timer: those pass it.
    Wait,
    /// Is tried again in vain.
    Never,
    Terminal,
    Panic,
    /// Ends the process.
    Killer,
    /// Value without a frame.
    Unframed,
    /// Schema nobody knows.
    UnknownSchema,
    /// Datum that cannot be read.
    BadDatum,
    /// On a partition its key does not name.
    Foreign,
    /// Without a key.
    NoSubject,
}

impl Op {
    const WEIGHTED: &[(Self, usize)] = &[
        (Self::Add, 30),
        (Self::Two, 8),
        (Self::Delete, 14),
        (Self::Child, 14),
        (Self::Unchanged, 6),
        (Self::Refuse, 8),
        (Self::Timer, 22),
        (Self::Clear, 8),
        (Self::Effect, 16),
        (Self::Cancel, 5),
        (Self::Send, 12),
        (Self::Mail, 8),
        (Self::Ring, 1),
        (Self::Item, 14),
        (Self::Drop, 6),
        (Self::List, 10),
        (Self::Count, 12),
        (Self::Broadcast, 6),
        (Self::Arrange, 4),
        (Self::Flaky, 10),
        (Self::Loose, 8),
        (Self::Wait, 6),
        (Self::Never, 3),
        (Self::Terminal, 3),
        (Self::Panic, 3),
        (Self::Killer, 1),
        (Self::Unframed, 2),
        (Self::UnknownSchema, 2),
        (Self::BadDatum, 2),
        (Self::Foreign, 2),
        (Self::NoSubject, 2),
    ];

    pub(super) fn random(random: &mut Random) -> Self {
        let mut at = random.below(Self::WEIGHTED.iter().map(|(_, weight)| weight).sum());
        for (op, weight) in Self::WEIGHTED {
            if at < *weight {
                return *op;
            }
            at -= weight;
        }
        Self::Add
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Two => "two",
            Self::Delete => "delete",
            Self::Child => "child",
            Self::Unchanged => "unchanged",
            Self::Refuse => "refuse",
            Self::Timer => "timer",
            Self::Clear => "clear",
            Self::Effect => "effect",
            Self::Cancel => "cancel",
            Self::Send => "send",
            Self::Relay => "relay",
            Self::Mail => "mail",
            Self::Ring => "ring",
            Self::Item => "item",
            Self::Drop => "drop",
            Self::List => "list",
            Self::Count => "count",
            Self::Broadcast => "broadcast",
            Self::Hear => "hear",
            Self::Arrange => "arrange",
            Self::Flaky | Self::Loose => "flaky",
            Self::Wait => "wait",
            Self::Never => "never",
            Self::Terminal => "terminal",
            Self::Panic => "panic",
            Self::Killer => "killer",
            Self::Unframed | Self::UnknownSchema | Self::BadDatum | Self::Foreign | Self::NoSubject => "poison",
        }
    }

    /// Its event type, which says whether later ones wait and how often it is tried.
    pub(in crate::simulation) fn event_type(self) -> &'static str {
        match self {
            Self::Loose => "chain.pass",
            Self::Never => "chain.brief",
            _ => "chain.do",
        }
    }

    /// Results it has.
    pub(in crate::simulation) fn results(self) -> usize {
        match self {
            Self::Add | Self::Delete | Self::Child | Self::Refuse | Self::Timer | Self::Clear => 1,
            Self::Send | Self::Relay | Self::Ring | Self::Item | Self::Drop | Self::List => 1,
            Self::Mail | Self::Count | Self::Broadcast | Self::Arrange => 1,
            Self::Effect | Self::Cancel | Self::Flaky | Self::Loose | Self::Wait => 1,
            Self::Two => 2,
            _ => 0,
        }
    }

    /// Reason of its dead letter.
    pub(in crate::simulation) fn dead(self) -> Option<&'static str> {
        match self {
            Self::Terminal => Some("terminal"),
            Self::Never => Some("retries_exhausted"),
            Self::Panic => Some("panic"),
            Self::Killer => Some("crash"),
            Self::Unframed | Self::BadDatum => Some("undecodable"),
            Self::UnknownSchema => Some("unknown_schema"),
            Self::Foreign => Some("wrong_partition"),
            Self::NoSubject => Some("no_subject"),
            _ => None,
        }
    }
}
