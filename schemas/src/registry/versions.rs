//! Schemas by fingerprint: data inside rows names its writer that way, and the registry has no such question, so the versions of the
//! subject are read once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Mutex;

use super::{Error, MISSING_LIFE, RegisteredSchema, Registry};
use crate::catalog::fingerprint;

/// Versions of one subject that are looked at, the newest ones.
const VERSIONS_MAX: usize = 1_000;
/// Schemas kept, found or not.
const KNOWN_MAX: usize = 10_000;

/// What was found under registry subjects so far.
#[derive(Default)]
pub(super) struct Versions {
    known: RwLock<HashMap<(String, String), Known>>,
    /// One look at a time.
    flight: Mutex<()>,
}

#[derive(Clone)]
enum Known {
    Schema(Arc<RegisteredSchema>),
    Missing(Instant),
}

impl Registry {
    /// The version under `subject` whose fingerprint (as [`crate::catalog::RecordSchema::fingerprint`]) is this.
    ///
    /// # Errors
    /// [`Error::NoVersion`] (remembered for 10 s), [`Error::Unavailable`].
    pub async fn schema_by_fingerprint(&self, subject: &str, fingerprint: &str) -> Result<Arc<RegisteredSchema>, Error> {
        let missing = || Error::NoVersion { subject: subject.to_owned(), fingerprint: fingerprint.to_owned() };
        if let Some(known) = self.versions.get(subject, fingerprint) {
            return known.ok_or_else(missing);
        }
        let _flight = self.versions.flight.lock().await;
        if let Some(known) = self.versions.get(subject, fingerprint) {
            return known.ok_or_else(missing);
        }
        let versions = self.client.versions(subject).await?;
        for version in versions.into_iter().rev().take(VERSIONS_MAX) {
            let Some(id) = self.client.id_of_version(subject, version).await? else { continue };
            match self.schema_by_id(id).await {
                Ok(schema) => self.versions.keep(subject, self::fingerprint(&schema.schema), Known::Schema(schema)),
                Err(Error::Unusable { .. } | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            if let Some(Some(found)) = self.versions.get(subject, fingerprint) {
                return Ok(found);
            }
        }
        self.versions.keep(subject, fingerprint.to_owned(), Known::Missing(Instant::now()));
        Err(missing())
    }
}

impl Versions {
    /// `Some(None)`: looked for lately and not found.
    fn get(&self, subject: &str, fingerprint: &str) -> Option<Option<Arc<RegisteredSchema>>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(&(subject.to_owned(), fingerprint.to_owned()))? {
            Known::Schema(schema) => Some(Some(schema.clone())),
            Known::Missing(since) => (since.elapsed() < MISSING_LIFE).then_some(None),
        }
    }

    fn keep(&self, subject: &str, fingerprint: String, found: Known) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert((subject.to_owned(), fingerprint), found);
    }
}
