//! Settings of streams and event types that are one of a few.

use serde::Deserialize;

/// How much record headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderStyle {
    /// All attributes of the CloudEvents Kafka binding.
    #[default]
    CloudEvents,
    /// Only what cannot be derived.
    Compact,
}

/// Whether a request must say how a retry is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdempotencyKey {
    /// A fresh id is made when there is none.
    #[default]
    Optional,
    /// The header, or an explicit id on every event.
    Required,
}

/// What happens to fields the schema does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// The event is invalid.
    #[default]
    Reject,
    /// They are dropped and counted.
    Ignore,
}

/// What a retry does to later events of its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// They wait behind it.
    #[default]
    Strict,
    /// They pass.
    Relaxed,
}

/// How an event is tried again whose processor says so. Attempt k waits a random part of min(cap, base · factor^(k−1)).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Longest wait after the first attempt, ms; 1–86,400,000.
    pub base_ms: u64,
    /// Growth per attempt, 1–10.
    pub factor: f64,
    /// No wait is longer, ms; `base_ms`–86,400,000.
    pub cap_ms: u64,
    /// Attempts before it is a dead letter, the first one included; 1–1,000.
    pub attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { base_ms: 1_000, factor: 2.0, cap_ms: 300_000, attempts: 10 }
    }
}

impl Retry {
    /// What is out of bounds.
    pub(super) fn check(&self) -> Result<(), String> {
        let day = 24 * 60 * 60 * 1_000;
        let fits = (1..=day).contains(&self.base_ms)
            && (self.base_ms..=day).contains(&self.cap_ms)
            && (1.0..=10.0).contains(&self.factor)
            && (1..=1_000).contains(&self.attempts);
        let sentence = || format!("`retry` needs 1 ≤ base_ms ≤ cap_ms ≤ {day}, 1 ≤ factor ≤ 10 and 1 ≤ attempts ≤ 1000");
        fits.then_some(()).ok_or_else(sentence)
    }
}

/// How an effect of the stream's processor is attempted; in the place of what its code says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectRules {
    /// Its name, as the processor's code knows it.
    pub name: String,
    /// Effects of one target share its places and its breaker. Default: the effect's name.
    #[serde(default)]
    pub target: Option<String>,
    /// Attempts at the target that a worker makes at a time; 1–64.
    #[serde(default = "places")]
    pub concurrency: usize,
    /// Of these, attempts with the same concurrency key; 1–64.
    #[serde(default = "places")]
    pub per_key: usize,
    /// How long an attempt may take, and 5 s; after it another owner may try. 6–3,600.
    #[serde(default = "lease_s")]
    pub lease_s: u64,
    /// Backoff and number of attempts.
    #[serde(default)]
    pub retry: Retry,
    /// Whether the target is left alone for a while when it keeps failing.
    #[serde(default = "yes")]
    pub breaker: bool,
}

fn places() -> usize {
    EffectRules::PLACES_MAX
}

fn lease_s() -> u64 {
    35
}

fn yes() -> bool {
    true
}

impl EffectRules {
    /// Attempts that a worker makes at a time, at the most.
    pub const PLACES_MAX: usize = 64;

    /// What is out of bounds.
    pub(super) fn check(&self) -> Result<(), String> {
        self.retry.check()?;
        let places = 1..=Self::PLACES_MAX;
        if self.name.is_empty() || !places.contains(&self.concurrency) || !places.contains(&self.per_key) {
            return Err(format!("`name` must not be empty, `concurrency` and `per_key` are 1 to {}", Self::PLACES_MAX));
        }
        (6..=3_600).contains(&self.lease_s).then_some(()).ok_or_else(|| "`lease_s` is 6 to 3600".to_owned())
    }
}

/// Which events leave a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tracking {
    /// All.
    #[default]
    All,
    /// Failures, retries and rejections.
    Failures,
    /// None.
    None,
}

/// Where the edge may keep an event while the log is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Only the log counts.
    #[default]
    Log,
    /// On the edge's disk, when the caller agrees.
    LocalAllowed,
    /// On the edge's disk.
    LocalAlways,
}

/// Bounds of a route, where they differ from the edge's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Decoded body, bytes.
    pub body: Option<u64>,
    /// Encoded datum, bytes.
    pub event: Option<u64>,
    /// Events per request.
    pub batch: Option<u64>,
}

/// Where a newly followed stream starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FollowStart {
    /// With the oldest result kept.
    #[default]
    Earliest,
    /// With the next one.
    Latest,
}
