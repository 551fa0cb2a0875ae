//! The registry's wire format: magic byte 0, schema id as big-endian int32, datum.

/// Bytes before the datum.
pub const HEAD: usize = 5;

/// Why a record's value is not in the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer than [`HEAD`] bytes.
    #[error("the value has {0} bytes, the wire format needs at least 5")]
    TooShort(usize),
    /// The first byte is not 0.
    #[error("the value starts with byte {0}, the wire format with 0: send Avro with its schema id")]
    Magic(u8),
}

/// Schema id and datum of a value.
///
/// # Errors
/// [`Error`] when it is not in the wire format.
pub fn split(value: &[u8]) -> Result<(i32, &[u8]), Error> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((i32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [magic, ..] if *magic != 0 => Err(Error::Magic(*magic)),
        _ => Err(Error::TooShort(value.len())),
    }
}

/// Appends the head; the datum comes behind it.
pub fn begin(id: i32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begin_writes_split_reads() {
        let mut value = Vec::new();
        begin(0x0102_0304, &mut value);
        value.extend_from_slice(b"datum");
        assert_eq!(value[..HEAD], [0, 1, 2, 3, 4]);
        assert_eq!(split(&value), Ok((0x0102_0304, &b"datum"[..])));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(split(b""), Err(Error::TooShort(0)));
        assert_eq!(split(&[0, 1, 2, 3]), Err(Error::TooShort(4)));
        assert_eq!(split(b"{\"a\":1}"), Err(Error::Magic(b'{')));
    }
}
