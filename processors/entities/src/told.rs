//! What is told: results of any kind, put together from the kind's datum.

use schemas::Catalog;
use schemas::catalog::Kind;
use schemas::datum::{DecodeError, Union, write_block_end, write_bytes, write_long};

use crate::Entities;

/// A result of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    result_type: String,
    datum: Vec<u8>,
}

impl Told {
    /// `<kind>.created{version, <kind>}`.
    pub(crate) fn created(kind: &Kind, version: i64, data: &[u8]) -> Self {
        let mut datum = Vec::with_capacity(data.len() + 10);
        write_long(version, &mut datum);
        datum.extend_from_slice(data);
        Self { result_type: format!("{}.created", kind.name), datum }
    }

    /// `<kind>.updated{version, changed, <kind>}`; `changed` is not empty.
    pub(crate) fn updated(kind: &Kind, version: i64, changed: &[String], data: &[u8]) -> Self {
        let mut datum = Vec::with_capacity(data.len() + 64);
        write_long(version, &mut datum);
        write_long(i64::try_from(changed.len()).unwrap_or(i64::MAX), &mut datum);
        for name in changed {
            write_bytes(name.as_bytes(), &mut datum);
        }
        write_block_end(&mut datum);
        datum.extend_from_slice(data);
        Self { result_type: format!("{}.updated", kind.name), datum }
    }

    /// `<kind>.deleted{version}`.
    pub(crate) fn deleted(kind: &Kind, version: i64) -> Self {
        let mut datum = Vec::with_capacity(10);
        write_long(version, &mut datum);
        Self { result_type: format!("{}.deleted", kind.name), datum }
    }
}

impl Union for Told {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        let unknown = || DecodeError::UnknownType(name.to_owned());
        let catalog = Catalog::embedded().map_err(|_| unknown())?;
        let stream = catalog.stream(<Entities as runtime::Processor>::NAME).ok_or_else(unknown)?;
        stream.result(name).ok_or_else(unknown)?.schema.plan.fields(datum)?;
        Ok(Self { result_type: name.to_owned(), datum: datum.to_owned() })
    }

    fn name(&self) -> &str {
        &self.result_type
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.datum);
    }
}
