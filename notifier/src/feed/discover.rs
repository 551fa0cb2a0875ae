//! Looks for `<prefix>*.results` topics, so that a new stream is read without a restart.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chassis::kafka::tail::Start;
use chassis::kafka::topics;
use chassis::lifecycle::Stop;

use super::{COMPONENT, DISCOVERY, DISCOVERY_FIRST, Feed};
use crate::clock::now_ms;
use crate::metrics::RING_BYTES;
use crate::ring::Total;

/// How long one question to the broker may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often readiness is looked at while the first streams are read.
const READINESS: Duration = Duration::from_millis(100);

impl Feed {
    pub(super) async fn discover(self, stop: Stop) -> Result<(), chassis::kafka::tail::Error> {
        let total = self.pulse.ring_total();
        let mut known = HashSet::new();
        let mut first = true;
        let held = metrics::gauge!(RING_BYTES);
        loop {
            held.set(u32::try_from(total.bytes()).unwrap_or(u32::MAX));
            let pause = match self.look(&mut known, first, &total).await {
                Ok(true) if first => {
                    first = false;
                    self.wait_until_read(&stop).await;
                    DISCOVERY
                }
                Ok(_) if first => DISCOVERY_FIRST,
                Ok(_) => DISCOVERY,
                Err(Trouble::Broker(error)) => {
                    tracing::info!(%error, "results topics cannot be looked for");
                    if first { DISCOVERY_FIRST } else { DISCOVERY }
                }
                Err(Trouble::Tail(error)) => return Err(error),
            };
            tokio::select! {
                () = stop.wait() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Begins to read what is new; true if there is anything to read.
    async fn look(&self, known: &mut HashSet<String>, first: bool, total: &Arc<Total>) -> Result<bool, Trouble> {
        let found = topics::describe(&self.kafka, ANSWER).await.map_err(Trouble::Broker)?;
        let mut streams: Vec<(String, i32)> = found
            .iter()
            .filter_map(|(topic, facts)| {
                let stream = topic.strip_prefix(&self.topics.prefix)?.strip_suffix(".results")?;
                (!stream.is_empty() && !stream.contains('/')).then(|| (stream.to_owned(), facts.partitions))
            })
            .collect();
        streams.sort();
        // a stream that appears while we run is read from its beginning: whoever subscribed to it misses nothing
        let start = if first { Start::At(now_ms() - self.limits.age_ms) } else { Start::Beginning };
        for (stream, partitions) in streams {
            if known.insert(stream.clone()) {
                self.read(&stream, partitions, start, total).map_err(Trouble::Tail)?;
            }
        }
        Ok(!known.is_empty())
    }

    /// Subscriptions are taken only when everything that was there at the start is known.
    async fn wait_until_read(&self, stop: &Stop) {
        while !self.streams.all().iter().all(|stream| stream.is_known()) {
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(READINESS) => {}
            }
        }
        self.streams.ready.store(true, Ordering::Release);
        self.lifecycle.set_ready(COMPONENT, true, "all results are read to their end");
    }
}

enum Trouble {
    Broker(topics::Error),
    Tail(chassis::kafka::tail::Error),
}
