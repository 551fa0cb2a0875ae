//! The folder of one running engine: its lock, its state, its users. `watch.sh` is the other reader and writer.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::process::Process;

/// Lines of an engine's log that go into an error.
const TAIL_LINES: usize = 15;

/// How often to look whether another process has let go of a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What `watch.sh` tells about the engine it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The supervising script.
    pub(crate) watcher: Process,
    /// The engine.
    pub(crate) engine: Process,
    /// Its ports, in the order of `Kind::ports`.
    pub(crate) ports: Vec<u16>,
}

/// The folder of one engine of one owner.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

/// Proof of use: while it lives (and its process does), the engine is kept.
#[derive(Debug)]
pub(crate) struct User {
    file: PathBuf,
}

impl Folder {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        let path = std::path::absolute(&path).map_err(|source| Error::Folder { path, source })?;
        let users = path.join("users");
        fs::create_dir_all(&users).map_err(|source| Error::Folder { path: users, source })?;
        Ok(Self { path })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The engine that may be attached to, if any.
    pub(crate) fn running(&self) -> Option<Running> {
        read(&self.path.join("running.json"))
    }

    /// The engine that is being stopped, if any.
    pub(crate) fn stopping(&self) -> Option<Running> {
        read(&self.path.join("stopping.json"))
    }

    /// Removes what a dead watcher left.
    pub(crate) fn forget(&self) {
        for name in ["running.json", "stopping.json", "ready"] {
            // Absent is as good as removed.
            let _absent = fs::remove_file(self.path.join(name));
        }
    }

    /// Has the running engine answered its first real request?
    pub(crate) fn is_ready(&self) -> bool {
        self.path.join("ready").exists()
    }

    pub(crate) fn set_ready(&self) -> Result<(), Error> {
        write(&self.path.join("ready"), "")
    }

    /// Registers this process as a user.
    pub(crate) fn register(&self, linger: Duration) -> Result<User, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let me = Process::current();
        let users = self.path.join("users");
        let file = users.join(format!("{}-{}", me.pid, NEXT.fetch_add(1, Ordering::Relaxed)));
        write_user(&file, &format!("{} {} {}\n", me.pid, me.started, linger.as_secs()))?;
        Ok(User { file })
    }

    /// Keeps the engine until it is told to stop, whoever lives.
    pub(crate) fn keep(&self) -> Result<(), Error> {
        write_user(&self.path.join("users").join("kept"), "0 0 0\n")
    }

    /// Takes [`keep`](Self::keep) back.
    pub(crate) fn let_go(&self) {
        let _absent = fs::remove_file(self.path.join("users").join("kept"));
    }

    /// Pids of the users that live; 0 stands for "kept until told to stop".
    pub(crate) fn users(&self) -> Vec<u32> {
        let Ok(files) = fs::read_dir(self.path.join("users")) else { return Vec::new() };
        let alive = |text: String| {
            let mut words = text.split_ascii_whitespace();
            let process = Process { pid: words.next()?.parse().ok()?, started: words.next()?.to_owned() };
            (process.pid == 0 || process.lives()).then_some(process.pid)
        };
        let mut pids: Vec<u32> = files.flatten().filter_map(|file| alive(fs::read_to_string(file.path()).ok()?)).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The last lines of the engine's log.
    pub(crate) fn tail(&self) -> String {
        let bytes = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // When it cannot be removed, the watcher removes it once this process has ended.
        let _absent = fs::remove_file(&self.file);
    }
}

/// Takes the lock in `path`, however long another process holds it; says so once. Dropping the file releases it.
pub(crate) async fn lock(path: &Path, waiting: impl FnOnce()) -> Result<File, Error> {
    let failed = |source| Error::Folder { path: path.to_owned(), source };
    let file = File::options().create(true).append(true).open(path).map_err(failed)?;
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if let Some(say) = waiting.take() {
            say();
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Writes a file of the engines' folder.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Folder { path: path.to_owned(), source })
}

/// A user's file is whole from its first moment: a half-written one would be taken for a dead user's.
fn write_user(path: &Path, text: &str) -> Result<(), Error> {
    let hidden = path.with_file_name(format!(".{}", path.file_name().unwrap_or_default().display()));
    write(&hidden, text)?;
    fs::rename(&hidden, path).map_err(|source| Error::Folder { path: path.to_owned(), source })
}

fn read(path: &Path) -> Option<Running> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}
