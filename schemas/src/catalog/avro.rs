//! Schemas of the catalog: files below `avro/`, each complete in itself, and the records that kinds make of them.

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use serde_json::Value;

use super::RecordSchema;
use crate::plan::Plan;

/// The schema files, parsed once each.
pub(super) struct Files<'a> {
    texts: HashMap<&'a str, &'a str>,
    parsed: HashMap<String, Arc<RecordSchema>>,
}

impl<'a> Files<'a> {
    pub(super) fn new(avro: &[(&'a str, &'a str)]) -> Self {
        Self { texts: avro.iter().copied().collect(), parsed: HashMap::new() }
    }

    /// The record in the file `path` below `avro/`.
    pub(super) fn record(&mut self, path: &str) -> Result<Arc<RecordSchema>, String> {
        if let Some(record) = self.parsed.get(path) {
            return Ok(record.clone());
        }
        let record = Arc::new(parse(&self.json(path)?).map_err(|problem| format!("avro/{path} {problem}"))?);
        self.parsed.insert(path.to_owned(), record.clone());
        Ok(record)
    }

    /// The file's text as JSON.
    pub(super) fn json(&self, path: &str) -> Result<Value, String> {
        let text = self.texts.get(path).ok_or_else(|| format!("there is no file avro/{path}; add it or correct `schema`"))?;
        serde_json::from_str(text).map_err(|error| format!("avro/{path} is not JSON: {error}"))
    }
}

/// A record from its JSON form.
pub(super) fn parse(json: &Value) -> Result<RecordSchema, String> {
    let text = json.to_string();
    let schema = Schema::parse_str(&text).map_err(|error| format!("is not an Avro schema: {error}"))?;
    let Schema::Record(record) = &schema else { return Err("is not a record".to_owned()) };
    let full_name = record.name.fullname(None);
    if record.name.namespace().is_none() {
        return Err("needs a namespace".to_owned());
    }
    let fingerprint = fingerprint(&schema);
    let plan = Plan::compile(&schema).map_err(|error| error.to_string())?;
    Ok(RecordSchema { full_name, json: text, fingerprint, plan: Arc::new(plan), schema })
}

/// CRC-64-AVRO of the canonical form, 16 hexadecimal digits.
pub(crate) fn fingerprint(schema: &Schema) -> String {
    schema.fingerprint::<Rabin>().bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
