//! The command `local-engines`: engines for people.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use local_engines::{Options, Owner, Ports, Want, control};

/// Kafka, a schema registry and Cassandra on this machine, without Docker.
///
/// They are downloaded through Maven at the first start and keep everything below one folder, which may be deleted while
/// nothing runs. Needs java 17 or newer and mvn.
#[derive(Parser)]
#[command(name = "local-engines", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Folder of the engines [default: engines in the cargo target folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The engines of test runs instead of those of the quick start
    #[arg(long, global = true)]
    tests: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start the engines, or find them running, and keep them until Ctrl-C
    Up(Up),
    /// Show what runs, where, and who uses it
    Status,
    /// Stop the engines, whoever uses them
    Stop,
}

#[derive(Args)]
struct Up {
    /// Also start Cassandra (CQL)
    #[arg(long)]
    cql: bool,
    /// Return when the engines are ready; they run until `local-engines stop`
    #[arg(long)]
    detach: bool,
    /// Only Kafka, without the registry
    #[arg(long)]
    kafka_only: bool,
    /// Seconds the engines outlive their last user
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    linger: u64,
    /// Kafka's port
    #[arg(long, value_name = "N")]
    kafka_port: Option<u16>,
    /// Port of Kafka's controller
    #[arg(long, value_name = "N")]
    controller_port: Option<u16>,
    /// The registry's port
    #[arg(long, value_name = "N")]
    registry_port: Option<u16>,
    /// Cassandra's port for CQL
    #[arg(long, value_name = "N")]
    cql_port: Option<u16>,
    /// Cassandra's port for other nodes
    #[arg(long, value_name = "N")]
    storage_port: Option<u16>,
    /// Use this Kafka instead of starting one (host:port)
    #[arg(long, value_name = "ADDRESS")]
    kafka: Option<String>,
    /// Use this registry instead of starting one (base URL)
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// Use this CQL node instead of starting one (host:port)
    #[arg(long, value_name = "ADDRESS")]
    cql_address: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The sentence alone: a backtrace helps nobody whose port is taken.
            eprintln!("local-engines: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let mut options = Options::new(if cli.tests { Owner::Tests } else { Owner::Quickstart });
    options.data = cli.data.unwrap_or(options.data);
    match cli.command {
        Command::Up(arguments) => up(arguments, options).await,
        Command::Status => {
            let found = control::status(&options)?;
            found.iter().for_each(print);
            if found.is_empty() {
                println!("nothing runs below {}", options.data.display());
            }
            Ok(())
        }
        Command::Stop => {
            let stopped = control::stop(&options).await?;
            stopped.iter().for_each(|status| println!("{} stopped", status.kind.name()));
            if stopped.is_empty() {
                println!("nothing runs below {}", options.data.display());
            }
            Ok(())
        }
    }
}

async fn up(up: Up, mut options: Options) -> anyhow::Result<()> {
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

fn print(status: &control::Status) {
    let users = status.users.iter().map(|pid| if *pid == 0 { "kept".to_owned() } else { format!("process {pid}") });
    let users: Vec<_> = users.collect();
    let users = if users.is_empty() { "nobody: it will stop by itself".to_owned() } else { users.join(", ") };
    println!("{:<10} {}  process {}, used by {users}", status.kind.name(), status.address, status.pid);
}
