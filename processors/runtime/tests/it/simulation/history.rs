//! What happened, line by line, for somebody who has to understand one seed.

use std::fmt;

/// Lines of a run; nothing is kept unless somebody will read it.
#[derive(Default)]
pub(super) struct History {
    told: bool,
    lines: Vec<String>,
}

impl History {
    pub(super) fn new(told: bool) -> Self {
        Self { told, lines: Vec::new() }
    }

    pub(super) fn tell(&mut self, step: usize, who: &dyn fmt::Display, what: impl FnOnce() -> String) {
        if self.told {
            self.lines.push(format!("{step:>5} {who:<8} {}", what()));
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines
    }
}
