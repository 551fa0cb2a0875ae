//! The chassis against a real broker and real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod kit;
mod listener;
mod produce;
mod tail;
mod telemetry;
mod topics;
