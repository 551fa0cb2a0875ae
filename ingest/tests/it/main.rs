//! The edge through real HTTP against a real broker and registry.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod bad_input;
mod batch;
mod broker;
mod catalog;
mod embedded;
mod http;
mod identity;
mod limits;
mod log;
mod outcome;
mod proxy;
mod routes;
mod server;
mod single;
mod start;
