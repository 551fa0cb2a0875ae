//! Gets the engines' programs through Maven: class paths into its local repository, and Apicurio's distribution unpacked.
//!
//! What is found here depends on versions alone, so the quick start and all test runs of a target folder share it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::Error;
use crate::folder::{lock, write};
use crate::kind::Kind;

/// Lists the jars of a pom. By its full name, as Maven would look a short one up on the network each time; the poms name
/// the same version.
const LIST: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath";

/// The plugin version that can still copy an artifact whose parent is published nowhere, as Apicurio's is.
const GET: &str = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get";

/// No questions and no colours; and what could not be had the last time is asked for again, as the network may be back.
const FLAGS: [&str; 2] = ["-B", "-U"];

/// Least time between two progress lines of one download.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);

/// Characters of Maven's error that are passed on.
const DETAIL_CHARS_MAX: usize = 300;

/// Where the programs are described, shared by all owners.
#[derive(Debug, Clone)]
pub(crate) struct Software {
    folder: PathBuf,
    progress: fn(&str),
}

impl Software {
    /// Below the folder of all engines.
    pub(crate) fn new(data: &Path, progress: fn(&str)) -> Result<Self, Error> {
        let folder = data.join("software");
        let folder = std::path::absolute(&folder).map_err(|source| Error::Folder { path: folder, source })?;
        Ok(Self { folder, progress })
    }

    /// The class path of an engine whose pom is given: absolute jars in a fixed order, all of them present.
    pub(crate) async fn class_path(&self, kind: Kind, pom: &str) -> Result<String, Error> {
        let _one_at_a_time = self.lock().await?;
        let folder = self.folder.join(format!("{}-{}", kind.name(), kind.version()));
        let file = folder.join("classpath");
        if let Some(known) = complete(&file) {
            return Ok(known);
        }
        let pom_file = folder.join("pom.xml");
        fs::create_dir_all(&folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
        write(&pom_file, &pom.replace("@VERSION@", kind.version()))?;
        let arguments = [
            "-f".to_owned(),
            pom_file.display().to_string(),
            LIST.to_owned(),
            "-DincludeScope=runtime".to_owned(),
            format!("-Dmdep.outputFile={}", file.display()),
        ];
        self.maven(kind, &arguments).await?;
        complete(&file).ok_or_else(|| Error::Download {
            engine: kind.name(),
            detail: format!("maven succeeded, but {} names files that are not there", file.display()),
            command: command_line(&arguments),
        })
    }

    /// The folder of Apicurio's unpacked distribution.
    pub(crate) async fn apicurio(&self) -> Result<PathBuf, Error> {
        let _one_at_a_time = self.lock().await?;
        let kind = Kind::Registry;
        let folder = self.folder.join(format!("{}-{}", kind.name(), kind.version()));
        if folder.is_dir() {
            return Ok(folder);
        }
        let packed = self.folder.join("apicurio.tar.gz");
        let arguments = [
            GET.to_owned(),
            "-Dtransitive=false".to_owned(),
            format!("-Dartifact=io.apicurio:apicurio-registry-app:{}:tar.gz:all", kind.version()),
            format!("-Ddest={}", packed.display()),
        ];
        self.maven(kind, &arguments).await?;
        let fresh = folder.with_extension("new");
        unpack(&packed, &fresh, &command_line(&arguments)).await?;
        fs::rename(&fresh, &folder).map_err(|source| Error::Folder { path: folder.clone(), source })?;
        Ok(folder)
    }

    /// Where the class archive of an engine under this Java is kept.
    pub(crate) fn archive(&self, kind: Kind, java_version: &str) -> PathBuf {
        self.folder.join(format!("{}-{}-java-{java_version}.jsa", kind.name(), kind.version()))
    }

    /// Maven does not like company in its local repository.
    async fn lock(&self) -> Result<fs::File, Error> {
        fs::create_dir_all(&self.folder).map_err(|source| Error::Folder { path: self.folder.clone(), source })?;
        lock(&self.folder.join("lock"), || {}).await
    }

    /// Runs Maven and tells how many files it has downloaded so far.
    async fn maven(&self, kind: Kind, arguments: &[String]) -> Result<(), Error> {
        let mut maven = Command::new("mvn");
        maven.args(FLAGS).args(arguments).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        maven.stderr(std::process::Stdio::null()).kill_on_drop(true);
        if std::env::var_os("MAVEN_OPTS").is_none() {
            maven.env("MAVEN_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC");
        }
        let mut child = maven.spawn().map_err(|_| Error::NoMaven)?;
        let mut files = 0_u32;
        let mut said = Instant::now();
        let mut detail = None;
        if let Some(output) = child.stdout.take() {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // behind a level, which depends on how Maven was told to log
                files += u32::from(line.contains("Downloaded from "));
                if files > 0 && said.elapsed() > PROGRESS_PAUSE {
                    (self.progress)(&format!("{} {}: downloading, {files} files so far", kind.name(), kind.version()));
                    said = Instant::now();
                }
                if let Some(error) = line.strip_prefix("[ERROR] ") {
                    detail.get_or_insert_with(|| cause(error));
                }
            }
        }
        if files > 0 {
            (self.progress)(&format!("{} {}: downloaded, {files} files", kind.name(), kind.version()));
        }
        match child.wait().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Error::Download {
                engine: kind.name(),
                detail: detail.unwrap_or_else(|| "maven failed without saying why".to_owned()),
                command: command_line(arguments),
            }),
        }
    }
}

/// Unpacks with the system's `tar` and removes the packed file.
async fn unpack(packed: &Path, folder: &Path, command: &str) -> Result<(), Error> {
    let failed = |source| Error::Folder { path: folder.to_owned(), source };
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    let output = Command::new("tar").arg("xzf").arg(packed).arg("-C").arg(folder).output().await.map_err(failed)?;
    if !output.status.success() {
        let detail = format!("tar cannot unpack it: {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(Error::Download { engine: Kind::Registry.name(), detail, command: command.to_owned() });
    }
    fs::remove_file(packed).map_err(|source| Error::Folder { path: packed.to_owned(), source })
}

/// The class path kept in the file, unless one of its jars has gone.
fn complete(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let jars = text.trim();
    let all_there = !jars.is_empty() && std::env::split_paths(jars).all(|jar| jar.is_file());
    all_there.then(|| jars.to_owned())
}

fn command_line(arguments: &[String]) -> String {
    format!("mvn {} {}", FLAGS.join(" "), arguments.join(" "))
}

/// What a person needs of Maven's error: it tells the whole way down, and the address that failed comes last.
fn cause(error: &str) -> String {
    let error = error.trim_end_matches(" -> [Help 1]");
    let cause = error.rsplit_once("transfer failed for ").map_or(error, |(_, cause)| cause);
    cause.chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failed_transfer_the_address_and_the_cause_are_told() {
        let error = "Plugin a:b:1 or one of its dependencies could not be resolved: Could not transfer artifact a:b:pom:1 \
                     from/to central (https://central): transfer failed for https://central/b.pom: central: Name or \
                     service not known -> [Help 1]";
        assert_eq!(cause(error), "https://central/b.pom: central: Name or service not known");
        assert_eq!(cause("No plugin found for prefix 'x' -> [Help 1]"), "No plugin found for prefix 'x'");
    }
}
