//! The plan: one schema compiled for reading JSON into Avro, checking Avro, and writing JSON from it.
//!
//! A [`Plan`] is a flat array of nodes; recursion is an index. [`Plan::encode`] is one walk over the JSON text that validates and
//! writes at the same time and keeps going after a fault, so that a caller learns of all of them. [`Plan::check`] walks every byte
//! of a datum, [`Plan::render`] turns a datum into JSON. The edge encodes and checks, the read side renders.
//!
//! How Avro stands in JSON: numbers, strings, arrays, objects as themselves; longs also as strings, and written so beyond 2^53;
//! bytes and fixed in base64; decimals, uuids, dates and times in their usual text, times also as their number; unions plain by the
//! kind of the JSON value, or tagged `{"<branch>": value}` where the kind does not decide. A union that has a map and no other
//! branch written as an object never reads a tag: there, a branch that shares its kind with an earlier one cannot be named.

mod binary;
mod capture;
mod check;
mod civil;
mod compile;
mod decimal;
mod defaults;
mod encode;
mod errors;
mod node;
mod number;
mod record;
mod render;
mod scalar;
mod scratch;
#[cfg(test)]
mod tests;
mod unions;

use apache_avro::Schema;

use self::node::{EnumType, Node, Record, Union, simple_label};
use crate::datum::DecodeError;
use crate::json::SyntaxError;

pub use self::errors::{CheckError, FIELD_ERRORS_MAX, FieldError, FieldErrors, code};
pub use self::scratch::Captures;

/// Deepest nesting any walk follows, whatever the limits say: walks recurse.
pub const DEPTH_MAX: usize = 128;

/// A compiled schema. Made once per schema version, shared by all that use it.
#[derive(Debug, Clone)]
pub struct Plan {
    name: String,
    nodes: Vec<Node>,
    records: Vec<Record>,
    unions: Vec<Union>,
    enums: Vec<EnumType>,
    root: Node,
    /// What [`Plan::with_captures`] asked for, each as field positions from the root record.
    captures: Vec<Vec<usize>>,
}

/// Why a schema or a pointer has no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema names a type that it does not define.
    #[error("the schema uses {0}, which it does not define")]
    UndefinedName(String),
    /// A field's default is no value of the field's type.
    #[error("the default of field {field} of {record} is no value of its type")]
    Default {
        /// Full name of the record.
        record: String,
        /// The field.
        field: String,
    },
    /// A pointer leads to nothing that can be captured.
    #[error("{pointer} leads to no string, uuid, enum, int or long of {record} through records alone")]
    Pointer {
        /// The pointer, RFC 6901.
        pointer: String,
        /// Full name of the root record.
        record: String,
    },
}

/// What a walk refuses whatever the schema says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of containers, at most [`DEPTH_MAX`].
    pub depth: usize,
    /// Array and map entries of one datum together.
    pub items: usize,
    /// Size of the datum in bytes.
    pub bytes: usize,
}

impl Default for Limits {
    /// The edge's defaults: 64 levels, 100,000 items, 512 KiB.
    fn default() -> Self {
        Limits { depth: 64, items: 100_000, bytes: 512 * 1024 }
    }
}

/// What to do with members that the schema does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFields {
    /// Each is an `unknown_field` error.
    #[default]
    Reject,
    /// They are passed over and counted ([`Captures::unknown_fields`]).
    Ignore,
}

/// How to read one JSON value.
#[derive(Debug, Clone, Copy, Default)]
pub struct EncodeOptions<'a> {
    /// Members that the schema does not have.
    pub unknown_fields: UnknownFields,
    /// Bounds.
    pub limits: Limits,
    /// Values known from elsewhere (path parameters), by field of the root record: an absent field is filled, one that is there must
    /// say the same. Only string, uuid, int and long fields (or unions with one) take part; other names are passed over.
    pub fill: &'a [(&'a str, &'a str)],
    /// Put in front of every pointer in errors: `/data` inside events, empty where the body is the data.
    pub prefix: &'a str,
}

/// Why nothing was encoded; faults of single fields are told by [`FieldErrors`] instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The text is not JSON.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// The datum would be larger than [`Limits::bytes`].
    #[error("the datum is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl Plan {
    /// Compiles `schema`.
    ///
    /// # Errors
    /// [`Error::UndefinedName`], [`Error::Default`].
    pub fn compile(schema: &Schema) -> Result<Self, Error> {
        compile::compile(schema)
    }

    /// The same plan, which also captures what `pointers` (RFC 6901, through records only) lead to, in that order.
    ///
    /// # Errors
    /// [`Error::Pointer`].
    pub fn with_captures(&self, pointers: &[&str]) -> Result<Self, Error> {
        let captures = pointers.iter().map(|pointer| self.capture_path(pointer)).collect::<Result<_, _>>()?;
        Ok(Plan { captures, ..self.clone() })
    }

    /// Full name of the schema's type (`long`, `array` … for types without a name).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of the root record's fields in schema order; empty if the root is no record.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.root_record().into_iter().flat_map(|record| record.fields.iter().map(|field| field.name.as_str()))
    }

    /// Reads one JSON value and appends its datum to `out`.
    ///
    /// Faults of the value go to `errors` (added to what is there); with any new one, or an error, `out` is left as it was.
    /// `captures` is overwritten; of an event with faults it has what could be found without them.
    ///
    /// # Errors
    /// [`EncodeError`]; what `errors` holds then is incomplete.
    pub fn encode(
        &self,
        json: &str,
        options: &EncodeOptions<'_>,
        out: &mut Vec<u8>,
        captures: &mut Captures,
        errors: &mut FieldErrors,
    ) -> Result<(), EncodeError> {
        encode::encode(self, json, options, out, captures, errors)
    }

    /// Walks every byte of `datum` and captures.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn check(&self, datum: &[u8], limits: &Limits, captures: &mut Captures) -> Result<(), CheckError> {
        check::check(self, datum, limits)?;
        self.capture(datum, captures);
        Ok(())
    }

    /// Appends `datum` as JSON.
    ///
    /// # Errors
    /// The bytes are no datum of the schema; `out` then holds a part.
    pub fn render(&self, datum: &[u8], out: &mut String) -> Result<(), DecodeError> {
        render::render(self, datum, out)
    }

    /// The fields of the root record as slices of `datum`, in schema order.
    ///
    /// # Errors
    /// The bytes are no datum of the schema.
    pub fn fields<'a>(&self, datum: &'a [u8]) -> Result<Vec<(&str, &'a [u8])>, DecodeError> {
        check::fields(self, datum)
    }

    /// What errors call a type.
    fn label(&self, node: Node) -> String {
        match node {
            Node::Fixed(size) => format!("fixed of {size} bytes"),
            Node::Enum(index) => {
                let EnumType { name, symbols, .. } = &self.enums[index];
                format!("{name}: {}", symbols.join(", "))
            }
            Node::Record(index) => self.records[index].name.clone(),
            Node::Union(index) => self.unions[index].label(),
            Node::Decimal { precision, scale, .. } => format!("decimal({precision}, {scale})"),
            Node::Timestamp { unit, local } => format!("{}timestamp-{}", if local { "local-" } else { "" }, unit.name()),
            _ => simple_label(node).to_owned(),
        }
    }

    fn root_record(&self) -> Option<&Record> {
        match self.root {
            Node::Record(index) => Some(&self.records[index]),
            _ => None,
        }
    }
}
