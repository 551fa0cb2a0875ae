//! Who wrote a value: schemas by id, looked up beside the loop. A shard whose next record has an unknown id waits;
//! the others go on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use schemas::frame;
use schemas::registry::{self, Registry, SchemaIds};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::engine::input::Writer;
use crate::engine::settings::Settings;

/// Between two questions for one id while the registry does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Ids remembered at the most.
const KNOWN_MAX: usize = 10_000;

/// Writer schemas by id.
pub(super) struct Writers {
    registry: Arc<Registry>,
    known: HashMap<i32, Writer>,
    asked: HashSet<i32>,
    answer: UnboundedSender<(i32, Writer)>,
    answers: UnboundedReceiver<(i32, Writer)>,
    lifecycle: Lifecycle,
    tokio: tokio::runtime::Handle,
}

impl Writers {
    pub(super) fn new(
        settings: &Settings,
        registry: Arc<Registry>,
        ids: &SchemaIds,
        lifecycle: Lifecycle,
        tokio: tokio::runtime::Handle,
    ) -> Self {
        let (answer, answers) = unbounded_channel();
        let known = settings
            .event_types
            .values()
            .filter_map(|event| {
                let name: &str = &event.reader.full_name;
                Some((ids.id_of(name)?, Writer::Current(name.into())))
            })
            .collect();
        Self { registry, known, asked: HashSet::new(), answer, answers, lifecycle, tokio }
    }

    /// Who wrote `value`; none while the registry is being asked.
    pub(super) fn of(&mut self, value: &[u8]) -> Option<Writer> {
        let Ok((id, _)) = frame::split(value) else { return Some(Writer::Unframed) };
        if let Some(writer) = self.known.get(&id) {
            return Some(writer.clone());
        }
        if self.asked.insert(id) {
            self.ask(id);
        }
        None
    }

    /// Takes over what the registry answered; true when there was anything.
    pub(super) fn learn(&mut self) -> bool {
        let mut learned = false;
        while let Ok((id, writer)) = self.answers.try_recv() {
            if self.known.len() >= KNOWN_MAX {
                self.known.retain(|_, writer| matches!(writer, Writer::Current(_)));
            }
            self.asked.remove(&id);
            self.known.insert(id, writer);
            learned = true;
        }
        learned
    }

    /// An id that is unknown today may be registered tomorrow: it is asked for again by the next record that has it.
    pub(super) fn forget_unknown(&mut self) {
        self.known.retain(|_, writer| !matches!(writer, Writer::Unknown(_)));
    }

    /// Asks until there is an answer, or nobody waits for it any more.
    fn ask(&self, id: i32) {
        let (registry, answer, stop) = (self.registry.clone(), self.answer.clone(), self.lifecycle.stop());
        let _entered = self.tokio.enter();
        self.lifecycle.spawn("schema-lookup", async move {
            let mut told = false;
            loop {
                let writer = match registry.schema_by_id(id).await {
                    Ok(schema) => Writer::Other(schema),
                    Err(registry::Error::NotFound(_) | registry::Error::Unusable { .. }) => Writer::Unknown(id),
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            tracing::warn!(%error, id, "the registry does not answer; shards with records of this schema wait");
                        }
                        tokio::select! {
                            () = stop.wait() => return Ok::<(), std::convert::Infallible>(()),
                            () = answer.closed() => return Ok(()),
                            () = tokio::time::sleep(RETRY) => continue,
                        }
                    }
                };
                if told {
                    tracing::info!(id, "the registry answers again");
                }
                // the session that asked may be over
                let _ = answer.send((id, writer));
                return Ok(());
            }
        });
    }
}
