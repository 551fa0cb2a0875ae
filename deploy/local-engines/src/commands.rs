//! What `local-engines` does for a person.

use std::time::Duration;

use local_engines::{Options, Ports, Want, control};

use crate::cli::Up;

pub(crate) async fn up(up: Up, mut options: Options) -> anyhow::Result<()> {
    let ports = options.ports;
    options.ports = Ports {
        kafka: up.kafka_port.unwrap_or(ports.kafka),
        controller: up.controller_port.unwrap_or(ports.controller),
        registry: up.registry_port.unwrap_or(ports.registry),
        cql: up.cql_port.unwrap_or(ports.cql),
        storage: up.storage_port.unwrap_or(ports.storage),
    };
    options.want = Want { kafka: true, registry: !up.kafka_only, cql: up.cql || up.cql_address.is_some() };
    (options.kafka, options.registry, options.cql) = (up.kafka, up.registry, up.cql_address);
    options.kafka_nodes = up.kafka_nodes;
    options.linger = Duration::from_secs(up.linger);
    let engines = local_engines::start(options.clone()).await?;
    println!("kafka     {}\nregistry  {}", engines.kafka, engines.registry);
    if let Some(cql) = &engines.cql {
        println!("cql       {cql}");
    }
    if up.detach {
        control::keep(&options)?;
        println!("running until: local-engines stop");
    } else {
        println!("Ctrl-C stops them, unless others use them");
        tokio::signal::ctrl_c().await?;
    }
    engines.stop().await;
    Ok(())
}

pub(crate) fn print(status: &control::Status) {
    let users = status.users.iter().map(|pid| if *pid == 0 { "kept".to_owned() } else { format!("process {pid}") });
    let users: Vec<_> = users.collect();
    let users = if users.is_empty() { "nobody: it will stop by itself".to_owned() } else { users.join(", ") };
    println!("{:<10} {}  process {}, used by {users}", status.member.name(), status.address, status.pid);
}
