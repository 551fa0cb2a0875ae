//! The HTTP edge: turns requests into records on `<stream>.events` and tells the truth about each event.
//!
//! One request is one walk through files named after their verbs: [`receive`] → [`split`] → [`encode`] → `dedupe` → [`send`] →
//! [`answer`]; [`write`] strings them together. It keeps no state that matters: windows and pools may be lost at any moment.
//! The promises E1–E7 are explained in `docs/exactly-once.md`; code that keeps one cites its name.

mod admission;
mod answer;
mod arena;
pub mod config;
mod dedupe;
mod edge;
mod encode;
mod envelope;
mod fault;
mod headers;
pub mod metrics;
mod needs;
mod openapi;
mod receive;
mod routes;
mod send;
mod service;
mod split;
mod stream;
mod subject;
mod validate;
mod verdict;
mod wait;
mod window;
mod write;

pub use config::{Config, DEFAULTS, Options};
pub use needs::Needs;
pub use service::{Error, Service};
pub use stream::Error as StreamError;
