//! How rows lie in an ordered map: keys that sort as their tuples do, values that carry their time.
//!
//! Text inside a key is escaped (`00` → `00 FF`) and ended by `00 00`, so that no text is a prefix of another; the last
//! part of a key stands raw. Numbers are big endian with the sign bit turned.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::store::Error;
use crate::types::{AgendaKey, Cell, Shard};

const ROWS: u8 = b'r';
const AGENDA: u8 = b'a';
const DEDUPE: u8 = b'd';
const STATUS: u8 = b'e';
const MARKS: u8 = b'm';
const NEWEST: u8 = b'n';
const STREAMS: u8 = b's';

const LIVE: u8 = 1;
const EXPIRES: u8 = 2;
const TIME_BYTES: usize = 8;

/// Builds one key.
#[derive(Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// The layout of a stream.
    pub(super) fn stream(stream: &str) -> Vec<u8> {
        Self(vec![STREAMS]).raw(stream)
    }

    /// The watermark of a shard.
    pub(super) fn mark(shard: &Shard) -> Vec<u8> {
        Self::of(MARKS, shard).0
    }

    /// The highest time of a shard's frames.
    pub(super) fn newest(shard: &Shard) -> Vec<u8> {
        Self::of(NEWEST, shard).0
    }

    /// Where the tables begin that only frames of this shard write.
    pub(super) fn tables(shard: &Shard) -> [Vec<u8>; 3] {
        [ROWS, AGENDA, DEDUPE].map(|table| Self::of(table, shard).0)
    }

    /// Rows of a shard; subject and sort follow.
    pub(super) fn rows(shard: &Shard) -> Self {
        Self::of(ROWS, shard)
    }

    /// One row.
    pub(super) fn row(shard: &Shard, subject: &str, sort: &str) -> Vec<u8> {
        Self::rows(shard).row_below(subject, sort)
    }

    /// One row of the shard whose [`Key::rows`] this is.
    pub(super) fn row_below(&self, subject: &str, sort: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.0.len() + subject.len() + 2 + sort.len());
        key.extend_from_slice(&self.0);
        Self(key).text(subject).raw(sort)
    }

    /// One agenda item.
    pub(super) fn agenda(shard: &Shard, key: &AgendaKey) -> Vec<u8> {
        Self::of(AGENDA, shard).long(key.due).raw(&key.id)
    }

    /// One minute of the dedupe window: as a key of its own it holds the time of the minute's deletion.
    pub(super) fn minute(shard: &Shard, minute: i64) -> Self {
        Self::of(DEDUPE, shard).long(minute)
    }

    /// The status of an event; the part follows.
    pub(super) fn status(event: &[u8; 16]) -> Self {
        let mut key = vec![STATUS];
        key.extend_from_slice(event);
        Self(key)
    }

    fn of(table: u8, shard: &Shard) -> Self {
        let mut key = Vec::with_capacity(96);
        key.push(table);
        let mut key = Self(key).text(&shard.stream);
        key.0.extend_from_slice(&(shard.number as u32 ^ (1 << 31)).to_be_bytes());
        key
    }

    /// Appends ended text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.escape(text);
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    /// Appends the beginning of ended text: the key of everything that starts so.
    pub(super) fn text_prefix(mut self, text: &str) -> Vec<u8> {
        self.escape(text);
        self.0
    }

    /// Appends a number.
    pub(super) fn long(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&(value as u64 ^ (1 << 63)).to_be_bytes());
        self
    }

    /// Appends the last part.
    pub(super) fn raw(mut self, text: &str) -> Vec<u8> {
        self.0.extend_from_slice(text.as_bytes());
        self.0
    }

    /// The key as it stands.
    pub(super) fn end(self) -> Vec<u8> {
        self.0
    }

    fn escape(&mut self, text: &str) {
        if !text.as_bytes().contains(&0) {
            self.0.extend_from_slice(text.as_bytes());
            return;
        }
        for &byte in text.as_bytes() {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xff);
            }
        }
    }
}

/// The first key behind everything that starts with `prefix`; no key of ours starts with `FF`.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|&byte| byte != 0xff).map_or(0, |at| at + 1);
    let mut end = prefix[..kept].to_vec();
    match end.last_mut() {
        Some(last) => *last += 1,
        None => end.push(0xff),
    }
    end
}

/// Splits `subject`, `sort` off a row's key behind `skip` bytes.
pub(super) fn subject_and_sort(key: &[u8], skip: usize) -> Result<(String, String), Error> {
    let rest = key.get(skip..).unwrap_or_default();
    let mut subject = Vec::with_capacity(rest.len());
    let mut at = 0;
    loop {
        match (rest.get(at), rest.get(at + 1)) {
            (Some(0), Some(0)) => break,
            (Some(0), Some(0xff)) => {
                subject.push(0);
                at += 2;
            }
            (Some(0) | None, _) => return Err(damaged("a row's key")),
            (Some(&byte), _) => {
                subject.push(byte);
                at += 1;
            }
        }
    }
    Ok((text(&subject)?, text(&rest[at + 2..])?))
}

