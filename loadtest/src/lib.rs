//! The benchmark harness: drives a running Forebay from outside, over the routes and sockets everybody uses, and measures it.
//!
//! Called by the binaries `latency` and `throughput`. It uses nothing of ours but the sample data, so a figure never depends on code it measures.

pub mod flights;
pub mod live;
pub mod machine;
pub mod seq;
pub mod target;
