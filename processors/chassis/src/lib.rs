//! How a process of ours stands on the ground: config, telemetry, lifecycle, listener, admin endpoint, auth, problem+json and the Kafka
//! clients. A closed list: what is not needed by every process does not belong here. Uses no other room.

pub mod admin;
pub mod auth;
pub mod config;
pub mod ffi;
pub mod kafka;
pub mod lifecycle;
pub mod listener;
pub mod metrics;
pub mod problem;
pub mod request;
pub mod telemetry;
