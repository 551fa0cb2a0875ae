//! Forebay's read side: live results over WebSocket and Server-Sent Events, views, event status and the console page.
//!
//! A process builds a [`Service`], mounts its router on the public listener and leaves the rest to the lifecycle:
//! [`feed`] → [`ring`] → [`hub`] → `socket` and `sse`; `reads` answers from the state.

pub mod channel;
pub mod clock;
pub mod config;
pub mod feed;
pub mod guarded;
pub mod hub;
pub mod metrics;
pub mod protocol;
pub mod pulse;
pub mod ring;

mod app;
mod asyncapi;
mod console;
mod delivery;
pub mod parts;
mod reads;
mod service;
mod socket;
mod sse;
mod trace;

pub use parts::Parts;
pub use service::{Error, Service};
