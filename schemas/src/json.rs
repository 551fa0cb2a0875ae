//! JSON as it comes over the wire: a pull reader over text whose UTF-8 was checked once.
//!
//! Nothing is built: the reader hands out slices of the text it was given, numbers stay raw. It accepts what RFC 8259 allows,
//! no more; nesting is not limited here (skipping needs no stack), nor are numbers, and lone surrogate escapes are found only when
//! a string is decoded. The edge finds envelope members with [`members`], batches with [`elements`]; the plan drives [`Reader`].

mod members;
mod reader;
#[cfg(test)]
mod tests;
mod text;

pub use self::members::{Elements, Members, elements, members, skip};
pub use self::reader::{Reader, Token};
pub use self::text::{LoneSurrogate, Text, write_string};

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct SyntaxError {
    /// Byte offset in the text that was read.
    pub at: usize,
    /// What was expected or found, in words.
    pub what: &'static str,
}

/// A place in a text, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte offset, from 0.
    pub byte: usize,
}

impl Position {
    /// Where byte `at` stands in `text`; offsets behind the end count as the end.
    #[must_use]
    pub fn of(text: &str, at: usize) -> Self {
        let byte = at.min(text.len());
        let before = &text.as_bytes()[..byte];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let is_character_start = |b: &&u8| **b & 0xC0 != 0x80;
        Position {
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            column: 1 + before[line_start..].iter().filter(is_character_start).count(),
            byte,
        }
    }
}
