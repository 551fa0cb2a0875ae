//! Apache Cassandra: one CQL node, standing in for ScyllaDB.

use crate::Error;
use crate::engine::{Plan, Site};
use crate::folder::write;
use crate::kind::Kind;

const POM: &str = include_str!("../engines/cassandra/pom.xml");
const CONFIG: &str = include_str!("../engines/cassandra/cassandra.yaml");
const JVM_OPTIONS: &str = include_str!("../engines/cassandra/jvm.options");
const LOGGING: &str = include_str!("../engines/cassandra/logback.xml");

/// Writes the configuration and says how to run the node.
pub(crate) async fn plan(site: &Site) -> Result<Plan, Error> {
    let class_path = site.software.class_path(Kind::Cassandra, POM).await?;
    let folder = &site.folder.path;
    let shown = |name: &str| folder.join(name).display().to_string();
    write(&folder.join("cassandra.yaml"), CONFIG)?;
    write(&folder.join("jvm.options"), JVM_OPTIONS)?;
    write(&folder.join("logback.xml"), LOGGING)?;
    let arguments = vec![
        format!("@{}", shown("jvm.options")),
        format!("-Dcassandra.config=file://{}", shown("cassandra.yaml")),
        format!("-Dlogback.configurationFile={}", shown("logback.xml")),
        format!("-Dcassandra.storagedir={}", shown("data")),
        format!("-Dcassandra.logdir={}", shown("data/logs")),
        format!("-Dcassandra.native_transport_port={}", site.port(0)),
        format!("-Dcassandra.storage_port={}", site.port(1)),
        "-Dcassandra-foreground=true".to_owned(),
        // One node: there is nobody to gossip with.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0".to_owned(),
        "-Dcassandra.ring_delay_ms=1".to_owned(),
        "-Dcassandra.superuser_setup_delay_ms=0".to_owned(),
        "-Dcassandra.initial_token=0".to_owned(),
        "-cp".to_owned(),
        class_path,
        "org.apache.cassandra.service.CassandraDaemon".to_owned(),
    ];
    // Its commit log is synced before each answer, so nothing is lost, and an orderly stop takes six seconds.
    Ok(Plan { arguments, signal: "KILL" })
}