/// The number that stands `skip` bytes into a key.
pub(super) fn long_at(key: &[u8], skip: usize) -> Result<i64, Error> {
    let bytes = key.get(skip..skip + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(|bytes| (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64).ok_or_else(|| damaged("a key with a number"))
}

/// A whole value that is a number.
pub(super) fn long(bytes: &[u8]) -> Result<i64, Error> {
    bytes.try_into().map(i64::from_be_bytes).map_err(|_| damaged("a number of another length"))
}

/// Text at the end of a key.
pub(super) fn text(bytes: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| damaged("a key that is not UTF-8"))
}

/// A cell as bytes.
pub(super) fn encode(cell: &Cell) -> Vec<u8> {
    let value = cell.val.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(1 + 2 * TIME_BYTES + value.len());
    out.push(if cell.val.is_some() { LIVE } else { 0 } | if cell.expire_at.is_some() { EXPIRES } else { 0 });
    out.extend_from_slice(&cell.ts.to_be_bytes());
    if let Some(expire_at) = cell.expire_at {
        out.extend_from_slice(&expire_at.to_be_bytes());
    }
    out.extend_from_slice(value);
    out
}

/// True for a tombstone older than `deleted_before` and for a value that expired before `expired_before` (µs).
/// Watermarks and layouts are never forgotten, nor is what cannot be read.
pub(crate) fn forgettable(key: &[u8], value: &[u8], deleted_before: i64, expired_before: i64) -> bool {
    let kept = !matches!(key.first(), Some(&(ROWS | AGENDA | DEDUPE | STATUS)));
    let Some(&flags) = value.first().filter(|_| !kept) else { return false };
    let long = |at: usize| value.get(at..at + TIME_BYTES).and_then(|taken| taken.try_into().ok()).map(i64::from_be_bytes);
    let deleted = flags & LIVE == 0 && long(1).is_some_and(|ts| ts < deleted_before);
    let expired = flags & EXPIRES != 0 && long(1 + TIME_BYTES).is_some_and(|at| at < expired_before);
    deleted || expired
}

/// Bytes as a cell.
pub(super) fn decode(bytes: &Bytes) -> Result<Cell, Error> {
    let long = |at: usize| {
        let taken = bytes.get(at..at + TIME_BYTES).and_then(|taken| taken.try_into().ok());
        taken.map(i64::from_be_bytes).ok_or_else(|| damaged("a value shorter than its head"))
    };
    let flags = *bytes.first().ok_or_else(|| damaged("an empty value"))?;
    let ts = long(1)?;
    let expire_at = if flags & EXPIRES != 0 { Some(long(1 + TIME_BYTES)?) } else { None };
    let head = 1 + TIME_BYTES * if expire_at.is_some() { 2 } else { 1 };
    Ok(Cell { ts, val: (flags & LIVE != 0).then(|| bytes.slice(head..)), expire_at })
}

/// True when `new` replaces `old` (S1): the higher time; at equal times deleted beats value; else the greater bytes.
pub(super) fn wins(new: &Cell, old: &Cell) -> bool {
    let by_value = || match (&new.val, &old.val) {
        (_, None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(new_val), Some(old_val)) => new_val.cmp(old_val).then(new.expire_at.cmp(&old.expire_at)),
    };
    new.ts.cmp(&old.ts).then_with(by_value) == Ordering::Greater
}

fn damaged(what: &str) -> Error {
    Error::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: i32) -> Shard {
        Shard { stream: "s".into(), number }
    }

    #[test]
    fn keys_sort_as_their_tuples() {
        let texts = ["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "a/b", "ab", "ÿ", "\u{10ffff}"];
        let mut tuples = Vec::new();
        for number in [-1, 0, 7, i32::MAX] {
            for subject in texts {
                for sort in texts {
                    tuples.push((number, subject, sort));
                }
            }
        }
        tuples.sort_unstable();
        let keys: Vec<_> = tuples.iter().map(|(number, subject, sort)| Key::row(&shard(*number), subject, sort)).collect();
        assert!(keys.is_sorted_by(|one, next| one < next));
        let skip = Key::rows(&shard(0)).end().len();
        for ((_, subject, sort), key) in tuples.iter().zip(&keys) {
            assert_eq!(subject_and_sort(key, skip).unwrap(), ((*subject).to_owned(), (*sort).to_owned()));
        }
    }

    #[test]
    fn numbers_sort_by_value_and_read_back() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX];
        let keys = numbers.map(|number| Key::minute(&shard(0), number).end());
        assert!(keys.is_sorted());
        let skip = keys[0].len() - 8;
        assert_eq!(keys.map(|key| long_at(&key, skip).unwrap()), numbers);
    }

    #[test]
    fn only_old_tombstones_and_expired_values_are_forgotten() {
        let row = Key::row(&shard(0), "a", "");
        let cell = |ts, live: bool, expire_at| encode(&Cell { ts, val: live.then(Bytes::new), expire_at });
        assert!(forgettable(&row, &cell(9, false, None), 10, 20));
        assert!(forgettable(&row, &cell(99, true, Some(19)), 10, 20));
        assert!(!forgettable(&row, &cell(10, false, None), 10, 20));
        assert!(!forgettable(&row, &cell(9, true, None), 10, 20));
        assert!(!forgettable(&row, &cell(9, true, Some(20)), 10, 20));
        assert!(!forgettable(&Key::mark(&shard(0)), &cell(9, false, None), 10, 20));
        assert!(!forgettable(&Key::stream("s"), &[0; 12], 10, 20));
        assert!(!forgettable(&row, b"", 10, 20) && !forgettable(&row, &[0; 8], 10, 20));
    }

    #[test]
    fn cells_read_back_and_short_ones_are_refused() {
        for val in [None, Some(Bytes::new()), Some(Bytes::from_static(b"value"))] {
            for expire_at in [None, Some(-3)] {
                let cell = Cell { ts: 42, val: val.clone(), expire_at };
                assert_eq!(decode(&encode(&cell).into()).unwrap(), cell);
            }
        }
        for short in [&b""[..], b"\x01", b"\x03\0\0\0\0\0\0\0\0\0"] {
            assert!(decode(&Bytes::copy_from_slice(short)).is_err());
        }
    }
}
