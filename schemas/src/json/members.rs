//! Looking into one object or array without building it.

use super::{Reader, SyntaxError, Text, Token};

/// Checks that `text` is exactly one JSON value and tells how deep it nests.
///
/// # Errors
/// It is not.
pub fn skip(text: &str) -> Result<usize, SyntaxError> {
    let mut reader = Reader::new(text);
    let depth = reader.skip()?;
    reader.end()?;
    Ok(depth)
}

/// The members of the object that `text` is, as key and raw value; `None` if the text starts no object.
///
/// Values are checked to be JSON on the way. Keys may repeat: who cares must look.
#[must_use]
pub fn members(text: &str) -> Option<Members<'_>> {
    let reader = opened(text, Token::Object)?;
    Some(Members { reader, state: State::First })
}

/// The raw values of the array that `text` is; `None` if the text starts no array.
#[must_use]
pub fn elements(text: &str) -> Option<Elements<'_>> {
    let reader = opened(text, Token::Array)?;
    Some(Elements { reader, state: State::First })
}

fn opened(text: &str, wanted: Token) -> Option<Reader<'_>> {
    let mut reader = Reader::new(text);
    if reader.peek() != Ok(wanted) {
        return None;
    }
    reader.open();
    Some(reader)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Later,
    Done,
}

/// Iterator over an object's members; stops after the first error.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    reader: Reader<'a>,
    state: State,
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Text<'a>, &'a str), SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Done {
            return None;
        }
        let member = self.member().transpose();
        self.state = if matches!(member, Some(Ok(_))) { State::Later } else { State::Done };
        member
    }
}

impl<'a> Members<'a> {
    /// Byte offset in the text given: behind the value last handed out.
    #[must_use]
    pub fn at(&self) -> usize {
        self.reader.at()
    }

    fn member(&mut self) -> Result<Option<(Text<'a>, &'a str)>, SyntaxError> {
        match self.reader.key(self.state == State::First)? {
            Some(key) => Ok(Some((key, self.reader.value()?))),
            None => self.reader.end().map(|()| None),
        }
    }
}

/// Iterator over an array's values; stops after the first error.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    reader: Reader<'a>,
    state: State,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, SyntaxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Done {
            return None;
        }
        let element = self.element().transpose();
        self.state = if matches!(element, Some(Ok(_))) { State::Later } else { State::Done };
        element
    }
}

impl<'a> Elements<'a> {
    /// Byte offset in the text given: behind the value last handed out.
    #[must_use]
    pub fn at(&self) -> usize {
        self.reader.at()
    }

    fn element(&mut self) -> Result<Option<&'a str>, SyntaxError> {
        if self.reader.item(self.state == State::First)? {
            return self.reader.value().map(Some);
        }
        self.reader.end().map(|()| None)
    }
}
