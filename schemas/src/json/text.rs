//! Strings: as they stand in the text, decoded, and written.

/// A string of a JSON text, between its quotes, escapes not yet resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    start: usize,
    escaped: bool,
}

/// The string holds half of a surrogate pair as an escape: no Unicode text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the string has a lone surrogate escape")]
pub struct LoneSurrogate;

impl<'a> Text<'a> {
    pub(crate) fn new(raw: &'a str, start: usize, escaped: bool) -> Self {
        Text { raw, start, escaped }
    }

    /// What stands between the quotes.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Byte offset of the first character behind the opening quote.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Whether [`Text::raw`] has escapes.
    #[must_use]
    pub fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// Whether the string reads `other`.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        if !self.escaped {
            return self.raw == other;
        }
        self.decode(&mut String::new()).is_ok_and(|text| text == other)
    }

    /// The text meant; `buffer` is overwritten and used only if there are escapes.
    ///
    /// # Errors
    /// [`LoneSurrogate`].
    pub fn decode<'b>(&self, buffer: &'b mut String) -> Result<&'b str, LoneSurrogate>
    where
        'a: 'b,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        buffer.clear();
        let mut rest = self.raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            buffer.push_str(plain);
            let (character, left) = one_escape(escape)?;
            buffer.push(character);
            rest = left;
        }
        buffer.push_str(rest);
        Ok(buffer)
    }
}

/// Reads what follows a backslash; the reader has checked that it is an escape.
fn one_escape(escape: &str) -> Result<(char, &str), LoneSurrogate> {
    let (kind, rest) = escape.split_at_checked(1).ok_or(LoneSurrogate)?;
    let character = match kind {
        "b" => '\u{8}',
        "f" => '\u{c}',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => return unicode_escape(rest),
        other => other.chars().next().ok_or(LoneSurrogate)?,
    };
    Ok((character, rest))
}

fn unicode_escape(digits: &str) -> Result<(char, &str), LoneSurrogate> {
    let (high, rest) = code_unit(digits)?;
    if let Some(character) = char::from_u32(high) {
        return Ok((character, rest));
    }
    let (low, rest) = code_unit(rest.strip_prefix("\\u").ok_or(LoneSurrogate)?)?;
    if !(0xD800..0xDC00).contains(&high) || !(0xDC00..0xE000).contains(&low) {
        return Err(LoneSurrogate);
    }
    let character = char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)).ok_or(LoneSurrogate)?;
    Ok((character, rest))
}

fn code_unit(digits: &str) -> Result<(u32, &str), LoneSurrogate> {
    let (hex, rest) = digits.split_at_checked(4).ok_or(LoneSurrogate)?;
    Ok((u32::from_str_radix(hex, 16).map_err(|_| LoneSurrogate)?, rest))
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[done..at]);
        done = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                out.push_str("\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
    }
    out.push_str(&text[done..]);
    out.push('"');
}
