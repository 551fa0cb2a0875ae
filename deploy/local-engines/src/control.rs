//! What a person does with running engines: look, keep, stop. Called by the command `local-engines`.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Error;
use crate::engine;
use crate::kind::{Kind, Member};
use crate::options::Options;

/// How long engines may take to stop: one that writes its class archive needs a while.
const STOP_MAX: Duration = Duration::from_secs(60);

/// How often to look whether they have.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// One engine that runs.
#[derive(Debug, Clone)]
pub struct Status {
    /// Which engine.
    pub kind: Kind,
    /// Which node of it.
    pub member: Member,
    /// What clients use.
    pub address: String,
    /// The engine's process.
    pub pid: u32,
    /// Its users' processes; 0 stands for "kept until told to stop".
    pub users: Vec<u32>,
}

/// The engines of this owner that run now.
///
/// # Errors
/// The folder cannot be read.
pub fn status(options: &Options) -> Result<Vec<Status>, Error> {
    let mut found = Vec::new();
    for member in Member::all() {
        let Some(folder) = engine::known_folder(options, member)? else { continue };
        if let Some(running) = folder.running().filter(|running| running.engine.lives()) {
            let port = running.ports.first().copied().unwrap_or_default();
            let (kind, pid) = (member.kind, running.engine.pid);
            found.push(Status { kind, member, address: kind.address(port), pid, users: folder.users() });
        }
    }
    Ok(found)
}

/// Keeps this owner's running engines until [`stop`], whoever uses them.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(options: &Options) -> Result<(), Error> {
    for status in status(options)? {
        engine::folder(options, status.member)?.keep()?;
    }
    Ok(())
}

/// Stops this owner's engines, whoever uses them, and waits until they have stopped. Returns what it stopped.
///
/// # Errors
/// The folder cannot be read, or written.
pub async fn stop(options: &Options) -> Result<Vec<Status>, Error> {
    let found = status(options)?;
    let mut ending = Vec::new();
    // All are told before any is waited for: the registry would else miss its Kafka for long.
    for status in &found {
        let folder = engine::folder(options, status.member)?;
        folder.let_go();
        if let Some(running) = folder.running() {
            // Without its watcher the engine has to be told itself.
            let target = if running.watcher.lives() { &running.watcher } else { &running.engine };
            target.signal(Signal::TERM);
            ending.push((folder, running));
        }
    }
    let begun = Instant::now();
    for (folder, running) in ending {
        while running.watcher.lives() || running.engine.lives() {
            if begun.elapsed() > STOP_MAX {
                running.engine.signal(Signal::KILL);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        folder.forget();
    }
    Ok(found)
}
