//! Names of channels and patterns over them. Used by the protocol and the hub's interest index; whether a capability covers a
//! pattern is `chassis::auth`'s question.

use std::fmt;
use std::sync::Arc;

pub use trie::Trie;

mod trie;

/// Longest channel or pattern, in bytes of UTF-8.
pub const BYTES_MAX: usize = 512;
/// Most segments of a channel or pattern.
pub const SEGMENTS_MAX: usize = 16;
/// A channel is at least a stream and one segment of subject.
const SEGMENTS_MIN: usize = 2;
/// Most patterns of one subscription.
pub const PATTERNS_MAX: usize = 16;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a well-formed name.
    #[error("{0}")]
    Syntax(&'static str),
    /// A name the engine keeps for itself.
    #[error("names that start with $ and subjects that start with ~ are reserved")]
    Reserved,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Segment {
    Literal(Box<str>),
    /// `*`: exactly one segment.
    One,
    /// `**`: zero or more segments, only last.
    Rest,
}

/// A glob over channels: `*` is one segment, `**` any rest. Without either it is an exact channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    text: Arc<str>,
    segments: Arc<[Segment]>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`Error::Syntax`] for empty, over-long or misplaced parts, [`Error::Reserved`] for the engine's names.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check_length(text)?;
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > SEGMENTS_MAX {
            return Err(Error::Syntax("a channel has at most 16 segments"));
        }
        let mut segments = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            segments.push(match *part {
                "" => return Err(Error::Syntax("a segment is empty")),
                "*" => Segment::One,
                "**" if index + 1 == parts.len() => Segment::Rest,
                "**" => return Err(Error::Syntax("** is allowed only as the last segment")),
                literal => Segment::Literal(literal.into()),
            });
        }
        if parts[0].starts_with('$') || parts.get(1).is_some_and(|part| part.starts_with('~')) {
            return Err(Error::Reserved);
        }
        if segments.len() < SEGMENTS_MIN && segments[0] != Segment::Rest {
            return Err(Error::Syntax("a channel is <stream>/<subject>; all of a stream is <stream>/**"));
        }
        Ok(Self { text: text.into(), segments: segments.into() })
    }

    /// As written by the client.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names exactly one channel.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// The stream it is about; `None` if it can match several.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        match &self.segments[0] {
            Segment::Literal(name) => Some(name),
            Segment::One | Segment::Rest => None,
        }
    }

    /// The subject of an exact channel.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        if self.is_exact() { self.text.split_once('/').map(|(_, subject)| subject) } else { None }
    }

    /// Whether `channel` is one of its channels.
    #[must_use]
    pub fn matches(&self, channel: &str) -> bool {
        let mut parts = channel.split('/');
        for segment in self.segments.iter() {
            match segment {
                Segment::Rest => return true,
                Segment::One => {
                    if parts.next().is_none() {
                        return false;
                    }
                }
                Segment::Literal(name) => {
                    if parts.next() != Some(name) {
                        return false;
                    }
                }
            }
        }
        parts.next().is_none()
    }

    /// Whether it can match a channel of `stream`.
    #[must_use]
    pub fn touches(&self, stream: &str) -> bool {
        self.stream().is_none_or(|own| own == stream)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads an exact channel: no segment may be a glob.
///
/// # Errors
/// As [`Pattern::parse`].
pub fn parse_exact(text: &str) -> Result<Pattern, Error> {
    let pattern = Pattern::parse(text)?;
    if pattern.is_exact() { Ok(pattern) } else { Err(Error::Syntax("an exact channel is wanted here, without * or **")) }
}

fn check_length(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Syntax("the channel is empty"));
    }
    if text.len() > BYTES_MAX {
        return Err(Error::Syntax("a channel has at most 512 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::Syntax("a channel has no control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
