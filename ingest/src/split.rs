//! Stage *split*: from a body to its events, one after the other, in one pass.

use schemas::json::{Position, Reader, SyntaxError, Token};
use schemas::plan::code;

use crate::envelope::{self, Envelope};
use crate::fault::{Faults, finding};
use crate::headers::Media;
use crate::verdict::Invalid;

/// What stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Event objects, one or an array of them.
    Events,
    /// The data of one event; the type does not take several.
    Data,
    /// The data of one event, or an array of such.
    DataOrBatch,
}

/// The body is broken as a whole; nothing of it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// What is wrong, in words.
    pub(crate) what: String,
    /// Where.
    pub(crate) at: Position,
}

/// One event of a body.
pub(crate) enum Part<'a> {
    /// An event object.
    Event(Box<Envelope<'a>>),
    /// The data alone, raw JSON.
    Data(&'a str),
    /// A broken line, or a value that is no object; its fault is told.
    Broken,
}

enum Rest<'a> {
    Single(&'a str),
    Array { text: &'a str, reader: Reader<'a>, first: bool },
    Lines(&'a [u8]),
    Done,
}

/// The events of a body that were not handed out yet.
pub(crate) struct Split<'a> {
    shape: Shape,
    rest: Rest<'a>,
    /// Whether the body is a batch, whatever the number of its events.
    pub(crate) batch: bool,
}

impl<'a> Split<'a> {
    /// Looks at the start of a body.
    ///
    /// # Errors
    /// A JSON body that is not UTF-8, or starts no value.
    pub(crate) fn new(body: &'a [u8], media: Media, shape: Shape) -> Result<Self, Malformed> {
        if media == Media::Lines {
            return Ok(Self { shape, rest: Rest::Lines(body), batch: true });
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            let valid = std::str::from_utf8(&body[..error.valid_up_to()]).unwrap_or_default();
            Malformed { what: "the body is not UTF-8".into(), at: Position::of(valid, valid.len()) }
        })?;
        let mut reader = Reader::new(text);
        let token = reader.peek().map_err(|error| malformed(text, error))?;
        let wanted = match media {
            Media::CloudEvent => token == Token::Object,
            Media::CloudEvents => token == Token::Array,
            Media::Json | Media::Lines => true,
        };
        if !wanted {
            let what = "application/cloudevents+json is one event object, application/cloudevents-batch+json an array of them";
            return Err(Malformed { what: what.into(), at: Position::of(text, 0) });
        }
        if token == Token::Array && shape != Shape::Data {
            reader.open();
            return Ok(Self { shape, rest: Rest::Array { text, reader, first: true }, batch: true });
        }
        Ok(Self { shape, rest: Rest::Single(text), batch: false })
    }

    /// The next event; what is wrong with it goes to `faults`.
    ///
    /// # Errors
    /// The body breaks as JSON here. Lines never break as a whole.
    pub(crate) fn next(&mut self, faults: &mut Faults) -> Result<Option<Part<'a>>, Malformed> {
        match std::mem::replace(&mut self.rest, Rest::Done) {
            Rest::Done => Ok(None),
            Rest::Single(text) => alone(text, self.shape, faults).map(Some).map_err(|error| malformed(text, error)),
            Rest::Array { text, mut reader, first } => {
                let item = item(&mut reader, first, self.shape, faults).map_err(|error| malformed(text, error))?;
                if item.is_some() {
                    self.rest = Rest::Array { text, reader, first: false };
                }
                Ok(item)
            }
            Rest::Lines(bytes) => Ok(self.line(bytes, faults)),
        }
    }

    fn line(&mut self, mut bytes: &'a [u8], faults: &mut Faults) -> Option<Part<'a>> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            let line = bytes[..end].trim_ascii();
            bytes = bytes.get(end + 1..).unwrap_or_default();
            if line.is_empty() {
                continue;
            }
            self.rest = Rest::Lines(bytes);
            let found = match std::str::from_utf8(line) {
                Ok(text) => alone(text, self.shape, faults).map_err(|error| error.to_string()),
                Err(error) => Err(format!("not UTF-8 at byte {}", error.valid_up_to())),
            };
            return Some(found.unwrap_or_else(|message| {
                // what was found before the line broke says nothing
                *faults = Faults::default();
                faults
                    .add(Invalid::Syntax, finding("", code::BAD_FORMAT, "JSON", "", format!("the line is not JSON: {message}")));
                Part::Broken
            }));
        }
        None
    }
}

