//! An operator moves a shard on: one frame without rows and with new positions, written by the group's only member.

use std::collections::BTreeSet;
use std::time::Duration;

use chassis::lifecycle::{Lifecycle, Stop};
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::session::{Ended, Session};
use super::{Error, Options, Parts, Worker};
use crate::engine::assignment::ShardState;
use crate::engine::settings::Settings;

/// The group's coordinator answers within this.
const MEMBERS: Duration = Duration::from_secs(10);

/// Where a shard is to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// Shard number.
    pub shard: i32,
    /// Input topics without prefix, and the next offset of each. Positions only rise: what lies between is never processed.
    pub positions: Vec<(String, i64)>,
}

/// Moves a shard's positions. Everything of the stream must be stopped. Blocks until the frame is committed and in the store.
///
/// # Errors
/// [`Error::Stopped`] when the group has other members (it names them), the shard is halted, a topic is no input of it, or an
/// offset lies before its position or behind the topic's end.
pub async fn seek(options: Options, parts: Parts, seek: Seek, lifecycle: &Lifecycle) -> Result<(), Error> {
    let options = Options { workers: 1, seek: Some(seek), ..options };
    let worker = super::workers(&options, &parts, &lifecycle.core()).await?.into_iter().next();
    let worker = worker.ok_or_else(|| Error::Stopped("there is no worker".into()))?;
    let (done, told) = tokio::sync::oneshot::channel();
    lifecycle.core().thread("seek", move |stop| {
        // nobody waits any more when the command was broken off
        let _ = done.send(worker.seek(&stop));
        Ok::<(), Error>(())
    })?;
    told.await.map_err(|_| Error::Stopped("it ended without an answer".into()))?
}

impl Worker {
    fn seek(&self, stop: &Stop) -> Result<(), Error> {
        self.check_alone()?;
        let ended = match Session::start(self, BTreeSet::new()) {
            Ok(session) => session.run(stop),
            Err(failure) => failure.into(),
        };
        match ended {
            Ended::Shutdown => Ok(()),
            Ended::Restart { why, .. } | Ended::Stop(why) => Err(Error::Stopped(why)),
        }
    }

    /// Refuses while the group has members, and says who they are.
    fn check_alone(&self) -> Result<(), Error> {
        let stopped = |error: rdkafka::error::KafkaError| Error::Stopped(format!("the group's members: {error}"));
        let consumer: BaseConsumer = self.options.kafka.client_config().create().map_err(stopped)?;
        let group = self.group();
        let groups = consumer.fetch_group_list(Some(&group), MEMBERS).map_err(stopped)?;
        let members = groups.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
        let members: Vec<_> = members.map(|member| format!("{} at {}", member.id(), member.client_host())).collect();
        if members.is_empty() {
            return Ok(());
        }
        Err(Error::Stopped(format!(
            "the group {group} has members: {}; stop them, and wait until their session has ended (10 s)",
            members.join(", ")
        )))
    }
}

/// Moves the positions of a shard that was read back. `end_of` tells the end of an input topic.
pub(super) fn moved<E>(
    shard: &mut ShardState,
    seek: &Seek,
    settings: &Settings,
    end_of: impl Fn(usize) -> Result<i64, E>,
) -> Result<Result<(), String>, E> {
    for (topic, offset) in &seek.positions {
        let Some(feed) = settings.feed_of(topic) else {
            let known: Vec<_> = settings.feeds().map(|feed| settings.topic(feed).to_string()).collect();
            return Ok(Err(format!("{topic} is no input of {}; there are: {}", shard.shard, known.join(", "))));
        };
        let (position, end) = (shard.position(topic), end_of(feed.0)?);
        if *offset < position {
            return Ok(Err(format!(
                "{} has processed {topic} up to {position}, and positions only rise: to process events again, send them again",
                shard.shard
            )));
        }
        if *offset > end {
            return Ok(Err(format!("{topic} ends at {end} in partition {}", shard.shard.number)));
        }
        shard.begin(topic, *offset);
    }
    Ok(Ok(()))
}
