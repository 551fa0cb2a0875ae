//! Apache Kafka: one combined broker and controller.

use std::fs;
use std::path::Path;

use tokio::process::Command;

use crate::Error;
use crate::engine::{Plan, Site};
use crate::folder::write;
use crate::kind::Kind;

const POM: &str = include_str!("../engines/kafka/pom.xml");
const PROPERTIES: &str = include_str!("../engines/kafka/server.properties");
const LOGGING: &str = include_str!("../engines/kafka/log4j2.properties");

/// Any fixed id does: the cluster is never joined by others.
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

/// Heap of the broker; 256 MB serves all tests.
const HEAP: &str = "-Xmx384m";

/// Writes the configuration, formats the data folder once, and says how to run the broker.
pub(crate) async fn plan(site: &Site) -> Result<Plan, Error> {
    let class_path = site.software.class_path(Kind::Kafka, POM).await?;
    let folder = &site.folder.path;
    let data = folder.join("data");
    let properties = folder.join("server.properties");
    let logging = folder.join("log4j2.properties");
    let [client, controller] = [site.port(0), site.port(1)];
    let text = PROPERTIES.replace("@KAFKA@", &client.to_string()).replace("@CONTROLLER@", &controller.to_string());
    write(&properties, &text.replace("@DATA@", &data.display().to_string()))?;
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
