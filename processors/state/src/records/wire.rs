//! Avro's binary encoding, as far as the engine's own rows need it.

use bytes::Bytes;

use super::Error;

/// Longest string or bytes value that is read, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Appends Avro values.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Begins a row with its version byte.
    pub(super) fn new(version: u8, capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(version);
        Self(out)
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }

    pub(super) fn long(&mut self, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
        while zigzag >= 0x80 {
            self.0.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        self.0.push(zigzag as u8);
    }

    pub(super) fn string(&mut self, value: &str) {
        let value = clip(value, VALUE_BYTES_MAX);
        self.long(value.len() as i64);
        self.0.extend_from_slice(value.as_bytes());
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.long(value.len() as i64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn fixed(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    /// A union of null and one type, null first.
    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.long(i64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// An array or map as one block with its count.
    pub(super) fn block<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        if items.len() > 0 {
            self.long(items.len() as i64);
            for item in items {
                write(self, item);
            }
        }
        self.long(0);
    }
}

/// The longest prefix of `text` of at most `bytes` bytes that ends at a character.
pub(super) fn clip(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Reads Avro values and checks every bound.
pub(super) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Behind the version byte, which must be `version`.
    pub(super) fn new(all: &'a [u8], version: u8) -> Result<Self, Error> {
        match all.first() {
            None => Err(Error::Truncated { at: 0 }),
            Some(&found) if found != version => Err(Error::Version { found }),
            Some(_) => Ok(Self { all, at: 1 }),
        }
    }

    /// Fails when bytes are left.
    pub(super) fn end(&self) -> Result<(), Error> {
        if self.at == self.all.len() { Ok(()) } else { Err(self.invalid("bytes behind the last field")) }
    }

    pub(super) fn invalid(&self, what: &'static str) -> Error {
        Error::Invalid { what, at: self.at }
    }

    pub(super) fn fixed(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let rest = &self.all[self.at..];
        let taken = rest.get(..length).ok_or(Error::Truncated { at: self.at })?;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn long(&mut self) -> Result<i64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.fixed(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.invalid("a number longer than 64 bits"))
    }

    pub(super) fn int(&mut self) -> Result<i32, Error> {
        i32::try_from(self.long()?).map_err(|_| self.invalid("a number longer than 32 bits"))
    }

    pub(super) fn bytes(&mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let length = usize::try_from(self.long()?).map_err(|_| self.invalid("a negative length"))?;
        if length > bytes_max {
            return Err(self.invalid("bytes over their bound"));
        }
        self.fixed(length).map(Bytes::copy_from_slice)
    }

    pub(super) fn string(&mut self) -> Result<String, Error> {
        let length = usize::try_from(self.long()?).map_err(|_| self.invalid("a negative length"))?;
        if length > VALUE_BYTES_MAX {
            return Err(self.invalid("a string over its bound"));
        }
        let bytes = self.fixed(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.invalid("a string that is not UTF-8"))
    }

    pub(super) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<Option<T>, Error> {
        match self.long()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(self.invalid("an unknown branch")),
        }
    }

    /// All blocks of an array or map, at most `max` items.
    pub(super) fn blocks<T>(&mut self, max: usize, mut read: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(items);
            }
            if count < 0 {
                self.long()?; // a negative count is followed by the block's size in bytes
            }
            let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            if count > max - items.len() {
                return Err(self.invalid("more items than allowed"));
            }
            for _ in 0..count {
                items.push(read(self)?);
            }
        }
    }
}
