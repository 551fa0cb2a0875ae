//! What an audit found, and what it looked at.

use std::collections::BTreeMap;

use serde::Serialize;

/// What is checked; the numbers are those of `docs/operating.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Check {
    /// Every event below the positions took effect once, is a duplicate, or is a dead letter.
    C1,
    /// Results are dense per subject and come from accepted inputs.
    C2,
    /// The frames of the log are whole and chain.
    C3,
    /// The store holds the last image of everything in the log, and nothing else.
    C4,
    /// The group's offsets are the positions of the last trailer.
    C5,
    /// Work moves: nothing is overdue, held or halted for good.
    C7,
    /// No transaction hangs: the stable end of every topic reaches its end.
    C8,
    /// What is told of an event agrees with log, results and dead letters.
    C9,
}

impl Check {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [Self::C1, Self::C2, Self::C3, Self::C4, Self::C5, Self::C7, Self::C8, Self::C9];

    /// A few words for a report.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::C1 => "events accounted for once",
            Self::C2 => "results dense, causes known",
            Self::C3 => "log whole and chained",
            Self::C4 => "store equals log",
            Self::C5 => "group offsets",
            Self::C7 => "progress",
            Self::C8 => "no hanging transaction",
            Self::C9 => "lifecycle told truly",
        }
    }
}

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// Which shard.
    pub shard: i32,
    /// Topic the offset counts in, without prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Where in the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Which subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Time of the frame it is about, µs since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<i64>,
    /// What is wrong.
    pub what: String,
}

impl Finding {
    /// A finding of `shard` without a place yet.
    #[must_use]
    pub fn new(check: Check, shard: i32, what: impl Into<String>) -> Self {
        Self { check, shard, topic: None, offset: None, subject: None, ts: None, what: what.into() }
    }

    /// The same, at a record.
    #[must_use]
    pub fn at(mut self, topic: &str, offset: i64) -> Self {
        self.topic = Some(topic.to_owned());
        self.offset = Some(offset);
        self
    }

    /// The same, about a subject.
    #[must_use]
    pub fn of(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// The same, about the frame of that time (µs).
    #[must_use]
    pub fn frame(mut self, ts: i64) -> Self {
        self.ts = Some(ts);
        self
    }
}

/// Findings up to a bound per check; what is over it is counted.
#[derive(Debug)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    counts: BTreeMap<Check, u64>,
    max: u64,
    /// A second reading of the same records tells nothing twice.
    pub(crate) muted: bool,
}

impl Findings {
    pub(crate) fn new(max: u64) -> Self {
        Self { list: Vec::new(), counts: BTreeMap::new(), max, muted: false }
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.muted {
            return;
        }
        let count = self.counts.entry(finding.check).or_default();
        *count += 1;
        if *count <= self.max {
            self.list.push(finding);
        }
    }

    /// Takes over what another list has.
    pub(crate) fn append(&mut self, other: Self) {
        let mut counts = other.counts;
        for finding in other.list {
            if let Some(count) = counts.get_mut(&finding.check) {
                *count -= 1;
            }
            self.add(finding);
        }
        for (check, count) in counts {
            *self.counts.entry(check).or_default() += count;
        }
    }

    pub(crate) fn finish(mut self) -> (Vec<Finding>, BTreeMap<Check, u64>) {
        self.list.sort_by_key(|finding| (finding.check, finding.shard));
        (self.list, self.counts)
    }
}

/// What was looked at in one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Number of the last frame.
    pub last_frame: i64,
    /// Frames read.
    pub frames: u64,
    /// Rows whose last image was compared with the store.
    pub rows: u64,
    /// Agenda items compared.
    pub items: u64,
    /// Status entries compared.
    pub status: u64,
    /// Keys of the dedupe window compared.
    pub window: u64,
    /// Events accounted for.
    pub events: u64,
    /// Of these, duplicates.
    pub duplicates: u64,
    /// Results read.
    pub results: u64,
    /// Dead letters read.
    pub dead: u64,
    /// Lifecycles asked for.
    pub receipts: u64,
    /// Events behind the position.
    pub lag: i64,
    /// Rows and items that were changed while the audit ran, or that the mark does not cover.
    pub moved: u64,
}

impl Counts {
    /// Adds what another shard has; `last_frame` is added too.
    pub fn add(&mut self, other: &Self) {
        self.last_frame += other.last_frame;
        self.frames += other.frames;
        self.rows += other.rows;
        self.items += other.items;
        self.status += other.status;
        self.window += other.window;
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.results += other.results;
        self.dead += other.dead;
        self.receipts += other.receipts;
        self.lag += other.lag;
        self.moved += other.moved;
    }
}

/// The outcome of an audit.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which stream.
    pub stream: String,
    /// `live` or `stopped`.
    pub mode: String,
    /// Kind of the store that was compared; `None` when the log was audited alone.
    pub store: Option<String>,
    /// What was looked at, by shard.
    pub shards: BTreeMap<i32, Counts>,
    /// What is wrong; at most `findings_max` of each check.
    pub findings: Vec<Finding>,
    /// How many findings there are of each check, those over the bound included.
    pub found: BTreeMap<Check, u64>,
    /// What could not be checked, and why.
    pub skipped: Vec<String>,
    /// One of how many parts of subjects and keys was looked at.
    pub sample: u32,
    /// How often the topics were read for the keys to fit into memory.
    pub passes: u32,
    /// Most keys (rows, items, status entries, event keys) held at once.
    pub keys_held: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// True when nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found.values().all(|count| *count == 0)
    }

    /// All shards together.
    #[must_use]
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.shards.values().for_each(|counts| total.add(counts));
        total
    }
}
