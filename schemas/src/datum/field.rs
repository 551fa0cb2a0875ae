//! How one field is written and read, by its Rust type. The bytes equal those of the Java and `apache-avro` writers:
//! arrays and maps are one block with its count.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Cursor, DecodeError};

/// A value with an Avro binary form.
pub(crate) trait Field: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError>;
}

/// Reads a whole datum.
pub(crate) fn read_whole<T: Field>(datum: &[u8]) -> Result<T, DecodeError> {
    let mut cursor = Cursor::new(datum);
    let value = T::read(&mut cursor)?;
    cursor.finish()?;
    Ok(value)
}

/// Appends a long (or int) as a zigzag varint.
#[inline]
pub fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Appends bytes or a string behind the length.
#[inline]
pub fn write_bytes(value: &[u8], out: &mut Vec<u8>) {
    write_count(value.len(), out);
    out.extend_from_slice(value);
}

/// Appends the end of an array or map.
#[inline]
pub fn write_block_end(out: &mut Vec<u8>) {
    out.push(0);
}

fn write_count(count: usize, out: &mut Vec<u8>) {
    write_long(i64::try_from(count).unwrap_or(i64::MAX), out);
}

impl Field for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        cursor.boolean()
    }
}

impl Field for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(i64::from(*self), out);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        cursor.int()
    }
}

impl Field for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(*self, out);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        cursor.long()
    }
}

impl Field for f32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        cursor.float()
    }
}

impl Field for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        cursor.double()
    }
}

impl Field for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Ok(cursor.string()?.to_owned())
    }
}

impl Field for Bytes {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self, out);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        Ok(Self::copy_from_slice(cursor.bytes()?))
    }
}

impl<const N: usize> Field for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        cursor.array()
    }
}

/// `["null", T]`.
impl<T: Field> Field for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(2);
                value.write(out);
            }
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        match cursor.index(2)? {
            0 => Ok(None),
            _ => Ok(Some(T::read(cursor)?)),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            write_count(self.len(), out);
            for item in self {
                item.write(out);
            }
        }
        write_block_end(out);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let mut items = Self::new();
        loop {
            let count = cursor.block()?;
            if count == 0 {
                return Ok(items);
            }
            for _ in 0..count {
                items.push(T::read(cursor)?);
            }
        }
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            write_count(self.len(), out);
            for (key, value) in self {
                write_bytes(key.as_bytes(), out);
                value.write(out);
            }
        }
        write_block_end(out);
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let mut entries = Self::new();
        loop {
            let count = cursor.block()?;
            if count == 0 {
                return Ok(entries);
            }
            for _ in 0..count {
                let key = cursor.string()?.to_owned();
                entries.insert(key, T::read(cursor)?);
            }
        }
    }
}
