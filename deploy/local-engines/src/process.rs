//! Other processes: are they still the ones we knew, and telling them to end.

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// One process for all time: a pid may be used again, a pid with its start time may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The system's number for it.
    pub(crate) pid: u32,
    /// When it started, as the system tells (clock ticks since boot on Linux).
    pub(crate) started: String,
}

impl Process {
    /// This process.
    pub(crate) fn current() -> Self {
        let pid = std::process::id();
        Self { pid, started: started(pid).unwrap_or_default() }
    }

    /// Does it still run?
    pub(crate) fn lives(&self) -> bool {
        started(self.pid).is_some_and(|started| started == self.started)
    }

    /// Time it has spent on the processor so far, in seconds; none where there is no `/proc`.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        let fields = fields(self.pid)?;
        let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
        Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Asks it to end, or ends it; nothing happens to another process that has the pid by now.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (true, Some(pid)) = (self.lives(), pid) {
            // It may have ended in between, which is what we want anyway.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// Clock ticks per second in `/proc/<pid>/stat`: fixed in the kernel's interface (proc(5), `USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The start time of a live process; none for one that is gone or only waits to be reaped. The same rule as in `watch.sh`.
fn started(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let fields = fields(pid)?;
        return fields.get(19).filter(|_| fields[0] != "Z").cloned();
    }
    let output = std::process::Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join("_"))
}

/// Fields 3 and following of `/proc/<pid>/stat`; the name before them, in parentheses, may hold anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start_time() {
        let me = Process::current();
        assert!(me.lives());
        assert!(!Process { started: "1".to_owned(), ..me }.lives());
    }
}
