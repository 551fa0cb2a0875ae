//! State: rows, agenda, dedupe window, event status and watermark of every shard.
//!
//! [`StateStore`] is the contract of `docs/exactly-once.md` (rules S1–S10) with three implementations: CQL
//! ([`cql`]), embedded ([`embedded`]) and in memory ([`memory`]). Only the runtime's applier writes.
//! [`StateReader`] is the read-only half, all that the edge and the notifier get.

pub mod config;
pub mod cql;
pub mod embedded;
pub mod memory;
pub mod metrics;
pub mod ordered;
pub mod reader;
pub mod records;
pub mod store;
pub mod types;

pub use config::{Config, Kind, open, open_reader};
pub use cql::{Cql, CqlOptions};
pub use embedded::Embedded;
pub use memory::Memory;
pub use reader::StateReader;
pub use store::{Error, StateStore};
pub use types::{
    AgendaItem, AgendaKey, AgendaWrite, Cell, DedupeRow, Frame, Mark, RowKey, RowRange, RowWrite, Shard, StatusCell, StatusKey,
    StatusWrite, SubjectRows,
};

/// Version of how rows lie in a store; a store written with another one is refused.
pub const LAYOUT: i32 = 1;
