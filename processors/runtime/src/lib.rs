//! The exactly-once engine: assignment, transaction, log, apply, dead letters.

pub mod logic;
pub mod processor;

pub use logic::Logic;
pub use processor::{Context, Decision, Principal, Processor, Reads, Rejection, Rows};
