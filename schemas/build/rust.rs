//! Rust text for records, enums and unions of records.

use std::fmt::Write;

use crate::avro::{Field, Named, Type};

/// One member of a union enum.
pub(crate) struct Member {
    /// Name of the variant.
    pub(crate) variant: String,
    /// Path of the record's struct, seen from the stream's module.
    pub(crate) path: String,
    /// What `decode` takes and `name` gives.
    pub(crate) name: String,
}

/// A struct or enum with its binary form.
pub(crate) fn named(named: &Named) -> String {
    match named {
        Named::Record { name, full_name, doc, fields } => record(name, full_name, doc, fields),
        Named::Enum { name, doc, symbols } => enumeration(name, doc, symbols),
    }
}

fn record(name: &str, full_name: &str, doc: &str, fields: &[Field]) -> String {
    let mut declared = String::new();
    let mut written = String::new();
    let mut read = String::new();
    for field in fields {
        let rust = identifier(&field.name);
        let _ = writeln!(declared, "    /// {}\n    pub {rust}: {},", field.doc, ty(&field.ty));
        let _ = writeln!(written, "        Field::write(&self.{rust}, out);");
        let _ = writeln!(read, "            {rust}: Field::read(cursor)?,");
    }
    let (out, cursor) = if fields.is_empty() { ("_out", "_cursor") } else { ("out", "cursor") };
    format!(
        "/// {doc}
#[derive(Clone, Debug, PartialEq)]
pub struct {name} {{
{declared}}}

impl Field for {name} {{
    fn write(&self, {out}: &mut Vec<u8>) {{
{written}    }}

    fn read({cursor}: &mut Cursor<'_>) -> Result<Self, DecodeError> {{
        Ok(Self {{
{read}        }})
    }}
}}

impl Datum for {name} {{
    const RECORD: &'static str = {full_name:?};

    fn encode(&self, out: &mut Vec<u8>) {{
        self.write(out);
    }}

    fn decode(datum: &[u8]) -> Result<Self, DecodeError> {{
        read_whole(datum)
    }}
}}

"
    )
}

fn enumeration(name: &str, doc: &str, symbols: &[String]) -> String {
    let mut declared = String::new();
    let mut written = String::new();
    let mut read = String::new();
    for (at, symbol) in symbols.iter().enumerate() {
        let variant = pascal(symbol);
        let _ = writeln!(declared, "    /// `{symbol}`.\n    {variant},");
        let _ = writeln!(written, "            Self::{variant} => {at},");
        let pattern = if at + 1 == symbols.len() { "_".to_owned() } else { at.to_string() };
        let _ = writeln!(read, "            {pattern} => Self::{variant},");
    }
    format!(
        "/// {doc}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum {name} {{
{declared}}}

impl Field for {name} {{
    fn write(&self, out: &mut Vec<u8>) {{
        let index: i64 = match self {{
{written}        }};
        index.write(out);
    }}

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {{
        Ok(match cursor.index({})? {{
{read}        }})
    }}
}}

",
        symbols.len()
    )
}

/// An enum over records. Without members it is the enum that has no values.
pub(crate) fn union(name: &str, doc: &str, members: &[Member]) -> String {
    let mut declared = String::new();
    let mut decoded = String::new();
    let mut named = String::new();
    let mut encoded = String::new();
    for Member { variant, path, name } in members {
        let _ = writeln!(declared, "    /// `{name}`.\n    {variant}({path}),");
        let _ = writeln!(decoded, "            {name:?} => Ok(Self::{variant}({path}::decode(datum)?)),");
        let _ = writeln!(named, "            Self::{variant}(_) => {name:?},");
        let _ = writeln!(encoded, "            Self::{variant}(value) => value.encode(out),");
    }
    let none = members.is_empty();
    let (datum, out, value) = if none { ("_datum", "_out", "*self") } else { ("datum", "out", "self") };
    let decode = if none {
        "        Err(DecodeError::UnknownType(name.to_owned()))\n".to_owned()
    } else {
        format!("        match name {{\n{decoded}            _ => Err(DecodeError::UnknownType(name.to_owned())),\n        }}\n")
    };
    format!(
        "/// {doc}
#[derive(Clone, Debug, PartialEq)]
pub enum {name} {{
{declared}}}

impl Union for {name} {{
    fn decode(name: &str, {datum}: &[u8]) -> Result<Self, DecodeError> {{
{decode}    }}

    fn name(&self) -> &str {{
        match {value} {{
{named}        }}
    }}

    fn encode(&self, {out}: &mut Vec<u8>) {{
        match {value} {{
{encoded}        }}
    }}
}}

"
    )
}

fn ty(of: &Type) -> String {
    match of {
        Type::Boolean => "bool".to_owned(),
        Type::Int => "i32".to_owned(),
        Type::Long => "i64".to_owned(),
        Type::Float => "f32".to_owned(),
        Type::Double => "f64".to_owned(),
        Type::String => "String".to_owned(),
        Type::Bytes => "bytes::Bytes".to_owned(),
        Type::Fixed(size) => format!("[u8; {size}]"),
        Type::Named(name) => name.clone(),
        Type::Option(inner) => format!("Option<{}>", ty(inner)),
        Type::Array(items) => format!("Vec<{}>", ty(items)),
        Type::Map(values) => format!("std::collections::BTreeMap<String, {}>", ty(values)),
    }
}

/// `flight.departed` and `in_transit` as type names.
pub(crate) fn pascal(name: &str) -> String {
    let mut out = String::new();
    for word in name.split(['.', '_', '-']).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        out += &first.to_ascii_uppercase();
        out += rest;
    }
    out
}

fn identifier(name: &str) -> String {
    const KEYWORDS: [&str; 46] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum", "extern",
        "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut",
        "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe",
        "use", "virtual", "where", "while",
    ];
    if KEYWORDS.contains(&name) { format!("r#{name}") } else { name.to_owned() }
}
