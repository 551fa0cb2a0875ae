//! The exactly-once engine: assignment, transaction, log, apply, dead letters.
//!
//! A [`Processor`] is pure logic; [`start`] runs it over its stream with the protocol of `docs/exactly-once.md`.

pub mod audit;
pub mod dead_letter;
pub mod effects;
pub mod engine;
pub mod fetch;
pub mod http;
pub mod logic;
mod metrics;
pub mod points;
pub mod processor;
pub mod restore;
pub mod source;
mod ticket;
pub mod time;
pub mod topics;
mod worker;

pub use logic::Logic;
pub use processor::{Context, Decision, Outcome, Principal, Processor, RangeRead, Reads, Refusal, Rejection, Rows, Timer};
pub use worker::{Error, Options, Parts, Seek, seek, start};
