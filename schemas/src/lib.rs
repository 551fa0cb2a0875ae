//! What crosses a wire: stream catalog, Avro codec, envelope, topic names, keys and receipts.
//!
//! Uses nothing of ours; every other room stands on it.

pub mod datum;
pub mod json;
pub mod plan;
