//! Programs under test as processes of their own, to be killed at will.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::patience::eventually;

/// Lines of output that are kept, the newest.
const LINES_MAX: usize = 10_000;

/// A running program. It is killed when this is dropped; its output is printed when the test is failing.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts a program with these arguments and captures what it prints.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start(command)
    }

    /// The same for a command with an environment or a working folder of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        capture(child.stdout.take(), Arc::clone(&lines));
        capture(child.stderr.take(), Arc::clone(&lines));
        Self { child, lines }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it ended by itself?
    ///
    /// # Panics
    /// When the system refuses to tell.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("may wait for an own child").is_some()
    }

    /// The newest lines of its output and errors.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Waits for a line of output with this text and returns the line.
    ///
    /// # Panics
    /// When `deadline` has passed without.
    pub async fn line(&self, deadline: Duration, text: &str) -> String {
        eventually(deadline, || self.lines().into_iter().find(|line| line.contains(text))).await
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().expect("may kill an own child");
        self.child.wait().expect("may wait for an own child")
    }

    /// Stops it where it stands (SIGSTOP), until [`Process::resume`].
    pub fn pause(&self) {
        // it may have ended by itself
        let _gone = kill_process(Pid::from_child(&self.child), Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        // it may have ended by itself
        let _gone = kill_process(Pid::from_child(&self.child), Signal::CONT);
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When `deadline` has passed.
    pub async fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        // It may have ended by itself.
        let _gone = kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.wait(deadline).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When `deadline` has passed.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        eventually(deadline, || self.child.try_wait().expect("may wait for an own child")).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            eprintln!("--- output of process {}\n{}\n---", self.pid(), self.lines().join("\n"));
        }
    }
}

/// Keeps the newest lines of a pipe until its writers have ended.
fn capture(pipe: Option<impl Read + Send + 'static>, lines: Arc<Mutex<VecDeque<String>>>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
}
