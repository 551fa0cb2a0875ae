//! Topics of the deployment: making them, checking them, waiting for the broker.

mod held;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition};

use crate::ffi;
use crate::kafka::{self, Settings};

/// The longest wait for one answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest wait for new topics to be made and known to every broker. A busy controller takes its time; nobody gains
/// when a start fails for that.
const MADE: Duration = Duration::from_secs(60);
/// Between two questions while something is not there yet.
const PAUSE: Duration = Duration::from_millis(50);

/// A topic as the catalog wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name, prefix included.
    pub name: String,
    /// Number of partitions, fixed for life.
    pub partitions: i32,
    /// Settings of the topic for its creation, e.g. `cleanup.policy`.
    pub config: Vec<(String, String)>,
}

/// Why topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there.
    #[error(
        "no kafka broker answers at {bootstrap} ({reason}): start one there, or name another with kafka.bootstrap, \
         FOREBAY__KAFKA__BOOTSTRAP or the flag for it"
    )]
    Unreachable {
        /// The configured address.
        bootstrap: String,
        /// What the client last said.
        reason: String,
    },
    /// Topics that were never made.
    #[error("missing topic{} {}: create with `forebay topics create`", if .0.len() == 1 { "" } else { "s" }, .0.join(", "))]
    Missing(Vec<String>),
    /// A topic with another number of partitions, which would send subjects to other shards.
    #[error(
        "topic {name} has {found} partitions and the catalog says {wanted}: the number is fixed for life, so correct the catalog or use another \
         topic prefix"
    )]
    Partitions {
        /// The topic.
        name: String,
        /// What the broker has.
        found: i32,
        /// What the catalog says.
        wanted: i32,
    },
    /// A topic with a setting that would break a promise.
    #[error(
        "topic {name} has {key}={found} and must have {key}={wanted}: change it with `kafka-configs.sh --alter --entity-type topics \
         --entity-name {name} --add-config {key}={wanted}`"
    )]
    Setting {
        /// The topic.
        name: String,
        /// The setting.
        key: String,
        /// What the broker has.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// The broker refuses to make a topic.
    #[error("topic {name} cannot be created: {reason}")]
    Create {
        /// The topic.
        name: String,
        /// The broker's reason.
        reason: String,
    },
    /// The client cannot be made.
    #[error("the kafka admin client cannot start: {0}; check the kafka settings")]
    Client(KafkaError),
}

/// Makes the topics that are missing and checks the others; returns the names of those it made, which are usable then.
///
/// # Errors
/// No broker, a topic with another number of partitions or a wrong setting (nothing is made then), or a refusal by the broker.
pub async fn ensure(settings: &Settings, specs: &[Spec], replication: i16) -> Result<Vec<String>, Error> {
    let found = describe(settings, ANSWER).await?;
    let mut missing = Vec::new();
    for spec in specs {
        match found.expect(&spec.name, spec.partitions) {
            Ok(_) => {}
            Err(Error::Missing(_)) => missing.push(spec),
            Err(error) => return Err(error),
        }
    }
    let existing: Vec<&Spec> = specs.iter().filter(|spec| !missing.contains(spec)).collect();
    held::check(settings, &existing).await?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    create(settings, &missing, replication).await?;
    wait_for(settings, &missing).await?;
    Ok(missing.iter().map(|spec| spec.name.clone()).collect())
}

/// Checks that all topics exist with their partition counts, and with the settings that a promise hangs on
/// (`message.timestamp.type`, `cleanup.policy`).
///
/// # Errors
/// No broker, all missing topics together, or the first wrong partition count or setting.
pub async fn check(settings: &Settings, specs: &[Spec]) -> Result<(), Error> {
    let found = describe(settings, ANSWER).await?;
    let mut missing = Vec::new();
    for spec in specs {
        match found.expect(&spec.name, spec.partitions) {
            Ok(_) => {}
            Err(Error::Missing(names)) => missing.extend(names),
            Err(error) => return Err(error),
        }
    }
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    held::check(settings, &specs.iter().collect::<Vec<_>>()).await
}

