//! The CloudEvents members of an event object, found in one pass over its text; `data` stays raw.

use std::borrow::Cow;

use schemas::json::{Reader, SyntaxError, Text, Token};
use schemas::plan::code;

use crate::fault::{Faults, finding};
use crate::verdict::Invalid;

/// Most extension attributes of an event.
const EXTENSIONS_MAX: usize = 8;
/// Longest value of an extension attribute, bytes.
const EXTENSION_BYTES_MAX: usize = 256;
/// Longest name of an extension attribute, bytes.
const EXTENSION_NAME_MAX: usize = 20;
/// Attributes that only the engine sets.
pub(crate) const RESERVED: [&str; 8] = ["redriveof", "seq", "prev", "cause", "hops", "account", "principal", "admin"];

/// What an event object says about itself.
#[derive(Default)]
pub(crate) struct Envelope<'a> {
    pub(crate) kind: Option<Cow<'a, str>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) source: Option<Cow<'a, str>>,
    pub(crate) subject: Option<Cow<'a, str>>,
    pub(crate) time: Option<Cow<'a, str>>,
    /// Raw JSON.
    pub(crate) data: Option<&'a str>,
    /// Name and value; `dataschema` travels with them.
    pub(crate) extensions: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Reads the event object that stands next, `None` if it is another value. Everything wrong with it, short of broken JSON, goes to `faults`.
///
/// # Errors
/// The text is not JSON.
pub(crate) fn read<'a>(reader: &mut Reader<'a>, faults: &mut Faults) -> Result<Option<Envelope<'a>>, SyntaxError> {
    let mut envelope = Envelope::default();
    if reader.peek()? != Token::Object {
        let value = reader.value()?;
        faults.add(Invalid::Envelope, finding("", code::WRONG_TYPE, "object", value, "an event is a JSON object"));
        return Ok(None);
    }
    reader.open();
    let mut seen = Vec::new();
    let mut first = true;
    while let Some(key) = reader.key(first)? {
        first = false;
        let name = decoded(key).unwrap_or(Cow::Borrowed(key.raw()));
        if seen.contains(&name) {
            let value = reader.value()?;
            let error = finding(pointer(&name), code::DUPLICATE_KEY, "", value, "this member stands in the event twice");
            faults.add(Invalid::Envelope, error);
            continue;
        }
        member(&mut envelope, name.clone(), reader, faults)?;
        seen.push(name);
    }
    Ok(Some(envelope))
}

fn member<'a>(
    envelope: &mut Envelope<'a>,
    name: Cow<'a, str>,
    reader: &mut Reader<'a>,
    faults: &mut Faults,
) -> Result<(), SyntaxError> {
    match &*name {
        "data" => envelope.data = Some(reader.value()?),
        "type" => envelope.kind = string(&name, reader, faults, Invalid::Envelope)?,
        "id" => envelope.id = string(&name, reader, faults, Invalid::Id)?,
        "source" => envelope.source = string(&name, reader, faults, Invalid::Envelope)?,
        "subject" => envelope.subject = string(&name, reader, faults, Invalid::Subject)?,
        "time" => envelope.time = string(&name, reader, faults, Invalid::Envelope)?,
        "specversion" => {
            let version = string(&name, reader, faults, Invalid::Envelope)?;
            if let Some(version) = version.filter(|version| version != "1.0") {
                let message = "only CloudEvents 1.0 is spoken here";
                faults.add(Invalid::Envelope, finding("/specversion", code::BAD_FORMAT, "1.0", &version, message));
            }
        }
        "datacontenttype" => {
            let media = string(&name, reader, faults, Invalid::Envelope)?;
            if let Some(media) = media.filter(|media| !is_json(media)) {
                let message = "data must be JSON here";
                let error = finding("/datacontenttype", code::BAD_FORMAT, "application/json", &media, message);
                faults.add(Invalid::Envelope, error);
            }
        }
        "data_base64" => {
            reader.value()?;
            let message = "binary data is not taken in event objects; send data as JSON";
            faults.add(Invalid::Envelope, finding("/data_base64", code::UNKNOWN_FIELD, "data", "", message));
        }
        _ => extension(envelope, name, reader, faults)?,
    }
    Ok(())
}

fn extension<'a>(
    envelope: &mut Envelope<'a>,
    name: Cow<'a, str>,
    reader: &mut Reader<'a>,
    faults: &mut Faults,
) -> Result<(), SyntaxError> {
    let token = reader.peek()?;
    let value = match token {
        Token::String => decoded(reader.string()?).ok(),
        Token::Number | Token::Boolean => Some(Cow::Borrowed(reader.value()?)),
        Token::Null | Token::Array | Token::Object => {
            reader.value()?;
            if token == Token::Null && !RESERVED.contains(&&*name) && is_extension_name(&name) {
                return Ok(());
            }
            None
        }
    };
    let mut refuse = |code, expected: &str, message: &str| {
        faults.add(Invalid::Envelope, finding(pointer(&name), code, expected, "", message));
    };
    if RESERVED.contains(&&*name) {
        refuse(code::UNKNOWN_FIELD, "", "this attribute is set by the engine alone");
    } else if !is_extension_name(&name) {
        refuse(code::UNKNOWN_FIELD, "", "an event has no such member, and it is no extension name ([a-z0-9], at most 20)");
    } else if envelope.extensions.len() == EXTENSIONS_MAX {
        refuse(code::TOO_MANY, "at most 8", "an event may have 8 extension attributes");
    } else {
        match value {
            None => refuse(code::WRONG_TYPE, "string, number or boolean", "an extension attribute is a plain value"),
            Some(value) if value.len() > EXTENSION_BYTES_MAX => {
                refuse(code::BAD_LENGTH, "at most 256 bytes", "an extension attribute may have 256 bytes");
            }
            Some(value) => envelope.extensions.push((name, value)),
        }
    }
    Ok(())
}

