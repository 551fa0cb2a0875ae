//! State in a folder of this machine (fjall): for the quick start and for single-process deployments.
//!
//! One process owns the folder. A frame is in the journal when `apply` returns, so it survives the process; a
//! watermark is synced to disk, after everything it claims.

mod clean;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::ordered::{Ordered, OrderedStore, Visit, Writes};
use crate::store::Error;

/// Name of the one keyspace.
const KEYSPACE: &str = "state";

/// Bytes in memory before they become a file. Smaller ones are searched faster and keep the process small; a file is
/// written the more often.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Bytes of files kept in memory. What is hot is in the engine's own cache of rows: this is for indexes and filters of files.
const CACHE_BYTES: u64 = 16 << 20;

/// Threads that write and merge files. With a second one fjall 3.1 keeps the first from merging, by handing it the same message again
/// and again: it burns a core while the other one works.
const WORKERS: usize = 1;

/// The embedded store. Clones share it; the folder is free again when the last one is dropped.
pub type Embedded = OrderedStore<Folder>;

impl Embedded {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// [`Error::Refused`] when another process has it open, [`Error::Unavailable`] when it cannot be read or written,
    /// [`Error::Damaged`] when its files are broken.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Folder::open(&path)).await;
        let folder =
            opened.unwrap_or_else(|error| Err(Error::Unavailable(format!("opening the state folder ended: {error}"))))?;
        Ok(Self::over(folder))
    }
}

/// The folder behind [`Embedded`].
pub struct Folder {
    database: Database,
    state: Keyspace,
    /// Held from compare to write. The journal has one writer anyway, and an event's status is not bound to a shard.
    writer: Mutex<()>,
}

/// How files are written. Indexes and filters of all but the first level are cut into blocks of a few KiB: a whole one, of up to a
/// megabyte, would be read and checked for every row that is not in the cache.
fn keyspace() -> KeyspaceCreateOptions {
    let cut = || PartitioningPolicy::new([false, true]);
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .index_block_partitioning_policy(cut())
        .filter_block_partitioning_policy(cut())
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Error> {
        let cleaning = Arc::new(|_: &str| Some(clean::factory()));
        let opened = std::fs::create_dir_all(path).map_err(fjall::Error::from).and_then(|()| {
            let database = Database::builder(path)
                .cache_size(CACHE_BYTES)
                .worker_threads(WORKERS)
                .with_compaction_filter_factories(cleaning)
                .open()?;
            let state = database.keyspace(KEYSPACE, keyspace)?;
            Ok(Self { database, state, writer: Mutex::new(()) })
        });
        opened.map_err(|error| match error {
            fjall::Error::Locked => Error::Refused(format!(
                "another process has the state folder {} open: stop it, or give this one a folder of its own",
                path.display()
            )),
            fjall::Error::Io(error) => {
                Error::Unavailable(format!("the state folder {} cannot be opened: {error}", path.display()))
            }
            other => Error::Damaged(format!("the state folder {} cannot be opened: {other}", path.display())),
        })
    }
}

impl Ordered for Folder {
    const KIND: &'static str = "embedded";
    const BLOCKS: bool = true;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let value = self.state.get(key).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Error> {
        if from >= to {
            return Ok(());
        }
        for entry in self.state.range(from..to) {
            let (key, value) = entry.into_inner().map_err(failed)?;
            if let ControlFlow::Break(()) = visit(&key, Bytes::copy_from_slice(&value))? {
                break;
            }
        }
        Ok(())
    }

    fn update(&self, sync: bool, make: &mut dyn FnMut(&Self) -> Result<Writes, Error>) -> Result<(), Error> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = make(self)?;
        if sync {
            // what a watermark claims must not be lost where the watermark is kept: the claim is synced first (S6)
            self.database.persist(PersistMode::SyncAll).map_err(failed)?;
        }
        // without a mode a batch stays in this process's buffers, and a kill would lose what was acknowledged (S2)
        let mode = if sync { PersistMode::SyncAll } else { PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(mode));
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(&self.state, key, value),
                None => batch.remove(&self.state, key),
            }
        }
        batch.commit().map_err(failed)
    }
}

/// A failed write poisons the database: it says so until the process is started again.
fn failed(error: fjall::Error) -> Error {
    match error {
        fjall::Error::Poisoned => {
            Error::Refused("the state folder failed to write before: check the disk and restart the process".to_owned())
        }
        fjall::Error::Io(error) => Error::Unavailable(format!("the state folder: {error}")),
        other => Error::Damaged(format!("the state folder: {other}")),
    }
}
