//! Record headers as one flat buffer: parsed only when somebody asks.

use std::fmt::{self, Write as _};

use bytes::{BufMut, Bytes, BytesMut};

/// A list of Kafka record headers in one allocation. Order and repetition are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderList(Bytes);

impl HeaderList {
    /// A builder that appends to `buffer`.
    #[must_use]
    pub fn builder(capacity: usize) -> HeaderListBuilder {
        HeaderListBuilder { buffer: BytesMut::with_capacity(capacity) }
    }

    /// Name and value of every header, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (name, after) = take(rest)?;
            let (value, after) = take(after)?;
            rest = after;
            Some((std::str::from_utf8(name).unwrap_or_default(), value))
        })
    }

    /// The list's own bytes; [`HeaderList::from_flat`] takes them back.
    #[must_use]
    pub fn flat(&self) -> Bytes {
        self.0.clone()
    }

    /// A list from [`HeaderList::flat`]. What is no such bytes gives a shorter list.
    #[must_use]
    pub fn from_flat(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// How many headers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Bytes held.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// Builds a [`HeaderList`].
#[derive(Debug)]
pub struct HeaderListBuilder {
    buffer: BytesMut,
}

impl HeaderListBuilder {
    /// Appends one header.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            // a header is far below 4 GiB: the broker's message limit sees to it
            self.buffer.put_u32(part.len() as u32);
            self.buffer.put_slice(part);
        }
    }

    /// Appends one header whose value is written as text, without a copy between.
    pub fn push_text(&mut self, name: &str, value: impl fmt::Display) {
        self.buffer.put_u32(name.len() as u32);
        self.buffer.put_slice(name.as_bytes());
        let at = self.buffer.len();
        self.buffer.put_u32(0);
        // a buffer that grows takes everything
        let _never_fails = write!(self.buffer, "{value}");
        let length = (self.buffer.len() - at - 4) as u32;
        self.buffer[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// The finished list.
    #[must_use]
    pub fn finish(self) -> HeaderList {
        HeaderList(self.buffer.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_in_order() {
        let mut builder = HeaderList::builder(64);
        builder.push("ce_id", b"1");
        builder.push("x", b"");
        builder.push_text("ce_id", format_args!("{}", 2));
        let list = builder.finish();
        let all: Vec<_> = list.iter().collect();
        assert_eq!(all, [("ce_id", &b"1"[..]), ("x", &b""[..]), ("ce_id", &b"2"[..])]);
    }
}
