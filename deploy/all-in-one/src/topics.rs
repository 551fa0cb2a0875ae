//! `forebay topics`: makes or checks what the catalog asks of a cluster.

use std::process::ExitCode;

use anyhow::Result;
use chassis::kafka::{Settings, topics};
use schemas::catalog::Catalog;
use schemas::names::Topics;

use crate::arguments::TopicsAction;
use crate::config::Config;

/// Where Kafka is when nothing else is said.
const DEFAULT_KAFKA: &str = "127.0.0.1:9092";

/// Makes or checks the topics and says what was found.
pub(crate) async fn run(config: &Config, action: TopicsAction, replication: i16) -> Result<ExitCode> {
    let bootstrap = if config.engines.kafka.is_empty() { DEFAULT_KAFKA } else { &config.engines.kafka };
    let kafka = Settings::new(bootstrap, "forebay-topics");
    let specs = host::topics::specs(&*Catalog::embedded()?, &Topics::new(&config.kafka.topic_prefix));
    match action {
        TopicsAction::Create => {
            let made = topics::ensure(&kafka, &specs, replication).await?;
            println!("{} topics at {bootstrap}: {} made, {} were there", specs.len(), made.len(), specs.len() - made.len());
            for name in made {
                println!("  made {name}");
            }
        }
        TopicsAction::Check => {
            topics::check(&kafka, &specs).await?;
            println!("{} topics at {bootstrap}: all there, with the right partition counts", specs.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}
