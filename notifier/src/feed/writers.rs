//! The schemas that results were written with, by registry id: looked up once per id and stream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use schemas::catalog::Catalog;
use schemas::registry::{self, Registry};

use crate::ring::Writer;

/// How long a result waits for its schema.
const WAIT: Duration = Duration::from_secs(10);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// An id that could not be found is not asked for again for this long.
const FORGET: Duration = Duration::from_secs(30);
/// Ids remembered per stream, found or not.
const IDS_MAX: usize = 4_096;

/// The known schemas of one stream.
pub(super) struct Writers {
    registry: Arc<Registry>,
    /// Event types of the catalog by record name.
    types: HashMap<String, Box<str>>,
    known: HashMap<i32, Known>,
}

enum Known {
    Found(Arc<Writer>),
    Missing { until: Instant },
}

impl Writers {
    pub(super) fn new(stream: &str, catalog: &Catalog, registry: Arc<Registry>) -> Self {
        let declared = catalog.stream(stream).map_or(&[][..], |stream| &stream.results);
        let types = declared.iter().map(|result| (result.schema.full_name.clone(), result.ce_type.as_str().into())).collect();
        Self { registry, types, known: HashMap::new() }
    }

    /// The schema `id`; `None` if there is none, or if the registry did not answer in time.
    pub(super) async fn get(&mut self, id: i32) -> Option<Arc<Writer>> {
        match self.known.get(&id) {
            Some(Known::Found(writer)) => return Some(Arc::clone(writer)),
            Some(Known::Missing { until }) if *until > Instant::now() => return None,
            Some(Known::Missing { .. }) | None => {}
        }
        let found = self.ask(id).await;
        if self.known.len() >= IDS_MAX {
            self.known.clear();
        }
        let known = match &found {
            Some(writer) => Known::Found(Arc::clone(writer)),
            None => Known::Missing { until: Instant::now() + FORGET },
        };
        self.known.insert(id, known);
        found
    }

    async fn ask(&self, id: i32) -> Option<Arc<Writer>> {
        let begun = Instant::now();
        loop {
            match self.registry.schema_by_id(id).await {
                Ok(schema) => {
                    let ce_type = self.types.get(&schema.full_name).cloned().unwrap_or_else(|| schema.full_name.as_str().into());
                    return Some(Arc::new(Writer { ce_type, plan: Arc::clone(&schema.plan) }));
                }
                Err(error @ (registry::Error::NotFound(_) | registry::Error::Unusable { .. })) => {
                    tracing::warn!(id, %error, "results are sent without their data");
                    return None;
                }
                Err(error) if begun.elapsed() >= WAIT => {
                    tracing::warn!(id, %error, "results are sent without their data");
                    return None;
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
