//! How a process ended, and what asked it to.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// How the process ended.
#[derive(Debug)]
pub struct Ended {
    /// What asked for the stop: a signal, [`Lifecycle::request_stop`], or a failed task.
    pub reason: String,
    /// Whether a task failed; the exit code is then 1.
    pub failed: bool,
    /// Tasks still running when the budget was over, with their number.
    pub left: Vec<(&'static str, usize)>,
    /// From the request to the end.
    pub took: Duration,
}

impl Ended {
    /// 0 only if nothing failed and nothing was cut off.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed || !self.left.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped after {:.1} s: {}", self.took.as_secs_f64(), self.reason)?;
        for (name, count) in &self.left {
            write!(f, "; cut off: {name} ×{count}")?;
        }
        Ok(())
    }
}

/// Completes at SIGINT or SIGTERM, with its name.
pub(super) async fn signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        tracing::error!("signals cannot be caught; the process ends on the first one without draining");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
