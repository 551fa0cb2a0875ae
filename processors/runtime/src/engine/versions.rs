//! Rows written under another version of their schema, as a processor reads them: with the present one.
//!
//! The same holds for inputs that waited in the agenda. The ids of the present versions are in the settings. Others are asked of the registry once ([`super::Action::Learn`])
//! and their rows resolved when they come from the store; the row itself changes only when it is written again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schemas::registry::RegisteredSchema;
use schemas::{frame, resolve};
use state::{Cell, RowKey};

use super::Found;
use super::cache::Image;
use super::input::Writer;
use super::settings::Settings;

/// Schemas remembered at the most; then they are asked for again.
const KNOWN_MAX: usize = 10_000;

/// Schemas that are not the present ones, by id.
#[derive(Debug, Default)]
pub struct Versions {
    known: HashMap<i32, Arc<RegisteredSchema>>,
}

impl Versions {
    /// Takes over what the registry told.
    pub fn learn(&mut self, schemas: Vec<Arc<RegisteredSchema>>) {
        if self.known.len() + schemas.len() > KNOWN_MAX {
            self.known.clear();
        }
        self.known.extend(schemas.into_iter().map(|schema| (schema.id, schema)));
    }

    /// Ids in `found` that must be asked for.
    #[must_use]
    pub fn unknown(&self, found: &Found, settings: &Settings) -> Vec<i32> {
        let single = found.rows.iter().filter_map(|(_, key, cell)| Some((key, cell.as_ref()?)));
        let ranges = found.ranges.iter().flat_map(|(_, _, rows)| rows.iter().map(|(key, cell)| (key, cell)));
        let ids = single.chain(ranges).filter_map(|(key, cell)| foreign(key, cell, settings));
        ids.filter(|id| !self.known.contains_key(id)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Who wrote the value of an input that waited.
    ///
    /// # Errors
    /// The id that must be asked for.
    pub fn writer(&self, value: &[u8], settings: &Settings) -> Result<Writer, i32> {
        let Ok((id, _)) = frame::split(value) else { return Ok(Writer::Unframed) };
        if let Some(name) = settings.event_names.get(&id) {
            return Ok(Writer::Current(name.clone()));
        }
        self.known.get(&id).map(|schema| Writer::Other(schema.clone())).ok_or(id)
    }

    /// The image of a row as it reads today.
    ///
    /// # Errors
    /// Why it cannot be read: no input is at fault, the deployment is.
    pub fn image(&self, key: &RowKey, cell: Cell, settings: &Settings) -> Result<Image, String> {
        let Some(id) = foreign(key, &cell, settings) else { return Ok(Image { val: cell.val, expire_at: cell.expire_at }) };
        let about = |what: String| format!("row {:?} of {} was written with schema {id}: {what}", key.sort, key.subject);
        let writer = self.known.get(&id).ok_or_else(|| about("the registry does not know it".to_owned()))?;
        let reader = settings
            .row_readers
            .get(&writer.full_name)
            .ok_or_else(|| about(format!("{} is no row of {} any more; put it back", writer.full_name, settings.stream)))?;
        let val = cell.val.as_deref().unwrap_or_default();
        let (_, datum) = frame::split(val).map_err(|error| about(error.to_string()))?;
        let datum = resolve::to_reader(writer, &reader.schema, datum)
            .map_err(|error| about(format!("{error}; give new fields a default, or run the version that wrote it")))?;
        let mut framed = Vec::with_capacity(datum.len() + frame::HEAD);
        frame::begin(reader.id, &mut framed);
        framed.extend_from_slice(&datum);
        Ok(Image { val: Some(framed.into()), expire_at: cell.expire_at })
    }
}

/// The schema id of a row that was not written with a present one. Rows of the engine itself have no schema id.
fn foreign(key: &RowKey, cell: &Cell, settings: &Settings) -> Option<i32> {
    if key.sort.starts_with('~') {
        return None;
    }
    let (id, _) = frame::split(cell.val.as_deref()?).ok()?;
    (!settings.row_names.contains_key(&id)).then_some(id)
}
