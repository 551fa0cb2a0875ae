//! The token by which tasks learn of the stop.

use tokio::sync::watch;

/// Which step of the stop a handle belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Edge,
    Core,
}

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Running,
    Draining,
    EdgeStops,
    CoreStops,
}

/// Tells a task that its time is over.
#[derive(Clone, Debug)]
pub struct Stop {
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) step: Step,
}

impl Stop {
    /// Whether the task should end now.
    pub fn requested(&self) -> bool {
        *self.phase.borrow() >= self.due()
    }

    /// Completes when the task should end.
    pub async fn wait(&self) {
        let due = self.due();
        // an error means that the process's lifecycle is gone, which is a stop as well
        let _ = self.phase.clone().wait_for(|phase| *phase >= due).await;
    }

    fn due(&self) -> Phase {
        match self.step {
            Step::Edge => Phase::EdgeStops,
            Step::Core => Phase::CoreStops,
        }
    }
}
