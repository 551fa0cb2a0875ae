//! Readiness of a stream in a process: all its workers must be ready.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chassis::lifecycle::Lifecycle;

/// What the workers of one stream said last.
pub(super) struct Readiness {
    lifecycle: Lifecycle,
    stream: &'static str,
    slots: Mutex<BTreeMap<String, (bool, String)>>,
}

impl Readiness {
    pub(super) fn new(lifecycle: Lifecycle, stream: &'static str) -> Self {
        Self { lifecycle, stream, slots: Mutex::default() }
    }

    /// Takes over what the worker of `slot` says, and tells the process.
    pub(super) fn set(&self, slot: &str, ready: bool, detail: &str) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.insert(slot.to_owned(), (ready, detail.to_owned()));
        let all = slots.values().all(|(ready, _)| *ready);
        let details = match slots.len() {
            1 => detail.to_owned(),
            _ => slots.iter().map(|(slot, (_, detail))| format!("{slot}: {detail}")).collect::<Vec<_>>().join("; "),
        };
        self.lifecycle.set_ready(self.stream, all, details);
    }
}
