//! The part of Avro that generated code knows: a schema file as a small model. Anything else is refused with a sentence.

use std::collections::HashMap;

use serde_json::Value;

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    Bytes,
    Fixed(u64),
    /// A record or enum of the same file, by its Rust name.
    Named(String),
    /// `["null", T]`.
    Option(Box<Type>),
    Array(Box<Type>),
    Map(Box<Type>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) ty: Type,
}

/// A record or an enum.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Named {
    Record { name: String, full_name: String, doc: String, fields: Vec<Field> },
    Enum { name: String, doc: String, symbols: Vec<String> },
}

impl Named {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Record { name, .. } | Self::Enum { name, .. } => name,
        }
    }
}

/// The named types of a file; the last one is the file's own record.
pub(crate) fn parse(path: &str, text: &str) -> Result<Vec<Named>, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| format!("avro/{path} is not JSON: {error}"))?;
    let mut parser = Parser { path, named: Vec::new(), known: HashMap::new(), open: Vec::new() };
    if json["type"] != "record" {
        return Err(format!("avro/{path}: the file's own type must be a record"));
    }
    parser.record(&json, "", "the file")?;
    Ok(parser.named)
}

struct Parser<'a> {
    path: &'a str,
    named: Vec<Named>,
    /// Types by full name.
    known: HashMap<String, Type>,
    /// Full names of the records being read.
    open: Vec<String>,
}

impl Parser<'_> {
    fn problem(&self, field: &str, sentence: &str) -> String {
        format!("avro/{}, field {field}: {sentence}", self.path)
    }

    fn record(&mut self, json: &Value, namespace: &str, place: &str) -> Result<Type, String> {
        let (name, full_name, namespace) = self.name_of(json, namespace, place)?;
        let doc = self.doc_of(json, place)?;
        self.open.push(full_name.clone());
        let mut fields = Vec::new();
        for field in json["fields"].as_array().ok_or_else(|| self.problem(place, "a record needs `fields`"))? {
            let field_name = field["name"].as_str().unwrap_or_default().to_owned();
            let snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if field_name.is_empty() || !field_name.bytes().all(snake) {
                return Err(self.problem(&field_name, "field names are snake_case"));
            }
            if ["self", "super", "crate"].contains(&field_name.as_str()) {
                return Err(self.problem(&field_name, "Rust cannot name a field so"));
            }
            let doc = self.doc_of(field, &field_name)?;
            let ty = self.ty(&field["type"], &namespace, &field_name)?;
            fields.push(Field { name: field_name, doc, ty });
        }
        self.open.pop();
        self.known.insert(full_name.clone(), Type::Named(name.clone()));
        self.named.push(Named::Record { name: name.clone(), full_name, doc, fields });
        Ok(Type::Named(name))
    }

    fn ty(&mut self, json: &Value, namespace: &str, field: &str) -> Result<Type, String> {
        match json {
            Value::String(name) => self.by_name(name, namespace, field),
            Value::Array(branches) => match branches.as_slice() {
                [Value::String(null), other] if null == "null" => Ok(Type::Option(Box::new(self.ty(other, namespace, field)?))),
                _ => Err(self.problem(field, "of unions only [\"null\", T] is supported")),
            },
            Value::Object(_) => self.object(json, namespace, field),
            _ => Err(self.problem(field, "it has no type")),
        }
    }

    fn object(&mut self, json: &Value, namespace: &str, field: &str) -> Result<Type, String> {
        match json["type"].as_str() {
            Some("record") => {
                if json["fields"].as_array().is_some_and(Vec::is_empty) {
                    return Err(self.problem(field, "a nested record without fields takes no bytes, which arrays cannot bound"));
                }
                self.record(json, namespace, field)
            }
            Some("enum") => self.enumeration(json, namespace, field),
            Some("fixed") => {
                let (_, full_name, _) = self.name_of(json, namespace, field)?;
                match json["size"].as_u64() {
                    Some(size) if size > 0 => {
                        self.known.insert(full_name, Type::Fixed(size));
                        Ok(Type::Fixed(size))
                    }
                    _ => Err(self.problem(field, "a fixed needs a size above 0")),
                }
            }
            Some("array") => Ok(Type::Array(Box::new(self.ty(&json["items"], namespace, field)?))),
            Some("map") => Ok(Type::Map(Box::new(self.ty(&json["values"], namespace, field)?))),
            // logical types stand for their base; a type may also be wrapped once more
            _ => self.ty(&json["type"], namespace, field),
        }
    }

    fn enumeration(&mut self, json: &Value, namespace: &str, field: &str) -> Result<Type, String> {
        let (name, full_name, _) = self.name_of(json, namespace, field)?;
        let doc = self.doc_of(json, field)?;
        let symbols = json["symbols"].as_array().into_iter().flatten();
        let symbols: Vec<String> = symbols.filter_map(Value::as_str).map(str::to_owned).collect();
        if symbols.is_empty() {
            return Err(self.problem(field, "an enum needs symbols"));
        }
        self.known.insert(full_name, Type::Named(name.clone()));
        self.named.push(Named::Enum { name: name.clone(), doc, symbols });
        Ok(Type::Named(name))
    }

    fn by_name(&self, name: &str, namespace: &str, field: &str) -> Result<Type, String> {
        let full_name = if name.contains('.') { name.to_owned() } else { format!("{namespace}.{name}") };
        match name {
            "boolean" => Ok(Type::Boolean),
            "int" => Ok(Type::Int),
            "long" => Ok(Type::Long),
            "float" => Ok(Type::Float),
            "double" => Ok(Type::Double),
            "string" => Ok(Type::String),
            "bytes" => Ok(Type::Bytes),
            _ if self.open.contains(&full_name) => Err(self.problem(field, "recursive records are not supported")),
            _ => self.known.get(&full_name).cloned().ok_or_else(|| {
                self.problem(field, &format!("the type {name} is not supported here; each file must be complete in itself"))
            }),
        }
    }

    /// Short name, full name and namespace.
    fn name_of(&self, json: &Value, outer: &str, place: &str) -> Result<(String, String, String), String> {
        let name = json["name"].as_str().ok_or_else(|| self.problem(place, "a record, enum or fixed needs a name"))?;
        let pascal = name.starts_with(|first: char| first.is_ascii_uppercase()) && !name.contains(['_', '.']);
        if !pascal {
            return Err(self.problem(place, &format!("the type name {name} is not PascalCase; put a namespace in `namespace`")));
        }
        let namespace = json["namespace"].as_str().unwrap_or(outer);
        if namespace.is_empty() {
            return Err(self.problem(place, "the record needs a namespace"));
        }
        Ok((name.to_owned(), format!("{namespace}.{name}"), namespace.to_owned()))
    }

    fn doc_of(&self, json: &Value, place: &str) -> Result<String, String> {
        match json["doc"].as_str() {
            Some(doc) if !doc.trim().is_empty() => Ok(doc.split_whitespace().collect::<Vec<_>>().join(" ")),
            _ => Err(self.problem(place, "it needs a `doc`: it becomes documentation of the API and of the Rust type")),
        }
    }
}
