//! The event key: what makes two events the same one, in every room.

use std::fmt;
use std::str::FromStr;

/// First 16 bytes of BLAKE3 over `source`, `id` and, for a re-drive, the dead letter's position,
/// each behind its length as a big-endian u32. Two events with one key are one event.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey(pub [u8; 16]);

/// The text is not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event key is 32 hexadecimal digits")]
pub struct ParseError;

impl EventKey {
    /// The key of an event; `redriveof` is the position of the dead letter it repeats.
    #[must_use]
    pub fn of(source: &str, id: &str, redriveof: Option<&str>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in [Some(source), Some(id), redriveof].into_iter().flatten() {
            // the lengths keep ("ab", "c") and ("a", "bc") apart; parts are bounded far below 4 GiB
            hasher.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({self})")
    }
}

impl FromStr for EventKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| ParseError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// `ce_id` of a result: a UUIDv8 of its subject and `seq`, so that a redo repeats it and readers of compact headers can derive it.
#[must_use]
pub fn result_id(subject: &str, seq: i64) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("forebay result id v1");
    hasher.update(subject.as_bytes()).update(b"#").update(&seq.to_be_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    uuid::Uuid::new_v8(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_key_do_not_run_together() {
        let keys = [EventKey::of("ab", "c", None), EventKey::of("a", "bc", None), EventKey::of("ab", "c", Some(""))];
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
    }

    #[test]
    fn a_key_is_blake3_over_length_prefixed_parts() {
        let hash = blake3::hash(b"\0\0\0\x02ab\0\0\0\x01c");
        assert_eq!(EventKey::of("ab", "c", None).0, hash.as_bytes()[..16]);
    }

    #[test]
    fn the_text_form_reads_back() {
        let key = EventKey::of("/accounts/acme", "c-81", None);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("+0112233445566778899aabbccddeeff".parse::<EventKey>(), Err(ParseError));
    }

    #[test]
    fn the_id_of_a_result_never_changes() {
        let id = result_id("ATL", 7);
        assert_eq!(id, "f6dc59b2-c57b-83c2-a36f-2fb381cc2bb1");
        assert_ne!(id, result_id("ATL", 8));
    }
}
