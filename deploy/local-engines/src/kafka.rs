//! Apache Kafka: combined brokers and controllers, one or three.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Error;
use crate::engine::{Plan, Site};
use crate::folder::{Folder, write};
use crate::kind::Kind;

const POM: &str = include_str!("../engines/kafka/pom.xml");
const PROPERTIES: &str = include_str!("../engines/kafka/server.properties");
const LOGGING: &str = include_str!("../engines/kafka/log4j2.properties");

/// What three nodes have besides: three replicas of which two must be in sync, and a short patience with one that is gone.
const REPLICATED: &[(&str, &str)] = &[
    ("default.replication.factor", "3"),
    ("min.insync.replicas", "2"),
    ("offsets.topic.replication.factor", "3"),
    ("transaction.state.log.replication.factor", "3"),
    ("transaction.state.log.min.isr", "2"),
    ("share.coordinator.state.topic.replication.factor", "3"),
    ("share.coordinator.state.topic.min.isr", "2"),
    ("replica.lag.time.max.ms", "3000"),
    ("replica.socket.timeout.ms", "3000"),
    ("controller.quorum.election.timeout.ms", "500"),
    ("controller.quorum.fetch.timeout.ms", "1000"),
    ("controller.quorum.election.backoff.max.ms", "500"),
];

/// Any fixed id does: the cluster is never joined by others.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// Heap of the broker; 256 MB serves all tests.
const HEAP: &str = "-Xmx384m";

/// Writes the configuration, formats the data folder once, and says how to run the broker.
pub(crate) async fn plan(site: &Site) -> Result<Plan, Error> {
    let class_path = site.software.class_path(Kind::Kafka, POM).await?;
    let folder = &site.folder.path;
    let data = data(&site.folder);
    let properties = folder.join("server.properties");
    let logging = folder.join("log4j2.properties");
    write(&properties, &settings(site, &data))?;
    write(&logging, LOGGING)?;
    let logging = [format!("-Dlog4j2.configurationFile={}", logging.display()), "-Dlog4j2.disableJmx=true".to_owned()];
    if !data.join("meta.properties").is_file() {
        format(site, &data, &class_path, &logging, &properties).await?;
    }
    let mut arguments = vec![HEAP.to_owned()];
    arguments.extend(logging);
    arguments.extend(["-cp".to_owned(), class_path, "kafka.Kafka".to_owned(), properties.display().to_string()]);
    Ok(Plan { arguments, signal: "TERM" })
}

/// Where a broker keeps its topics and what the controllers know.
pub(crate) fn data(folder: &Folder) -> PathBuf {
    folder.path.join("data")
}

/// Metadata versions that a broker's log names when it ends because its data folder has a newer one than it reads: the
/// folder's, and the highest it reads.
pub(crate) fn newer_format(log: &str) -> Option<(i32, i32)> {
    let (_, told) = log.split_once("No MetadataVersion with feature level ")?;
    let (found, told) = told.split_once(". Valid feature levels are from ")?;
    let highest = told.lines().next()?.trim_end_matches('.').rsplit(' ').next()?;
    let (found, highest) = (found.parse().ok()?, highest.parse().ok()?);
    (found > highest).then_some((found, highest))
}

/// The node's configuration.
fn settings(site: &Site, data: &Path) -> String {
    let voters = site.controllers.iter().zip(1..).map(|(port, node)| format!("{node}@127.0.0.1:{port}"));
    let text = PROPERTIES.replace("@KAFKA@", &site.port(0).to_string()).replace("@CONTROLLER@", &site.port(1).to_string());
    let text = text.replace("@ADVERTISED@", &site.advertised.unwrap_or(site.port(0)).to_string());
    let text = text.replace("@NODE@", &site.member.node.max(1).to_string());
    let text = text.replace("@VOTERS@", &voters.collect::<Vec<_>>().join(",")).replace("@DATA@", &data.display().to_string());
    if site.member.node == 0 {
        return text;
    }
    let replaced = |line: &&str| REPLICATED.iter().any(|(name, _)| line.split_once('=').is_some_and(|(key, _)| key == *name));
    let kept = text.lines().filter(|line| !replaced(line)).map(str::to_owned);
    kept.chain(REPLICATED.iter().map(|(name, value)| format!("{name}={value}"))).map(|line| line + "\n").collect()
}

async fn format(site: &Site, data: &Path, class_path: &str, logging: &[String], properties: &Path) -> Result<(), Error> {
    if data.exists() {
        // A format that was interrupted: nothing was ever stored in it.
        fs::remove_dir_all(data).map_err(|source| Error::Folder { path: data.to_owned(), source })?;
    }
    let mut tool = Command::new(&site.java.command);
    tool.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]).args(logging).args(["-cp", class_path]);
    tool.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(properties);
    let output = tool.output().await.map_err(|_| Error::Java { found: "java is not installed".to_owned() })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::Died { engine: Kind::Kafka.name(), log: properties.to_owned(), tail: String::from_utf8_lossy(&said).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 4.2.1 logs of a folder whose metadata log says 31, as another release leaves it.
    const RUN_BEFORE: &str = "\
[16:42:31.343] ERROR Encountered fatal fault: Error loading metadata log record from offset 2 (org.apache.kafka.server.fault.ProcessTerminatingFaultHandler)
java.lang.IllegalArgumentException: Unsupported metadata version - if you are currently upgrading your cluster, please ensure the metadata version is set to 3.3-IV3 (or higher) before updating the software version. The metadata version can be updated via the `kafka-features` command-line tool.
\tat org.apache.kafka.image.FeaturesDelta.replay(FeaturesDelta.java:65)
Caused by: java.lang.IllegalArgumentException: No MetadataVersion with feature level 31. Valid feature levels are from 7 to 30.
\tat org.apache.kafka.server.common.MetadataVersion.fromFeatureLevel(MetadataVersion.java:373)
\t... 9 more
";

    /// The same of a folder that was formatted and never run.
    const FORMATTED: &str = "\
[16:40:43.756] ERROR Encountered fatal fault: exception while completing controller activation (org.apache.kafka.server.fault.ProcessTerminatingFaultHandler)
java.lang.IllegalArgumentException: No MetadataVersion with feature level 31. Valid feature levels are from 7 to 30.
";

    #[test]
    fn a_folder_of_a_newer_kafka_is_told_from_the_brokers_log() {
        assert_eq!(newer_format(RUN_BEFORE), Some((31, 30)));
        assert_eq!(newer_format(FORMATTED), Some((31, 30)));
    }

    #[test]
    fn other_ends_and_older_folders_are_not_taken_for_a_newer_one() {
        assert_eq!(newer_format("java.lang.OutOfMemoryError: Java heap space\n"), None);
        assert_eq!(newer_format(&FORMATTED.replace("level 31", "level 3")), None);
        assert_eq!(newer_format("No MetadataVersion with feature level 31"), None);
    }
}
