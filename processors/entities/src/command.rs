//! What arrives: an event of any kind, taken apart by the kind's schema.

use schemas::Catalog;
use schemas::catalog::{Kind, Stream};
use schemas::datum::{Cursor, DecodeError, Union, write_long};
use schemas::plan::{Captures, Limits};

use crate::Entities;

/// A command to a resource.
#[derive(Clone, Debug)]
pub struct Command {
    /// Event type, `student.create`.
    pub event_type: String,
    /// What kind of resource.
    pub kind: Kind,
    /// What to do.
    pub verb: Verb,
    /// Datum of the kind's record; empty for a delete.
    pub data: Vec<u8>,
    /// The version that an update or delete wants to change.
    pub expected_version: Option<i64>,
}

/// What to do with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make it.
    Create,
    /// Replace its data.
    Update,
    /// Drop it.
    Delete,
}

impl Command {
    /// Takes an event of `stream` apart.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] when no kind of the stream has the type, else what is wrong with the bytes.
    pub fn of(stream: &Stream, event_type: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        let unknown = || DecodeError::UnknownType(event_type.to_owned());
        let (noun, verb) = event_type.split_once('.').ok_or_else(unknown)?;
        let verb = match verb {
            "create" => Verb::Create,
            "update" => Verb::Update,
            "delete" => Verb::Delete,
            _ => return Err(unknown()),
        };
        let kind = stream.kinds.iter().find(|kind| kind.name == noun).ok_or_else(unknown)?;
        let event = stream.events.iter().find(|event| event.ce_type == event_type).ok_or_else(unknown)?;
        let plan = &event.schema.plan;
        plan.check(datum, &Limits::default(), &mut Captures::default()).map_err(|error| error.error)?;

        let (data, expected_version) = if verb == Verb::Create {
            (datum, None)
        } else {
            // expected_version stands behind the kind's own fields
            let last = plan.fields(datum)?.last().map_or(0, |(_, bytes)| bytes.len());
            let (data, expected) = datum.split_at(datum.len() - last);
            (data, read_expected(expected)?)
        };
        Ok(Self { event_type: event_type.to_owned(), kind: kind.clone(), verb, data: data.to_owned(), expected_version })
    }
}

fn read_expected(bytes: &[u8]) -> Result<Option<i64>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    match cursor.index(2)? {
        0 => Ok(None),
        _ => Ok(Some(cursor.long()?)),
    }
}

impl Union for Command {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        let unknown = || DecodeError::UnknownType(name.to_owned());
        // a catalog that does not load has stopped the process long before
        let catalog = Catalog::embedded().map_err(|_| unknown())?;
        let stream = catalog.stream(<Entities as runtime::Processor>::NAME).ok_or_else(unknown)?;
        Self::of(stream, name, datum)
    }

    fn name(&self) -> &str {
        &self.event_type
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.data);
        match (self.verb, self.expected_version) {
            (Verb::Create, _) => {}
            (_, None) => out.push(0),
            (_, Some(version)) => {
                write_long(1, out);
                write_long(version, out);
            }
        }
    }
}
