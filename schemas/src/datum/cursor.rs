//! A bounds-checked reader over Avro binary. Every length is compared with what is left before it is used.

use super::DecodeError;

/// Reads Avro values from the front of a slice.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What was read since offset `start`.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start.min(self.at)..self.at]
    }

    /// The end: nothing may be left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] when fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.remaining() {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes: an Avro fixed.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A long: zigzag varint of at most 10 bytes.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut off or too long.
    pub fn long(&mut self) -> Result<i64, DecodeError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else {
                return Err(DecodeError::Truncated { at: self.bytes.len() });
            };
            self.at += 1;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return Err(DecodeError::Invalid { what: "a number does not fit 64 bits", at: start });
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(DecodeError::Invalid { what: "a number has more than 10 bytes", at: start })
    }

    /// An int: a long that fits 32 bits.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn int(&mut self) -> Result<i32, DecodeError> {
        let at = self.at;
        i32::try_from(self.long()?).map_err(|_| DecodeError::Invalid { what: "a number does not fit 32 bits", at })
    }

    /// A boolean: one byte, 0 or 1.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn boolean(&mut self) -> Result<bool, DecodeError> {
        let at = self.at;
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecodeError::Invalid { what: "a boolean is neither 0 nor 1", at }),
        }
    }

    /// A float.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn float(&mut self) -> Result<f32, DecodeError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    /// A double.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn double(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// Bytes behind their length.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let at = self.at;
        let length = usize::try_from(self.long()?).map_err(|_| DecodeError::Invalid { what: "a length is negative", at })?;
        self.take(length)
    }

    /// A string.
    ///
    /// # Errors
    /// [`DecodeError`], also when it is not UTF-8.
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.at;
        str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid { what: "a string is not UTF-8", at })
    }

    /// An index into `count` enum symbols or union branches.
    ///
    /// # Errors
    /// [`DecodeError`] when it is out of range.
    pub fn index(&mut self, count: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        match usize::try_from(self.long()?) {
            Ok(index) if index < count => Ok(index),
            _ => Err(DecodeError::Invalid { what: "an enum or union index is out of range", at }),
        }
    }

    /// The head of an array or map block: how many items follow, 0 at the end.
    /// Every item of ours takes at least one byte, so no count can be larger than what is left.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn block(&mut self) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.long()?;
        if count < 0 {
            // a negative count is followed by the block's size in bytes
            let size = self.long()?;
            if usize::try_from(size).is_ok_and(|size| size > self.remaining()) {
                return Err(DecodeError::Truncated { at: self.bytes.len() });
            }
            if size < 0 {
                return Err(DecodeError::Invalid { what: "a block size is negative", at });
            }
        }
        match usize::try_from(count.unsigned_abs()) {
            Ok(count) if count <= self.remaining() => Ok(count),
            _ => Err(DecodeError::Invalid { what: "a block has more items than bytes left", at }),
        }
    }
}
