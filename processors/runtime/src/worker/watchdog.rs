//! Ends the process when a transactional call hangs. While Kafka is away a call waits for it, however long that takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chassis::kafka;
use chassis::lifecycle::Lifecycle;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;

use super::{Error, applier};

/// A call that blocks longer, although Kafka answers, ends the process: nothing else can tell it from a hang (F7).
const BLOCKED: Duration = Duration::from_secs(60);
/// A call that blocks for so long makes us look whether Kafka is there, and again after as long.
const LOOK: Duration = Duration::from_secs(10);
/// Kafka gets so long to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Where Kafka keeps the state of transactions.
const TRANSACTIONS: &str = "__transaction_state";

/// When the transactional call under way began, by the clock that goes on while a machine sleeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocked(Arc<AtomicI64>);

impl Blocked {
    /// Makes a call that the watchdog knows of.
    pub(super) fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        self.0.store(now_ms().max(1), Ordering::Release);
        let result = call();
        self.0.store(0, Ordering::Release);
        result
    }

    fn since(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Acquire)).filter(|since| *since != 0)
    }
}

fn now_ms() -> i64 {
    applier::boot_time().as_millis() as i64
}

/// Watches over the calls of one worker.
pub(super) fn watch(lifecycle: &Lifecycle, blocked: Blocked, settings: kafka::Settings) {
    let stop = lifecycle.stop();
    lifecycle.spawn("transaction-watchdog", async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let (mut looked, mut away) = (0, 0);
        loop {
            tokio::select! {
                () = stop.wait() => return Ok(()),
                _ = tick.tick() => {}
            }
            let Some(since) = blocked.since() else { continue };
            let blocks = |since| now_ms() - since;
            if blocks(since.max(looked)) > LOOK.as_millis() as i64 {
                if let Some(why) = is_away(&settings).await {
                    tracing::warn!(why, "Kafka is away: a transaction waits for it");
                    away = now_ms();
                }
                looked = now_ms();
            }
            if blocks(since.max(away)) > BLOCKED.as_millis() as i64 {
                return Err(Error::Stopped(
                    "a transactional call has been blocked for over a minute, although Kafka answers".into(),
                ));
            }
        }
    });
}

/// Why no transaction can end now, whoever asks: Kafka does not answer, or what it keeps of transactions has no leader.
async fn is_away(settings: &kafka::Settings) -> Option<String> {
    let config = settings.client_config();
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config.create()?;
        client.fetch_metadata(Some(TRANSACTIONS), ANSWER)
    });
    match asked.await.ok()? {
        Err(error) => Some(error.to_string()),
        Ok(metadata) => {
            let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
            let headless = partitions.filter(|partition| partition.leader() < 0).count();
            (headless > 0).then(|| format!("{headless} partitions of {TRANSACTIONS} have no leader"))
        }
    }
}
