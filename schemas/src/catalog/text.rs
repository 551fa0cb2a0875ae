//! Fields of a kind that hold text: what claims and lists are made of.

use apache_avro::Schema;

use crate::datum::{Cursor, DecodeError};
use crate::plan::Plan;

/// A field of a record that is a string, or a string or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextField {
    /// Its name.
    pub name: String,
    at: usize,
    nullable: bool,
}

impl TextField {
    /// The field `name` of `schema`.
    pub(super) fn of(schema: &Schema, name: &str) -> Result<Self, String> {
        let Schema::Record(record) = schema else { return Err("is not a record".to_owned()) };
        let found = record.fields.iter().enumerate().find(|(_, field)| field.name == name);
        let (at, field) = found.ok_or_else(|| format!("the record has no field {name}"))?;
        let nullable = match &field.schema {
            Schema::String => false,
            Schema::Union(union) if matches!(union.variants(), [Schema::Null, Schema::String]) => true,
            _ => return Err(format!("the field {name} is neither a string nor a string or null")),
        };
        Ok(Self { name: name.to_owned(), at, nullable })
    }

    /// Its value in a datum of the record that `plan` was compiled from; none when it is null.
    ///
    /// # Errors
    /// The bytes are no datum of the schema.
    pub fn read(&self, plan: &Plan, datum: &[u8]) -> Result<Option<String>, DecodeError> {
        let fields = plan.fields(datum)?;
        let (_, bytes) = fields.get(self.at).ok_or(DecodeError::Invalid { what: "a field is missing", at: 0 })?;
        let mut cursor = Cursor::new(bytes);
        if self.nullable && cursor.index(2)? == 0 {
            return Ok(None);
        }
        cursor.string().map(|text| Some(text.to_owned()))
    }
}