/// Waits until the broker answers and can make a topic, which on a fresh one is later than an open port.
///
/// # Errors
/// Not ready within `limit`.
pub async fn wait_ready(settings: &Settings, limit: Duration) -> Result<(), Error> {
    let begun = Instant::now();
    let admin = admin(settings)?;
    let probe = NewTopic::new("forebay.ready-probe", 1, TopicReplication::Fixed(1));
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        // validate only: the controller runs all its checks and makes nothing
        let options = AdminOptions::new().request_timeout(Some(left.min(Duration::from_secs(2)))).validate_only(true);
        let reason = match admin.create_topics([&probe], &options).await.map(|results| results.into_iter().next()) {
            Ok(None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => return Ok(()),
            Ok(Some(Err((_, code)))) => code.to_string(),
            Err(error) => error.to_string(),
        };
        if left.is_zero() {
            return Err(Error::Unreachable { bootstrap: settings.bootstrap.clone(), reason });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The topics of a cluster as one answer told them.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    topics: HashMap<String, Topic>,
}

/// A topic as the broker has it.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Number of partitions.
    pub partitions: i32,
    /// Partitions that have no leader now.
    pub leaderless: Vec<i32>,
}

impl Topics {
    /// Names and facts of all topics.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    /// Number of partitions of a topic that must exist.
    ///
    /// # Errors
    /// It is missing.
    pub fn partitions(&self, name: &str) -> Result<i32, Error> {
        self.topics.get(name).map(|topic| topic.partitions).ok_or_else(|| Error::Missing(vec![name.to_owned()]))
    }

    /// The topic, which must have that number of partitions.
    ///
    /// # Errors
    /// It is missing or has another number.
    pub fn expect(&self, name: &str, wanted: i32) -> Result<&Topic, Error> {
        match self.topics.get(name) {
            None => Err(Error::Missing(vec![name.to_owned()])),
            Some(topic) if topic.partitions != wanted => {
                Err(Error::Partitions { name: name.to_owned(), found: topic.partitions, wanted })
            }
            Some(topic) => Ok(topic),
        }
    }
}

/// Asks the cluster for its topics.
///
/// # Errors
/// No broker answers within `limit`.
pub async fn describe(settings: &Settings, limit: Duration) -> Result<Topics, Error> {
    let admin = admin(settings)?;
    let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, limit).map(|metadata| read(&metadata)));
    let unreachable = |reason: String| Error::Unreachable { bootstrap: settings.bootstrap.clone(), reason };
    match asked.await {
        Ok(answer) => answer.map_err(|error| unreachable(error.to_string())),
        Err(panic) => Err(unreachable(panic.to_string())),
    }
}

/// The ids of topics, 16 bytes each, which change when a topic is made anew under its name. Topics that do not exist are left out.
///
/// # Errors
/// No broker answers within `limit`.
pub async fn ids(settings: &Settings, names: &[String], limit: Duration) -> Result<HashMap<String, [u8; 16]>, Error> {
    let (admin, names) = (admin(settings)?, names.to_vec());
    let asked = tokio::task::spawn_blocking(move || {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ffi::topic_ids(admin.inner(), &names, limit)
    });
    let unreachable = |reason: String| Error::Unreachable { bootstrap: settings.bootstrap.clone(), reason };
    match asked.await {
        Ok(Ok(Some(ids))) => Ok(ids),
        Ok(Ok(None)) => Err(unreachable("topic ids did not come in time".to_owned())),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(panic) => Err(unreachable(panic.to_string())),
    }
}

fn read(metadata: &Metadata) -> Topics {
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    let topics = topics.map(|topic| {
        let leaderless =
            topic.partitions().iter().filter(|partition| partition.leader() < 0).map(MetadataPartition::id).collect();
        let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        (topic.name().to_owned(), Topic { partitions, leaderless })
    });
    Topics { topics: topics.collect() }
}

async fn create(settings: &Settings, specs: &[&Spec], replication: i16) -> Result<(), Error> {
    let new: Vec<NewTopic<'_>> = specs
        .iter()
        .map(|spec| {
            let new = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(i32::from(replication)));
            spec.config.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(MADE)).request_timeout(Some(MADE));
    let unreachable = |error: KafkaError| Error::Unreachable { bootstrap: settings.bootstrap.clone(), reason: error.to_string() };
    for result in admin(settings)?.create_topics(&new, &options).await.map_err(unreachable)? {
        match result {
            // somebody else made it meanwhile; the check that follows sees with how many partitions
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(Error::Create { name, reason: code.to_string() }),
        }
    }
    Ok(())
}

/// New topics are known to the controller before they are known to every broker, and before their partitions have leaders.
async fn wait_for(settings: &Settings, specs: &[&Spec]) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        let found = describe(settings, ANSWER).await?;
        let mut late = Vec::new();
        for spec in specs {
            match found.expect(&spec.name, spec.partitions) {
                Ok(topic) if topic.leaderless.is_empty() => {}
                Ok(_) | Err(Error::Missing(_)) => late.push(spec.name.clone()),
                Err(error) => return Err(error),
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > MADE {
            return Err(Error::Missing(late));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Logs go through `tracing` like everybody's.
struct Context;

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        kafka::log("admin", level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the kafka admin client reports an error");
    }
}

fn admin(settings: &Settings) -> Result<AdminClient<Context>, Error> {
    settings.client_config().create_with_context(Context).map_err(Error::Client)
}
