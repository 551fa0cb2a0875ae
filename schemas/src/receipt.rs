//! Receipts: opaque, tagged tokens that name an accepted event.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::catalog::Tracking;
use crate::key::EventKey;

/// Layout version, the first byte.
const VERSION: u8 = 2;
/// The version before: as today, without the byte of the tracking. Receipts live for days, and so do those.
const VERSION_UNTRACKED: u8 = 1;
/// Bytes of the tag.
const TAG: usize = 8;
/// Version, key id, partition, offset, event key, accepted ms.
const FIXED: usize = 1 + 1 + 2 + 8 + 16 + 6;
/// Longest token looked at, characters: stream (63), subject (448), the rest.
const TEXT_MAX: usize = 1024;
/// Name of the key file in the data directory.
const KEY_FILE: &str = "receipt.key";
/// Key id of the file made in the data directory.
const KEY_FILE_ID: u8 = 0;

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Key that tagged it.
    pub key_id: u8,
    /// Partition of the event, below 65,536.
    pub partition: i32,
    /// Offset, unless the acknowledgement is missing.
    pub offset: Option<i64>,
    /// Names the event.
    pub event_key: EventKey,
    /// When the edge accepted it, ms since the epoch, below 2^48.
    pub accepted_ms: i64,
    /// Stream.
    pub stream: String,
    /// Entity key.
    pub subject: String,
    /// What the event's type leaves behind as its status; receipts of the layout before do not say it.
    pub tracking: Option<Tracking>,
}

