//! The read side against a real broker and registry, with the state in memory.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod delivery;
mod node;
mod pages;
mod refusals;
mod slow;
mod students;
mod views;
