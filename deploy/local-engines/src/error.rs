//! Why engines cannot be had, each with what to do about it.

use std::path::PathBuf;

/// Why engines cannot be had. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No `java` on the path, or one that is too old.
    #[error(
        "{found}; the engines need java 17 or newer: apt-get install -y openjdk-17-jre-headless maven (or any JDK 17+ and Maven 3.6+)"
    )]
    Java {
        /// What was found instead.
        found: String,
    },
    /// No `mvn` on the path.
    #[error("maven (mvn) is not installed; it downloads the engines: apt-get install -y openjdk-17-jre-headless maven")]
    NoMaven,
    /// `mvn` ran and failed.
    #[error(
        "could not download {engine}: {detail}; the first start needs Maven Central (behind a proxy, say in MAVEN_OPTS: -Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT; with a mirror, name it in ~/.m2/settings.xml), and once this succeeds it needs nothing more: {command}"
    )]
    Download {
        /// What was to be downloaded.
        engine: &'static str,
        /// Maven's first error, or the cause it ends with.
        detail: String,
        /// What to run by hand: it downloads all of it.
        command: String,
    },
    /// Another program listens on the port.
    #[error(
        "port {port} for {engine} is in use by another program; stop it, give another port ({flag}), or use what runs there: {instead}"
    )]
    PortInUse {
        /// Which engine wanted it.
        engine: &'static str,
        /// The port.
        port: u16,
        /// How to choose another port.
        flag: &'static str,
        /// How to use a running engine.
        instead: String,
    },
    /// The engine's process ended before it was ready.
    #[error("{engine} stopped while starting; last lines of {}:\n{tail}", log.display())]
    Died {
        /// Which engine.
        engine: &'static str,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The folder was last used by a newer version of the engine, in a format that this one does not read.
    #[error(
        "{} was written by a newer {engine} than {version} (format {found}; {version} reads up to {highest}): remove the folder, and with it everything that is stored there, or use the newer {engine} by its address", folder.display()
    )]
    NewerFolder {
        /// Which engine.
        engine: &'static str,
        /// The version that was to start.
        version: &'static str,
        /// Where it keeps its data.
        folder: PathBuf,
        /// Metadata version of the folder.
        found: i32,
        /// The highest one that the engine reads.
        highest: i32,
    },
    /// The engine runs but did not become usable in time.
    #[error("{engine} was started but did not answer within {seconds} s; last lines of {}:\n{tail}", log.display())]
    NotReady {
        /// Which engine.
        engine: &'static str,
        /// How long we waited.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// An address was given, and nothing usable answers there.
    #[error(
        "no {engine} answers at {address}: {detail}; start it, correct the address, or leave the address away to have one started"
    )]
    NoAnswer {
        /// Which engine.
        engine: &'static str,
        /// The address given.
        address: String,
        /// What happened instead.
        detail: String,
    },
    /// A file of the engines' folder cannot be read or written.
    #[error("{}: {source}; the engines' folder must be writable and may be deleted while nothing runs", path.display())]
    Folder {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
