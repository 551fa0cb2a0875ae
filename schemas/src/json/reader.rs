//! The pull reader: one position in one text, moved over whole tokens.

use super::{SyntaxError, Text};

/// What kind of value stands next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// `[`
    Array,
    /// `{`
    Object,
}

/// A position in a JSON text. Cheap to copy, which is how a caller looks ahead.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Reader { text, at: 0 }
    }

    /// The byte offset reached.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text from byte `start` up to the position reached. `start` must be an offset this reader has reported.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Passes whitespace and tells what stands there.
    ///
    /// # Errors
    /// No value starts here, or the text ends.
    pub fn peek(&mut self) -> Result<Token, SyntaxError> {
        match self.next_byte() {
            Some(b'"') => Ok(Token::String),
            Some(b'-' | b'0'..=b'9') => Ok(Token::Number),
            Some(b'{') => Ok(Token::Object),
            Some(b'[') => Ok(Token::Array),
            Some(b't' | b'f') => Ok(Token::Boolean),
            Some(b'n') => Ok(Token::Null),
            Some(_) => Err(self.fault("expected a value")),
            None => Err(self.fault("the text ends where a value is expected")),
        }
    }

    /// Reads `null`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn null(&mut self) -> Result<(), SyntaxError> {
        self.next_byte();
        self.word("null")
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn boolean(&mut self) -> Result<bool, SyntaxError> {
        let value = self.next_byte() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Reads a number and gives its raw text.
    ///
    /// # Errors
    /// It is not written by the grammar of RFC 8259 §6.
    pub fn number(&mut self) -> Result<&'a str, SyntaxError> {
        self.next_byte();
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.fault("expected a digit")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.some_digits()?;
        }
        Ok(self.since(start))
    }

    /// Reads a string.
    ///
    /// # Errors
    /// It has no end, a control character or an escape that does not exist.
    pub fn string(&mut self) -> Result<Text<'a>, SyntaxError> {
        if self.next_byte() != Some(b'"') {
            return Err(self.fault("expected a string"));
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += self.rest().iter().take_while(|b| PLAIN[usize::from(**b)]).count();
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("control characters in strings must be escaped")),
                None => return Err(self.fault("the text ends inside a string")),
            }
        }
        let text = Text::new(self.since(start), start, escaped);
        self.at += 1;
        Ok(text)
    }

    /// Passes the `{` or `[` that `peek` has seen.
    pub fn open(&mut self) {
        self.at += 1;
    }

    /// Inside an object: the next key, its colon passed; `None` when the object closes. `first` right behind the `{`.
    ///
    /// # Errors
    /// A comma, a key or a colon is missing.
    pub fn key(&mut self, first: bool) -> Result<Option<Text<'a>>, SyntaxError> {
        match self.next_byte() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => self.at += 1,
            Some(b'"') if first => {}
            Some(_) if first => return Err(self.fault("expected a key or '}'")),
            Some(_) => return Err(self.fault("expected ',' or '}'")),
            None => return Err(self.fault("the text ends inside an object")),
        }
        if self.next_byte() != Some(b'"') {
            return Err(self.fault("expected a key"));
        }
        let key = self.string()?;
        if self.next_byte() != Some(b':') {
            return Err(self.fault("expected ':'"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Inside an array: whether another item follows, its comma passed; at `false` the array is closed. `first` right behind the `[`.
    ///
    /// # Errors
    /// A comma or an item is missing.
    pub fn item(&mut self, first: bool) -> Result<bool, SyntaxError> {
        match self.next_byte() {
            Some(b']') => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => self.at += 1,
            Some(_) if first => {}
            Some(_) => return Err(self.fault("expected ',' or ']'")),
            None => return Err(self.fault("the text ends inside an array")),
        }
        Ok(true)
    }

    /// Passes one value of any kind, checking its syntax, and tells how deep it nests (0 for a scalar).
    ///
    /// # Errors
    /// The value is not JSON.
    pub fn skip(&mut self) -> Result<usize, SyntaxError> {
        let mut open = Nesting::default();
        let mut deepest = 0;
        loop {
            match self.peek()? {
                Token::Null => self.null()?,
                Token::Boolean => {
                    self.boolean()?;
                }
                Token::Number => {
                    self.number()?;
                }
                Token::String => {
                    self.string()?;
                }
                container => {
                    self.open();
                    open.push(container == Token::Object);
                    deepest = deepest.max(open.depth);
                    if self.more(&open, true)? {
                        continue;
                    }
                    open.pop();
                }
            }
            while open.depth > 0 && !self.more(&open, false)? {
                open.pop();
            }
            if open.depth == 0 {
                return Ok(deepest);
            }
        }
    }

    /// Passes one value and gives its raw text.
    ///
    /// # Errors
    /// The value is not JSON.
    pub fn value(&mut self) -> Result<&'a str, SyntaxError> {
        self.next_byte();
        let start = self.at;
        self.skip()?;
        Ok(self.since(start))
    }

    /// Makes sure that only whitespace is left.
    ///
    /// # Errors
    /// Something else is.
    pub fn end(&mut self) -> Result<(), SyntaxError> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.fault("expected nothing behind the value")),
        }
    }

    /// An error at the position reached.
    #[must_use]
    pub fn fault(&self, what: &'static str) -> SyntaxError {
        SyntaxError { at: self.at, what }
    }

    fn more(&mut self, open: &Nesting, first: bool) -> Result<bool, SyntaxError> {
        if open.in_object() { Ok(self.key(first)?.is_some()) } else { self.item(first) }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes whitespace; the byte behind it stays.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), SyntaxError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) {
        self.at += self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
    }

    fn some_digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.fault("expected a digit")) } else { Ok(()) }
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let length = match self.rest().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if self.rest().len() >= 6 && self.rest()[2..6].iter().all(u8::is_ascii_hexdigit) => 6,
            Some(_) => return Err(self.fault("this escape does not exist")),
            None => return Err(self.fault("the text ends inside a string")),
        };
        self.at += length;
        Ok(())
    }
}

/// Bytes that stand for themselves in a string.
const PLAIN: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = false;
        byte += 1;
    }
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table
};

/// Which containers are open, one bit each: 64 levels in place, more in a vector (bounded by the text: an eighth of a byte per byte).
#[derive(Default)]
struct Nesting {
    depth: usize,
    bits: u64,
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }
}
