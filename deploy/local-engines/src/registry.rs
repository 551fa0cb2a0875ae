//! Apicurio Registry, through its Confluent-compatible API.

use crate::Error;
use crate::engine::{Plan, Site};
use crate::kind::Kind;
use crate::options::Owner;

/// Says how to run the registry. The quick start keeps schemas in the same Kafka as the records that name them by id, so
/// that both live and go together; tests keep them in memory.
pub(crate) async fn plan(site: &Site, kafka: &str) -> Result<Plan, Error> {
    let program = site.software.apicurio().await?;
    let runner = format!("apicurio-registry-app-{}-runner.jar", Kind::Registry.version());
    let mut arguments: Vec<String> = [
        "-Xmx384m",
        "-Dquarkus.http.host=127.0.0.1",
        &format!("-Dquarkus.http.port={}", site.port(0)),
        "-Dquarkus.http.access-log.enabled=false",
        // White space does not make a new version of a schema.
        "-Dapicurio.ccompat.use-canonical-hash=true",
        "-Dapicurio.rules.global.compatibility=FULL_TRANSITIVE",
    ]
    .map(str::to_owned)
    .to_vec();
    if site.owner == Owner::Quickstart {
        arguments.extend([
            "-Dapicurio.storage.kind=kafkasql".to_owned(),
            format!("-Dapicurio.kafkasql.bootstrap.servers={kafka}"),
            "-Dapicurio.kafkasql.topic=kafkasql-journal".to_owned(),
            "-Dapicurio.kafkasql.snapshots.topic=kafkasql-snapshots".to_owned(),
            // It waits this long for a snapshot; without one it reads the whole journal, which is short. Default 5 s.
            "-Dapicurio.kafkasql.consumer.poll.timeout=500".to_owned(),
        ]);
    }
    arguments.extend(["-jar".to_owned(), program.join(runner).display().to_string()]);
    Ok(Plan { arguments, signal: "TERM" })
}
