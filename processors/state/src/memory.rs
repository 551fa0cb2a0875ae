//! State in memory: for tests, and for trying things out. Lost with the process, and then the log is replayed from
//! its beginning.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Bytes;

use crate::ordered::{Ordered, OrderedStore, Visit, Writes};
use crate::store::Error;

/// The in-memory store. Clones share the state.
pub type Memory = OrderedStore<Map>;

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Map::default())
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The map behind [`Memory`].
#[derive(Debug, Default)]
pub struct Map {
    entries: RwLock<BTreeMap<Vec<u8>, Bytes>>,
    writer: Mutex<()>,
}

impl Ordered for Map {
    const KIND: &'static str = "memory";
    const BLOCKS: bool = false;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if from >= to {
            return Ok(());
        }
        for (key, value) in entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if let ControlFlow::Break(()) = visit(key, value.clone())? {
                break;
            }
        }
        Ok(())
    }

    fn update(&self, _sync: bool, make: &mut dyn FnMut(&Self) -> Result<Writes, Error>) -> Result<(), Error> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = make(self)?;
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(value) => entries.insert(key, value.into()),
                None => entries.remove(&key),
            };
        }
        Ok(())
    }
}
