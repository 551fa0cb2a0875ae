//! Avro binary, read with bounds and written as the reference writers do.

use super::decimal;
use super::errors::{CheckError, code};
use crate::datum::{Cursor, DecodeError, write_long};

/// What is wrong with a datum; becomes an error of the API at its rim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) what: &'static str,
    /// Byte offset; for bytes left behind, their count.
    pub(super) at: usize,
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        match fault.code {
            code::TRUNCATED => DecodeError::Truncated { at: fault.at },
            code::TRAILING_BYTES => DecodeError::Trailing { count: fault.at },
            _ => DecodeError::Invalid { what: fault.what, at: fault.at },
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated { at } => Fault { code: code::TRUNCATED, what: "truncated", at },
            DecodeError::Invalid { what, at } => Fault { code: code::BAD_FORMAT, what, at },
            DecodeError::Trailing { count } => Fault { code: code::TRAILING_BYTES, what: "trailing bytes", at: count },
            DecodeError::UnknownType(_) => Fault { code: code::BAD_FORMAT, what: "unknown type", at: 0 },
        }
    }
}

impl Fault {
    /// The fault of an error that means `code` where it is no plain truncation.
    fn coded(error: DecodeError, code: &'static str) -> Self {
        let fault = Fault::from(error);
        if fault.code == code::BAD_FORMAT { Fault { code, ..fault } } else { fault }
    }

    pub(super) fn within(self, pointer: String) -> CheckError {
        CheckError { pointer, code: self.code, error: self.into() }
    }
}

/// A position in a datum, with the limits and codes of walks over foreign bytes.
#[derive(Debug, Clone)]
pub(super) struct Input<'a> {
    cursor: Cursor<'a>,
    items_left: usize,
}

/// The blocks of an array or map, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    left: usize,
    /// Where the block must end, if it said so.
    end: Option<usize>,
}

impl<'a> Input<'a> {
    /// Reads `datum`, which may hold `items` array and map entries.
    pub(super) fn new(datum: &'a [u8], items: usize) -> Self {
        Input { cursor: Cursor::new(datum), items_left: items }
    }

    pub(super) fn at(&self) -> usize {
        self.cursor.at()
    }

    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.cursor.since(start)
    }

    pub(super) fn invalid(&self, code: &'static str, what: &'static str) -> Fault {
        Fault { code, what, at: self.at() }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        Ok(self.cursor.take(count)?)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        Ok(self.cursor.boolean()?)
    }

    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        Ok(self.cursor.long()?)
    }

    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        let too_long = self.invalid(code::OUT_OF_RANGE, "an int has more than 5 bytes");
        let int = self.cursor.int().map_err(|error| Fault::coded(error, code::OUT_OF_RANGE))?;
        if self.at() - too_long.at > 5 { Err(too_long) } else { Ok(int) }
    }

    pub(super) fn float(&mut self) -> Result<f32, Fault> {
        Ok(self.cursor.float()?)
    }

    pub(super) fn double(&mut self) -> Result<f64, Fault> {
        Ok(self.cursor.double()?)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        self.cursor.bytes().map_err(|error| Fault::coded(error, code::BAD_LENGTH))
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let not_text = self.invalid(code::BAD_UTF8, "a string is not UTF-8");
        std::str::from_utf8(self.bytes()?).map_err(|_| not_text)
    }

    /// The bytes of a decimal: `fixed` many, or as many as they say; of at most `precision` digits.
    pub(super) fn decimal(&mut self, fixed: Option<usize>, precision: usize) -> Result<&'a [u8], Fault> {
        let too_long = self.invalid(code::OUT_OF_RANGE, "a decimal has more digits than its type");
        let bytes = match fixed {
            Some(size) => self.take(size)?,
            None => self.bytes()?,
        };
        if decimal::fits(bytes, precision) { Ok(bytes) } else { Err(too_long) }
    }

    pub(super) fn unsigned(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.cursor.array()?))
    }

    /// A position in an enum of `count` symbols.
    pub(super) fn symbol(&mut self, count: usize) -> Result<usize, Fault> {
        let fault = self.invalid(code::OUT_OF_RANGE, "an enum has no symbol at this index");
        usize::try_from(self.int()?).ok().filter(|index| *index < count).ok_or(fault)
    }

    /// A position in a union of `count` branches.
    pub(super) fn branch(&mut self, count: usize) -> Result<usize, Fault> {
        let fault = self.invalid(code::OUT_OF_RANGE, "a union has no branch at this index");
        usize::try_from(self.long()?).ok().filter(|index| *index < count).ok_or(fault)
    }

    /// Whether another entry follows; reads block headers on the way and counts against the limit.
    pub(super) fn entry(&mut self, blocks: &mut Blocks) -> Result<bool, Fault> {
        if blocks.left == 0 {
            if blocks.end.is_some_and(|end| end != self.at()) {
                return Err(self.invalid(code::BAD_LENGTH, "a block is not as long as it says"));
            }
            *blocks = self.block()?;
            if blocks.left == 0 {
                return Ok(false);
            }
        }
        blocks.left -= 1;
        Ok(true)
    }

    fn block(&mut self) -> Result<Blocks, Fault> {
        let start = self.at();
        let count = self.long()?;
        let mut end = None;
        if count < 0 {
            let size = self.long()?;
            let size = usize::try_from(size).ok().and_then(|size| self.at().checked_add(size));
            end = Some(size.ok_or(Fault { code: code::BAD_LENGTH, what: "a block's size is negative", at: start })?);
        }
        let left = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let room = self.items_left.checked_sub(left);
        self.items_left =
            room.ok_or(Fault { code: code::TOO_MANY, what: "more array and map entries than allowed", at: start })?;
        Ok(Blocks { left, end })
    }

    pub(super) fn end(&self) -> Result<(), Fault> {
        Ok(self.cursor.finish()?)
    }
}

/// Appends a count or length.
pub(super) fn write_length(length: usize, out: &mut Vec<u8>) {
    // no buffer is longer than isize::MAX
    write_long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

/// Closes a block of `count` entries whose bytes stand behind `start`, where one byte was left for the count.
pub(super) fn close_block(start: usize, count: usize, out: &mut Vec<u8>) {
    if count == 0 {
        out[start] = 0;
        return;
    }
    let end = out.len();
    write_length(count, out);
    let width = out.len() - end;
    // the first byte of the count takes the place left, the others make room for themselves
    out[start] = out[end];
    out.copy_within(end + 1..end + width, end);
    out.truncate(end + width - 1);
    out[start + 1..].rotate_right(width - 1);
    out.push(0);
}