/// The text is one event and nothing else.
fn alone<'a>(text: &'a str, shape: Shape, faults: &mut Faults) -> Result<Part<'a>, SyntaxError> {
    let mut reader = Reader::new(text);
    let part = part(&mut reader, shape, faults)?;
    reader.end()?;
    Ok(part)
}

fn item<'a>(reader: &mut Reader<'a>, first: bool, shape: Shape, faults: &mut Faults) -> Result<Option<Part<'a>>, SyntaxError> {
    if reader.item(first)? {
        return part(reader, shape, faults).map(Some);
    }
    reader.end()?;
    Ok(None)
}

fn part<'a>(reader: &mut Reader<'a>, shape: Shape, faults: &mut Faults) -> Result<Part<'a>, SyntaxError> {
    match shape {
        Shape::Events => Ok(envelope::read(reader, faults)?.map_or(Part::Broken, |envelope| Part::Event(Box::new(envelope)))),
        Shape::Data | Shape::DataOrBatch => Ok(Part::Data(reader.value()?)),
    }
}

fn malformed(text: &str, error: SyntaxError) -> Malformed {
    Malformed { what: error.what.to_owned(), at: Position::of(text, error.at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &[u8], media: Media, shape: Shape) -> Result<Vec<String>, Malformed> {
        let mut split = Split::new(body, media, shape)?;
        let mut found = Vec::new();
        loop {
            let mut faults = Faults::default();
            match split.next(&mut faults)? {
                None => return Ok(found),
                Some(Part::Event(event)) => found.push(event.id.unwrap_or_default().into_owned()),
                Some(Part::Data(text)) => found.push(text.to_owned()),
                Some(Part::Broken) => found.extend(faults.take(None).map(|fault| fault.reason.name().to_owned())),
            }
        }
    }

    #[test]
    fn a_value_is_single_and_an_array_is_a_batch() {
        let one = br#" {"id":"a"} "#;
        assert!(!Split::new(one, Media::Json, Shape::Events).unwrap().batch);
        assert_eq!(all(one, Media::Json, Shape::Events).unwrap(), ["a"]);
        let two = br#"[{"id":"a"}, {"id":"b"}]"#;
        assert!(Split::new(two, Media::Json, Shape::Events).unwrap().batch);
        assert_eq!(all(two, Media::Json, Shape::Events).unwrap(), ["a", "b"]);
        assert_eq!(all(b"[]", Media::Json, Shape::Events).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn structured_is_one_event_and_batched_an_array() {
        assert_eq!(all(br#"{"id":"a"}"#, Media::CloudEvent, Shape::Events).unwrap(), ["a"]);
        assert_eq!(all(br#"[{"id":"a"}]"#, Media::CloudEvents, Shape::Events).unwrap(), ["a"]);
        assert!(all(br#"[{"id":"a"}]"#, Media::CloudEvent, Shape::Events).is_err());
        assert!(all(br#"{"id":"a"}"#, Media::CloudEvents, Shape::Events).is_err());
    }

    #[test]
    fn an_array_is_data_where_the_type_takes_no_batches() {
        assert_eq!(all(b"[1,2]", Media::Json, Shape::Data).unwrap(), ["[1,2]"]);
        assert_eq!(all(b"[1,2]", Media::Json, Shape::DataOrBatch).unwrap(), ["1", "2"]);
    }

    #[test]
    fn a_broken_body_is_told_with_its_place() {
        for (body, byte) in [
            (&b""[..], 0),
            (b"{\"id\":\"a\"", 9),
            (b"[{},", 4),
            (b"{} x", 3),
            (b"\xEF\xBB\xBF{}", 0),
            (b"{\"id\":\"\xFF\"}", 7),
            (b"[{}\n{}]", 4),
        ] {
            let malformed = all(body, Media::Json, Shape::Events).unwrap_err();
            assert_eq!(malformed.at.byte, byte, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_broken_line_is_that_lines_fault_and_blank_lines_do_not_count() {
        let body = b"{\"id\":\"a\"}\r\n\n  \n{\"id\":\n{\"id\":\"\xFF\"}\n{\"id\":\"b\"} {}\n{\"id\":\"c\"}";
        assert_eq!(all(body, Media::Lines, Shape::Events).unwrap(), ["a", "syntax", "syntax", "syntax", "c"]);
    }
}
