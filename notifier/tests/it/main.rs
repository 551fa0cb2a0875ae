//! The read side against a real broker and registry, with the state in memory.

mod client;
mod delivery;
mod node;
mod pages;
mod refusals;
mod slow;
mod views;