/// Why a token is no receipt, or keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not what `seal` makes.
    #[error("this is not a receipt: {0}")]
    Malformed(&'static str),
    /// Tagged with a key that is not in use.
    #[error("the receipt was made with key {0}, which is no longer in use")]
    UnknownKey(u8),
    /// The tag does not fit.
    #[error("the receipt was changed or made elsewhere")]
    Tag,
    /// A key file cannot be read or made.
    #[error("receipt key {path}: {source}; check that the directory exists and is writable")]
    KeyFile {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A key file has too little in it.
    #[error("receipt key {path} has {length} bytes, at least 32 are needed")]
    KeyShort {
        /// File.
        path: PathBuf,
        /// Bytes found.
        length: usize,
    },
    /// Two keys have one id, or there is none.
    #[error("receipt keys need at least one key, and ids that differ")]
    KeyIds,
}

/// Keys of receipts: the first tags, all verify.
pub struct ReceiptKeys {
    keys: Vec<(u8, [u8; 32])>,
}

impl ReceiptKeys {
    /// Keys from files of at least 32 bytes, by id.
    ///
    /// # Errors
    /// [`Error`] naming the file.
    pub fn load(files: &[(u8, PathBuf)]) -> Result<Self, Error> {
        let mut keys = Vec::with_capacity(files.len());
        for (id, path) in files {
            keys.push((*id, read_key(path)?));
        }
        let mut ids: Vec<u8> = keys.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() || ids.len() < keys.len() {
            return Err(Error::KeyIds);
        }
        Ok(Self { keys })
    }

    /// The key of a data directory, made when absent. For loopback deployments: several edges need a shared key.
    ///
    /// # Errors
    /// [`Error`] naming the file.
    pub fn in_dir(data: &Path) -> Result<Self, Error> {
        let path = data.join(KEY_FILE);
        if !path.exists() {
            make_key(data, &path).map_err(|source| Error::KeyFile { path: path.clone(), source })?;
        }
        Self::load(&[(KEY_FILE_ID, path)])
    }

    /// The token of a receipt, tagged with the first key; `receipt.key_id` is not looked at.
    #[must_use]
    pub fn seal(&self, receipt: &Receipt) -> String {
        let Some((key_id, key)) = self.keys.first() else { return String::new() };
        let channel = receipt.stream.len() + 1 + receipt.subject.len();
        let mut bytes = Vec::with_capacity(FIXED + 1 + 2 + channel + TAG);
        bytes.extend_from_slice(&[VERSION, *key_id]);
        bytes.extend_from_slice(&receipt.partition.to_be_bytes()[2..]);
        bytes.extend_from_slice(&receipt.offset.unwrap_or(-1).to_be_bytes());
        bytes.extend_from_slice(&receipt.event_key.0);
        bytes.extend_from_slice(&receipt.accepted_ms.to_be_bytes()[2..]);
        bytes.push(receipt.tracking.map_or(0, tracking_byte));
        bytes.extend_from_slice(&u16::try_from(channel).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(receipt.stream.as_bytes());
        bytes.push(b'/');
        bytes.extend_from_slice(receipt.subject.as_bytes());
        let tag = tag(key, &bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token back.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::UnknownKey`] or [`Error::Tag`].
    pub fn open(&self, token: &str) -> Result<Receipt, Error> {
        if token.len() > TEXT_MAX {
            return Err(Error::Malformed("it is too long"));
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::Malformed("it is not base64url"))?;
        let (body, found) = bytes.split_last_chunk::<TAG>().ok_or(Error::Malformed("it is too short"))?;
        let [version, key_id, ..] = *body else { return Err(Error::Malformed("it is too short")) };
        if version != VERSION && version != VERSION_UNTRACKED {
            return Err(Error::Malformed("its version is unknown"));
        }
        let (_, key) = self.keys.iter().find(|(id, _)| *id == key_id).ok_or(Error::UnknownKey(key_id))?;
        // blake3::Hash compares in constant time; the tag is its first bytes, so the rest is taken from our own
        let mut whole = *blake3::keyed_hash(key, body).as_bytes();
        let ours = blake3::Hash::from_bytes(whole);
        whole[..TAG].copy_from_slice(found);
        if ours != blake3::Hash::from_bytes(whole) {
            return Err(Error::Tag);
        }
        read_body(body)
    }
}

fn read_body(body: &[u8]) -> Result<Receipt, Error> {
    let short = || Error::Malformed("it is too short");
    let (head, rest) = body.split_first_chunk::<FIXED>().ok_or_else(short)?;
    let (tracking, rest) = match (head[0], rest) {
        (VERSION_UNTRACKED, rest) => (None, rest),
        (_, [tracking, rest @ ..]) => (tracking_of(*tracking)?, rest),
        (_, []) => return Err(short()),
    };
    let (length, channel) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    if usize::from(u16::from_be_bytes(*length)) != channel.len() {
        return Err(Error::Malformed("its channel has another length"));
    }
    let channel = str::from_utf8(channel).map_err(|_| Error::Malformed("its channel is not UTF-8"))?;
    let (stream, subject) = channel.split_once('/').ok_or(Error::Malformed("its channel has no subject"))?;
    let number = |bytes: &[u8]| bytes.iter().fold(0i64, |number, byte| (number << 8) | i64::from(*byte));
    let mut event_key = EventKey([0; 16]);
    event_key.0.copy_from_slice(&head[12..28]);
    let offset = number(&head[4..12]);
    Ok(Receipt {
        key_id: head[1],
        partition: i32::from(u16::from_be_bytes([head[2], head[3]])),
        offset: (offset >= 0).then_some(offset),
        event_key,
        accepted_ms: number(&head[28..34]),
        stream: stream.to_owned(),
        subject: subject.to_owned(),
        tracking,
    })
}

fn tracking_byte(tracking: Tracking) -> u8 {
    match tracking {
        Tracking::All => 1,
        Tracking::Failures => 2,
        Tracking::None => 3,
    }
}

fn tracking_of(byte: u8) -> Result<Option<Tracking>, Error> {
    match byte {
        0 => Ok(None),
        1 => Ok(Some(Tracking::All)),
        2 => Ok(Some(Tracking::Failures)),
        3 => Ok(Some(Tracking::None)),
        _ => Err(Error::Malformed("its tracking is unknown")),
    }
}

fn tag(key: &[u8; 32], body: &[u8]) -> [u8; TAG] {
    let mut tag = [0; TAG];
    tag.copy_from_slice(&blake3::keyed_hash(key, body).as_bytes()[..TAG]);
    tag
}

fn read_key(path: &Path) -> Result<[u8; 32], Error> {
    let secret = fs::read(path).map_err(|source| Error::KeyFile { path: path.to_owned(), source })?;
    if secret.len() < 32 {
        return Err(Error::KeyShort { path: path.to_owned(), length: secret.len() });
    }
    Ok(blake3::derive_key("forebay receipt key v1", &secret))
}

/// Makes the key under another name and links it: whoever comes second reads the first one's.
fn make_key(data: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(data)?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let draft = data.join(format!("{KEY_FILE}.{}", uuid::Uuid::now_v7()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            key_id: 7,
            partition: 3,
            offset: Some(18_231),
            event_key: EventKey::of("/accounts/acme", "c-81", None),
            accepted_ms: 1_780_000_000_123,
            stream: "orders".into(),
            subject: "acme/order/42".into(),
            tracking: Some(Tracking::Failures),
        }
    }

    fn keys(ids: &[u8]) -> ReceiptKeys {
        ReceiptKeys { keys: ids.iter().map(|id| (*id, [*id; 32])).collect() }
    }

    #[test]
    fn a_receipt_reads_back() {
        let token = keys(&[7]).seal(&receipt());
        assert_eq!(token.len(), 87);
        assert_eq!(keys(&[9, 7]).open(&token).unwrap(), receipt());
        let spooled = Receipt { offset: None, ..receipt() };
        assert_eq!(keys(&[7]).open(&keys(&[7]).seal(&spooled)).unwrap(), spooled);
    }

    #[test]
    fn a_receipt_of_the_layout_before_still_opens() {
        let mut bytes = URL_SAFE_NO_PAD.decode(keys(&[7]).seal(&receipt())).unwrap();
        bytes.truncate(bytes.len() - TAG);
        bytes.remove(FIXED);
        bytes[0] = VERSION_UNTRACKED;
        let tag = tag(&[7; 32], &bytes);
        bytes.extend_from_slice(&tag);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(token.len(), 86);
        assert_eq!(keys(&[7]).open(&token).unwrap(), Receipt { tracking: None, ..receipt() });
    }

    #[test]
    fn every_tracking_reads_back() {
        for tracking in [None, Some(Tracking::All), Some(Tracking::Failures), Some(Tracking::None)] {
            let token = keys(&[7]).seal(&Receipt { tracking, ..receipt() });
            assert_eq!(keys(&[7]).open(&token).unwrap().tracking, tracking);
        }
    }

    #[test]
    fn no_changed_or_cut_receipt_opens() {
        let token = keys(&[7]).seal(&receipt());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(keys(&[7]).open(&changed).is_err(), "byte {at}");
            assert!(keys(&[7]).open(&token[..at]).is_err(), "cut at {at}");
        }
        assert!(matches!(keys(&[8]).open(&token), Err(Error::UnknownKey(7))));
    }

    #[test]
    fn a_data_directory_keeps_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let token = ReceiptKeys::in_dir(dir.path()).unwrap().seal(&receipt());
        let again = ReceiptKeys::in_dir(dir.path()).unwrap();
        assert_eq!(again.open(&token).unwrap().subject, "acme/order/42");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
    }
}
