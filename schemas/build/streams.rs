//! One module per folder of `avro/`: its records, and for a stream the unions `Input`, `ResultEvent`, `SendEvent` and `Row`.
//! The catalog is checked in full by the crate itself; here only what code needs is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::avro::{self, Named};
use crate::files::Found;
use crate::rust::{self, Member};

/// Folder of the engine's own records.
const ENGINE: &str = "engine";

#[derive(Deserialize)]
struct StreamFile {
    title: String,
    #[serde(default)]
    event: Vec<Typed>,
    #[serde(default)]
    result: Vec<Typed>,
    #[serde(default)]
    row: Vec<Row>,
    #[serde(default)]
    kind: Vec<toml::Table>,
    #[serde(default)]
    follow: Vec<Follow>,
    #[serde(default)]
    sends: Vec<String>,
}

#[derive(Deserialize)]
struct Follow {
    stream: String,
    #[serde(default)]
    types: Vec<String>,
}

#[derive(Clone, Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    ce_type: String,
    schema: String,
}

#[derive(Deserialize)]
struct Row {
    schema: String,
}

#[derive(Default)]
struct Module {
    doc: String,
    named: BTreeMap<String, Named>,
    unions: String,
}

struct Modules<'a> {
    schemas: &'a [Found],
    modules: BTreeMap<String, Module>,
}

/// The results of `other` that arrive at its follower.
fn followed(follow: &Follow, other: &StreamFile) -> Result<Vec<Typed>, String> {
    let Follow { stream, types } = follow;
    if types.is_empty() {
        if !other.kind.is_empty() {
            return Err(format!("it follows {stream}, whose kinds have no Rust types; name the results it needs in `types`"));
        }
        return Ok(other.result.clone());
    }
    let declared = |name: &String| {
        let found = other.result.iter().find(|result| result.ce_type == *name);
        found.cloned().ok_or_else(|| format!("it follows {stream} for {name}, which is no [[result]] of {stream}"))
    };
    types.iter().map(declared).collect()
}

/// The text of all modules.
pub(crate) fn generate(catalog: &[Found], schemas: &[Found]) -> Result<String, String> {
    let mut all = Modules { schemas, modules: BTreeMap::new() };
    for file in schemas.iter().filter(|file| file.path.starts_with("engine/")) {
        all.record(&file.path, ENGINE)?;
    }
    let mut streams = BTreeMap::new();
    for file in catalog {
        let stream: StreamFile =
            toml::from_str(&file.text).map_err(|error| format!("catalog/{}: {}", file.path, one_line(&error.to_string())))?;
        streams.insert(file.path.trim_end_matches(".toml"), stream);
    }
    for (name, stream) in &streams {
        all.stream(name, stream, &streams).map_err(|problem| format!("catalog/{name}.toml: {problem}"))?;
    }
    Ok(all.modules.iter().map(|(name, module)| text_of(name, module)).collect())
}

impl Modules<'_> {
    fn stream(&mut self, name: &str, stream: &StreamFile, streams: &BTreeMap<&str, StreamFile>) -> Result<(), String> {
        let mut rows = Vec::new();
        for row in &stream.row {
            let (path, full_name) = self.record(&row.schema, name)?;
            rows.push(Member { variant: path.rsplit(':').next().unwrap_or_default().to_owned(), path, name: full_name });
        }
        let mut inputs = self.typed(&stream.event, name)?;
        for follow in &stream.follow {
            let other =
                streams.get(&*follow.stream).ok_or_else(|| format!("it follows {}, which is no stream", follow.stream))?;
            inputs.extend(self.typed(&followed(follow, other)?, name)?);
        }
        let mut sends = Vec::new();
        for target in &stream.sends {
            let other = streams.get(&**target).ok_or_else(|| format!("it sends to {target}, which is no stream"))?;
            sends.extend(self.typed(&other.event, name)?);
        }
        let unions = [
            rust::union("Input", "What arrives, by event or followed result type.", &inputs),
            rust::union("ResultEvent", "What the processor tells, by result type.", &self.typed(&stream.result, name)?),
            rust::union("SendEvent", "What the processor may send, by event type of the streams it sends to.", &sends),
            rust::union("Row", "Rows, by record.", &rows),
        ];
        let module = self.modules.entry(name.to_owned()).or_default();
        module.doc.clone_from(&stream.title);
        module.unions = unions.concat();
        Ok(())
    }

    fn typed(&mut self, types: &[Typed], stream: &str) -> Result<Vec<Member>, String> {
        let mut members = Vec::new();
        for typed in types {
            let (path, _) = self.record(&typed.schema, stream)?;
            members.push(Member { variant: rust::pascal(&typed.ce_type), path, name: typed.ce_type.clone() });
        }
        Ok(members)
    }

    /// Adds a file's types to its module; gives the path of its record seen from the module of `stream`, and its full name.
    fn record(&mut self, path: &str, stream: &str) -> Result<(String, String), String> {
        let file = self.schemas.iter().find(|file| file.path == path);
        let file = file.ok_or_else(|| format!("there is no file avro/{path}; add it or correct `schema`"))?;
        let (folder, _) = path.split_once('/').ok_or_else(|| format!("avro/{path} must lie in a folder, that of its stream"))?;
        let module = self.modules.entry(folder.to_owned()).or_default();
        let types = avro::parse(path, &file.text)?;
        let Some(Named::Record { name, full_name, .. }) = types.last().cloned() else {
            return Err(format!("avro/{path} holds no record"));
        };
        for named in types {
            if ["Input", "ResultEvent", "SendEvent", "Row"].contains(&named.name()) {
                return Err(format!("avro/{path}: {} is the name of a generated union, choose another", named.name()));
            }
            if let Some(other) = module.named.get(named.name())
                && *other != named
            {
                return Err(format!("avro/{path}: {} is defined otherwise in another file of {folder}/", named.name()));
            }
            module.named.insert(named.name().to_owned(), named);
        }
        let rust = if folder == stream { name } else { format!("super::{}::{name}", module_name(folder)) };
        Ok((rust, full_name))
    }
}

fn text_of(name: &str, module: &Module) -> String {
    let doc = match (name, module.doc.as_str()) {
        (ENGINE, _) => "The engine's own records: log and refusals.",
        (_, "") => "Records.",
        (_, doc) => doc,
    };
    let union = if module.unions.is_empty() { "" } else { ", Union" };
    let mut out = format!("/// {}\npub mod {} {{\n", one_line(doc), module_name(name));
    out += "use crate::datum::field::{Field, read_whole};\n";
    out += &format!("use crate::datum::{{Cursor, Datum, DecodeError{union}}};\n\n");
    for named in module.named.values() {
        out += &rust::named(named);
    }
    out + &module.unions + "}\n\n"
}

fn module_name(folder: &str) -> String {
    folder.replace('-', "_")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
