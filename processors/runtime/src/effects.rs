//! Work outside the transaction: functions that a processor starts by name, and the engine calls until one outcome is
//! recorded. A target may be called more than once; the id of an effect is the same in every attempt.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use schemas::catalog::{EffectRules, Retry};

use crate::http::Client;

/// Bytes of an argument, and of an outcome, at the most.
pub const EFFECT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a concurrency key at the most.
pub const EFFECT_KEY_MAX: usize = 128;
/// Effects of one subject that are open at a time.
pub const EFFECTS_PER_SUBJECT_MAX: usize = 64;
/// A target may put an attempt off by this much.
pub const LATER_MAX: Duration = Duration::from_secs(3_600);
/// An attempt ends this long before its lease does.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// One attempt, as the function sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The same in every attempt: the idempotency key for the target.
    pub id: String,
    /// What the processor gave along.
    pub argument: Bytes,
    /// 1 for the first.
    pub attempt: i32,
    /// What [`Call::send`] uses.
    pub http: Client,
}

/// Why an attempt brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Again later, while attempts are left.
    #[error("{0}")]
    Retry(String),
    /// Again, but not before this time is over, an hour at the most: the target asks for it.
    #[error("{0}")]
    Later(String, Duration),
    /// Never.
    #[error("{0}")]
    Terminal(String),
}

impl Error {
    /// Whether another attempt may do better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Terminal(_))
    }
}

/// An effect that a decision starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// One of [`Effects`].
    pub name: String,
    /// What its function gets; at most [`EFFECT_BYTES_MAX`] bytes.
    pub argument: Bytes,
    /// Its concurrency key: attempts at the target with the same key are bounded together. Empty: no such bound.
    pub key: String,
}

/// How an effect is attempted. A table `[[effect]]` of the stream's catalog file replaces what the code says.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long an attempt may take, with [`LEASE_MARGIN`]; after it another owner may try. At least 6 s.
    pub lease: Duration,
    /// Backoff and number of attempts.
    pub retry: Retry,
    /// Effects of one target share its places and its breaker; `None`: the effect's own name.
    pub target: Option<String>,
    /// Attempts at the target that a worker makes at a time.
    pub concurrency: usize,
    /// Of these, attempts with the same concurrency key.
    pub per_key: usize,
    /// Whether the target is left alone for a while when it keeps failing.
    pub breaker: bool,
}

impl Default for Policy {
    fn default() -> Self {
        let places = EffectRules::PLACES_MAX;
        let (lease, retry) = (Duration::from_secs(35), Retry::default());
        Self { lease, retry, target: None, concurrency: places, per_key: places, breaker: true }
    }
}

impl From<&EffectRules> for Policy {
    fn from(rules: &EffectRules) -> Self {
        Self {
            lease: Duration::from_secs(rules.lease_s),
            retry: rules.retry,
            target: rules.target.clone(),
            concurrency: rules.concurrency,
            per_key: rules.per_key,
            breaker: rules.breaker,
        }
    }
}

type Run = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Bytes, Error>> + Send + Sync>;

#[derive(Clone)]
struct Effect {
    policy: Policy,
    target: Arc<str>,
    run: Run,
}

/// The effects of a processor by name.
#[derive(Clone, Default)]
pub struct Effects {
    by_name: HashMap<String, Effect>,
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Effects {
    /// And the effect `name`, carried out by `run`.
    #[must_use]
    pub fn with<F>(mut self, name: &str, policy: Policy, run: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Bytes, Error>> + Send + 'static,
    {
        let target = policy.target.as_deref().unwrap_or(name).into();
        let policy = Policy { lease: policy.lease.max(LEASE_MARGIN + Duration::from_secs(1)), ..policy };
        self.by_name.insert(name.to_owned(), Effect { policy, target, run: Arc::new(move |call| run(call).boxed()) });
        self
    }

    /// The same, attempted as the catalog says.
    #[must_use]
    pub fn ruled(mut self, rules: &[EffectRules]) -> Self {
        for rules in rules {
            if let Some(effect) = self.by_name.get_mut(&rules.name) {
                effect.policy = Policy::from(rules);
                effect.target = rules.target.as_deref().unwrap_or(&rules.name).into();
            }
        }
        self
    }

    /// How the effect is attempted; `None` when there is no such effect.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.by_name.get(name).map(|effect| &effect.policy)
    }

    /// What the effect works on; `None` when there is no such effect.
    #[must_use]
    pub fn target(&self, name: &str) -> Option<&Arc<str>> {
        self.by_name.get(name).map(|effect| &effect.target)
    }

    /// What they work on, each once, in order.
    #[must_use]
    pub fn targets(&self) -> Vec<Arc<str>> {
        let mut targets: Vec<_> = self.by_name.values().map(|effect| effect.target.clone()).collect();
        targets.sort();
        targets.dedup();
        targets
    }

    /// An attempt, to be awaited; `None` when there is no such effect.
    #[must_use]
    pub fn call(&self, name: &str, call: Call) -> Option<BoxFuture<'static, Result<Bytes, Error>>> {
        self.by_name.get(name).map(|effect| (effect.run)(call))
    }
}
