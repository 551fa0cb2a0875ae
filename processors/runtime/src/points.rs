//! Points of the protocol at which a test makes a worker stumble. Production has none: a lint keeps [`Points::stumble`]
//! out of everything but tests. Passed before and after each action of the engine that does something, and each write and attempt.

use std::fmt;
use std::sync::Arc;

use crate::engine::Failure;

/// Steps that have a point before and one after them, as `docs/exactly-once.md` tells them: taking over (`recover`,
/// `resume`), a look at the agenda (`scan`), a batch (`fetch`), the transaction and its `abort`, what was committed on its way to the
/// store (`hand_over`, each frame's `apply`, the watermark's `mark`), and an effect's `attempt`.
pub const STEPS: [&str; 13] = [
    "recover",
    "resume",
    "scan",
    "fetch",
    "begin",
    "produce",
    "send_offsets",
    "commit",
    "abort",
    "hand_over",
    "apply",
    "mark",
    "attempt",
];

/// The beginning or the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// One of [`STEPS`].
    pub step: &'static str,
    /// Whether the step has been done.
    pub done: bool,
}

type Hook = dyn Fn(Point) -> Result<(), Failure> + Send + Sync;

/// What happens at points: nothing, except in a test.
#[derive(Clone, Default)]
pub struct Points(Option<Arc<Hook>>);

impl Points {
    /// Calls `hook` at every point, on the thread that does the step. It may block, end the process, or say that the step failed.
    /// For tests only: a lint keeps it out of everything else.
    #[must_use]
    pub fn stumble(hook: impl Fn(Point) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// The worker is at a point.
    pub(crate) fn pass(&self, step: &'static str, done: bool) -> Result<(), Failure> {
        self.0.as_ref().map_or(Ok(()), |hook| hook(Point { step, done }))
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "stumbling" } else { "none" })
    }
}
