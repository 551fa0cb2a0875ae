//! The messages of `forebay.v1.json`, the same over WebSocket and Server-Sent Events: what clients say ([`client`]), what the
//! server says ([`server`]) and the stable codes of refusals ([`code`]).

pub mod client;
pub mod code;
pub mod limits;
pub mod server;

pub use client::{Request, Subscribe};
pub use code::Code;

/// The WebSocket subprotocol; a handshake without it is refused.
pub const SUBPROTOCOL: &str = "forebay.v1.json";
