//! Which store, as a config file says it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::cql::{Cql, CqlOptions};
use crate::embedded::Embedded;
use crate::memory::Memory;
use crate::reader::StateReader;
use crate::store::{Error, StateStore};

/// The kinds of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A folder of this machine, for one process.
    Embedded,
    /// This process's memory; lost with it.
    Memory,
    /// ScyllaDB or Cassandra.
    Cql,
    /// No store at all: nothing is read, nobody waits for outcomes. Not for processors.
    None,
}

/// Which store, and its options.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which one.
    pub kind: Kind,
    /// Folder of the embedded store.
    pub path: PathBuf,
    /// Options of the CQL store.
    pub cql: CqlOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self { kind: Kind::Embedded, path: PathBuf::from("data/state"), cql: CqlOptions::default() }
    }
}

/// Opens the store that `config` names.
///
/// # Errors
/// Those of [`Embedded::open`] and [`Cql::connect`].
pub async fn open(config: &Config) -> Result<Arc<dyn StateStore>, Error> {
    crate::metrics::describe();
    Ok(match config.kind {
        Kind::Embedded => Arc::new(Embedded::open(&config.path).await?),
        Kind::Memory => Arc::new(Memory::new()),
        Kind::Cql => Arc::new(Cql::connect(&config.cql).await?),
        Kind::None => return Err(Error::Refused("store.kind is \"none\": name the store that holds the state".into())),
    })
}

/// Opens the read-only half of the store that `config` names; `None` for [`Kind::None`].
///
/// # Errors
/// As [`open`].
pub async fn open_reader(config: &Config) -> Result<Option<StateReader>, Error> {
    match config.kind {
        Kind::None => Ok(None),
        _ => Ok(Some(StateReader::new(open(config).await?))),
    }
}
