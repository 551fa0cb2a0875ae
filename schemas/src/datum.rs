//! Avro binary for generated code: what a record can do, and how bytes are read and written.

pub(crate) mod cursor;
pub(crate) mod field;

pub use cursor::Cursor;
pub use field::{write_block_end, write_bytes, write_long};

/// Why bytes are not a datum of the schema they claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("the datum ends inside a value, at byte {at}")]
    Truncated {
        /// Byte offset in the datum.
        at: usize,
    },
    /// A value that the schema does not allow (varint too long, index out of range, not UTF-8 …).
    #[error("{what} at byte {at}")]
    Invalid {
        /// What is wrong, in words.
        what: &'static str,
        /// Byte offset in the datum.
        at: usize,
    },
    /// Bytes are left behind the last field.
    #[error("{count} bytes are left behind the datum")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The type is none of the union's.
    #[error("unknown type {0}")]
    UnknownType(String),
}

/// One record type with its Avro binary form.
pub trait Datum: Sized {
    /// Full name of the record, `namespace.Name`.
    const RECORD: &'static str;
    /// Appends the datum.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads one datum; every byte is checked.
    ///
    /// # Errors
    /// [`DecodeError`] with the byte offset.
    fn decode(datum: &[u8]) -> Result<Self, DecodeError>;
}

/// One of several records: the inputs, rows or results of a stream.
pub trait Union: Sized + Send + Sync + 'static {
    /// Reads the member that `name` names: an event or result type, or for rows the record's full name.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] when there is no such member, else what is wrong with the bytes.
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError>;
    /// The name `decode` would take for this value.
    fn name(&self) -> &str;
    /// Appends the datum of the member.
    fn encode(&self, out: &mut Vec<u8>);
}
