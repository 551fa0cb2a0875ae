//! How far an audit is: one line that rewrites itself on a terminal, else a line from time to time.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use runtime::audit::Progress;

/// Width of the bar, columns.
const WIDTH: usize = 24;
/// Between two lines where there is no terminal.
const EACH: Duration = Duration::from_secs(10);

/// Writes to stderr, so that reports can be piped.
pub(crate) struct Bar {
    stream: String,
    terminal: bool,
    last: Cell<Instant>,
}

impl Bar {
    pub(crate) fn new(stream: &str) -> Self {
        Self { stream: stream.to_owned(), terminal: std::io::stderr().is_terminal(), last: Cell::new(Instant::now()) }
    }

    pub(crate) fn show(&self, progress: Progress) {
        let Progress { shards, of, records } = progress;
        let mut stderr = std::io::stderr();
        // nobody is harmed when progress cannot be shown
        let _ = if self.terminal {
            let done = WIDTH * shards.unsigned_abs() as usize / of.max(1).unsigned_abs() as usize;
            let bar = format!("{}{}", "#".repeat(done), "-".repeat(WIDTH - done));
            let end = if shards == of { "\r\x1b[K" } else { "" };
            write!(stderr, "\r{} [{bar}] shard {shards} of {of}, {records} records{end}", self.stream)
        } else if self.last.get().elapsed() > EACH {
            self.last.set(Instant::now());
            writeln!(stderr, "{}: shard {shards} of {of}, {records} records", self.stream)
        } else {
            Ok(())
        };
    }
}
