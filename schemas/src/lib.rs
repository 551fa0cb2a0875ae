//! What crosses a wire: stream catalog, Avro codec, envelope, topic names, keys and receipts.
//!
//! Uses nothing of ours; every other room stands on it. The modules named like streams, and `engine`, are generated
//! from `catalog/` and `avro/` (see `build/`).

pub mod catalog;
pub mod constraints;
pub mod datum;
pub mod frame;
pub mod json;
pub mod key;
pub mod metrics;
pub mod names;
pub mod partition;
pub mod plan;
pub mod receipt;
pub mod registry;
pub mod resolve;

pub use catalog::Catalog;
pub use key::EventKey;
pub use names::Topics;
pub use registry::{Registry, SchemaIds};

include!(concat!(env!("OUT_DIR"), "/streams.rs"));