/// A string member; `null` counts as absent, as the CloudEvents JSON format wants.
fn string<'a>(
    name: &str,
    reader: &mut Reader<'a>,
    faults: &mut Faults,
    reason: Invalid,
) -> Result<Option<Cow<'a, str>>, SyntaxError> {
    match reader.peek()? {
        Token::Null => {
            reader.null()?;
            Ok(None)
        }
        Token::String => {
            let text = reader.string()?;
            let decoded = decoded(text);
            if decoded.is_err() {
                let message = "the string holds half a surrogate pair";
                faults.add(reason, finding(pointer(name), code::BAD_UTF8, "string", text.raw(), message));
            }
            Ok(decoded.ok())
        }
        Token::Boolean | Token::Number | Token::Array | Token::Object => {
            let value = reader.value()?;
            faults.add(reason, finding(pointer(name), code::WRONG_TYPE, "string", value, "this attribute is a string"));
            Ok(None)
        }
    }
}

fn decoded(text: Text<'_>) -> Result<Cow<'_, str>, schemas::json::LoneSurrogate> {
    if !text.raw().contains('\\') {
        return Ok(Cow::Borrowed(text.raw()));
    }
    let mut buffer = String::new();
    let text = text.decode(&mut buffer)?;
    Ok(Cow::Owned(text.to_owned()))
}

fn is_json(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn is_extension_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=EXTENSION_NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

/// RFC 6901.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_of(text: &str) -> Vec<(String, &'static str)> {
        let mut faults = Faults::default();
        read(&mut Reader::new(text), &mut faults).unwrap();
        let found = faults.take(None).map(|fault| fault.errors).unwrap_or_default();
        found.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn members_are_found_in_any_order_and_data_stays_raw() {
        let text = r#"{"data":{"a":[1,{}]},"subject":"a\/b","type":"t","id":null,"trace0":true}"#;
        let mut faults = Faults::default();
        let envelope = read(&mut Reader::new(text), &mut faults).unwrap().unwrap();
        assert!(faults.is_empty());
        assert_eq!(envelope.data, Some(r#"{"a":[1,{}]}"#));
        assert_eq!(envelope.subject.as_deref(), Some("a/b"));
        assert_eq!(envelope.kind.as_deref(), Some("t"));
        assert!(envelope.id.is_none());
        assert_eq!(envelope.extensions, [("trace0".into(), "true".into())]);
    }

    #[test]
    fn the_engines_own_attributes_are_refused() {
        for name in RESERVED {
            assert_eq!(faults_of(&format!(r#"{{"{name}":"1"}}"#)), [(format!("/{name}"), code::UNKNOWN_FIELD)]);
        }
    }

    #[test]
    fn what_is_no_extension_is_an_unknown_member() {
        assert_eq!(faults_of(r#"{"Foo":1}"#), [("/Foo".into(), code::UNKNOWN_FIELD)]);
        assert_eq!(faults_of(r#"{"a/b~":1}"#), [("/a~1b~0".into(), code::UNKNOWN_FIELD)]);
        assert_eq!(faults_of(r#"{"foo":{}}"#), [("/foo".into(), code::WRONG_TYPE)]);
        assert_eq!(faults_of(&format!(r#"{{"foo":"{}"}}"#, "x".repeat(257))), [("/foo".into(), code::BAD_LENGTH)]);
        let nine: Vec<_> = (0..9).map(|n| format!(r#""e{n}":{n}"#)).collect();
        assert_eq!(faults_of(&format!("{{{}}}", nine.join(","))), [("/e8".into(), code::TOO_MANY)]);
    }

    #[test]
    fn wrong_kinds_and_repeats_come_with_their_pointer() {
        let text = r#"{"type":1,"id":"a","id":"b","specversion":"0.3","datacontenttype":"text/xml","time":"\ud800"}"#;
        let expected = [
            ("/type", code::WRONG_TYPE),
            ("/id", code::DUPLICATE_KEY),
            ("/specversion", code::BAD_FORMAT),
            ("/datacontenttype", code::BAD_FORMAT),
            ("/time", code::BAD_UTF8),
        ];
        assert_eq!(faults_of(text), expected.map(|(pointer, code)| (pointer.to_owned(), code)));
    }

    #[test]
    fn a_value_that_is_no_object_is_no_event() {
        assert_eq!(faults_of("42"), [(String::new(), code::WRONG_TYPE)]);
    }
}
