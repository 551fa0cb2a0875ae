//! Avro binary, read with bounds and written as the reference writers do.

use super::decimal;
use super::errors::{CheckError, code};
use crate::datum::DecodeError;

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

impl Fault {
    pub(super) fn within(self, pointer: String) -> CheckError {
        CheckError { pointer, code: self.code, error: self.into() }
    }
}

/// A position in a datum.
#[derive(Debug, Clone)]
pub(super) struct Input<'a> {
    datum: &'a [u8],
    at: usize,
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
        Input { datum, at: 0, items_left: items }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.datum[start..self.at]
    }

    pub(super) fn invalid(&self, code: &'static str, what: &'static str) -> Fault {
        Fault { code, what, at: self.at }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let end = start.checked_add(count).filter(|end| *end <= self.datum.len());
        self.at = end.ok_or(Fault { code: code::TRUNCATED, what: "truncated", at: start })?;
        Ok(self.since(start))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Fault { code: code::BAD_FORMAT, what: "a boolean is 0 or 1", at: self.at - 1 }),
        }
    }

    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        let start = self.at;
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            raw |= bits << shift;
            if byte < 0x80 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(Fault { code: code::BAD_FORMAT, what: "a varint is longer than 64 bits", at: start })
    }

    pub(super) fn int(&mut self) -> Result<i32, Fault> {
        let start = self.at;
        let long = self.long()?;
        match i32::try_from(long) {
            Ok(int) if self.at - start <= 5 => Ok(int),
            _ => Err(Fault { code: code::OUT_OF_RANGE, what: "an int is longer than 32 bits", at: start }),
        }
    }

    pub(super) fn float(&mut self) -> Result<f32, Fault> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    pub(super) fn double(&mut self) -> Result<f64, Fault> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let length = self.long()?;
        let length =
            usize::try_from(length).map_err(|_| Fault { code: code::BAD_LENGTH, what: "a length is negative", at: start })?;
        self.take(length)
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| Fault { code: code::BAD_UTF8, what: "a string is not utf-8", at: start })
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
        Ok(u32::from_le_bytes(self.array()?))
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
            if blocks.end.is_some_and(|end| end != self.at) {
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
        let start = self.at;
        let count = self.long()?;
        let mut end = None;
        if count < 0 {
            let size = self.long()?;
            let size = usize::try_from(size).ok().and_then(|size| self.at.checked_add(size));
            end = Some(size.ok_or(Fault { code: code::BAD_LENGTH, what: "a block's size is negative", at: start })?);
        }
        let left = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let room = self.items_left.checked_sub(left);
        self.items_left =
            room.ok_or(Fault { code: code::TOO_MANY, what: "more array and map entries than allowed", at: start })?;
        Ok(Blocks { left, end })
    }

    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.datum.len() - self.at {
            0 => Ok(()),
            count => Err(Fault { code: code::TRAILING_BYTES, what: "trailing bytes", at: count }),
        }
    }
}

/// Appends a zigzag varint; ints are written the same.
pub(super) fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_bits(rest));
}

fn low_bits(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7F
}

/// Appends a count or length.
pub(super) fn write_length(length: usize, out: &mut Vec<u8>) {
    // no buffer is longer than isize::MAX
    write_long(i64::try_from(length).unwrap_or(i64::MAX), out);
}

/// Appends bytes or a string with their length.
pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(bytes.len(), out);
    out.extend_from_slice(bytes);
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
