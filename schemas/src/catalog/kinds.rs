//! A `[[kind]]` table and its record become event types, result types, routes and a view: a new kind needs no Rust.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::avro::{self, Files};
use super::file::KindFile;
use super::{
    Durability, EmbeddedDatum, EventType, IdempotencyKey, Kind, Limits, Ordering, RecordSchema, ResultType, Retry, Route, Stream,
    SubjectRule, SubjectSource, TextField, Tracking, UnknownFields, View,
};
use super::{load, route};

/// Body of every `<kind>.rejected`.
const REJECTED: &str = "engine/rejected.avsc";
/// Field that updates and deletes carry behind the kind's own.
const EXPECTED_VERSION: &str = "expected_version";

/// Subjects that each list of a kind is spread over; fixed for life.
pub const LIST_BUCKETS: u8 = 16;

/// The subject that holds one bucket of the lists of a kind.
#[must_use]
pub fn list_subject(account: &str, kind: &str, bucket: u8) -> String {
    format!("{account}/list/{kind}.{bucket:02x}")
}

/// Adds everything a kind makes to its stream.
pub(super) fn expand(file: KindFile, stream: &mut Stream, files: &mut Files<'_>) -> Result<(), String> {
    let name = file.name.clone();
    let about = |problem: String| format!("kind {name}: {problem}");
    let schema = files.record(&file.schema).map_err(about)?;
    let record = files.json(&file.schema).map_err(about)?;
    let made = Made::new(&record).map_err(about)?;
    let constraints = load::constraints(&schema, &file.fields).map_err(about)?;
    let collection = route::write(&format!("POST {}", file.route)).map_err(about)?;
    let one = Route { method: String::new(), path: format!("{}/{{id}}", collection.path) };

    let prefix = format!("{{account}}/{name}");
    let generated = SubjectRule { source: SubjectSource::Generated, prefix: Some(prefix.clone()) };
    let by_path = SubjectRule { source: SubjectSource::Path("id".to_owned()), prefix: Some(prefix.clone()) };
    let on_one = |method: &str| Route { method: method.to_owned(), ..one.clone() };
    let listed = Route { method: "GET".to_owned(), ..collection.clone() };
    let verbs = [
        ("create", made.create(), collection, generated, Some(one.path.clone()), file.example),
        ("update", made.update(), on_one("PUT"), by_path.clone(), None, None),
        ("delete", made.delete(), on_one("DELETE"), by_path, None, None),
    ];
    let no_rules = BTreeMap::new();
    for (verb, json, route, subject, location, example) in verbs {
        let schema = Arc::new(avro::parse(&json).map_err(about)?);
        let fields = if verb == "delete" { &no_rules } else { &file.fields };
        stream.events.push(EventType {
            ce_type: format!("{name}.{verb}"),
            title: format!("{} a {name}", capital(verb)),
            constraints: load::constraints(&schema, fields).map_err(about)?,
            schema,
            route: Some(route),
            subject,
            id_pointer: None,
            idempotency_key: IdempotencyKey::Optional,
            unknown_fields: UnknownFields::Reject,
            batch: false,
            internal: false,
            answers: None,
            answer_outcome: true,
            location,
            ordering: Ordering::Strict,
            retry: Retry::default(),
            tracking: Tracking::All,
            settles_with_effects: false,
            durability: Durability::Log,
            limits: Limits::default(),
            example,
        });
    }
    for (verb, json) in [("created", made.created()), ("updated", made.updated()), ("deleted", made.deleted())] {
        let schema = Arc::new(avro::parse(&json).map_err(about)?);
        stream.results.push(ResultType { ce_type: format!("{name}.{verb}"), schema });
    }
    stream.results.push(ResultType { ce_type: format!("{name}.rejected"), schema: files.record(REJECTED)? });
    stream.views.push(view(one, format!("{prefix}/{{id}}"), &schema));
    let texts =
        |fields: &[String]| fields.iter().map(|field| TextField::of(&schema.schema, field)).collect::<Result<Vec<_>, _>>();
    let unique = texts(&file.unique).map_err(about)?;
    let list = texts(&file.list).map_err(about)?;
    let links = !unique.is_empty() || !list.is_empty();
    if links && !stream.sends.contains(&stream.name) {
        return Err(about(format!("claims and lists are subjects of its own stream: add sends = [{:?}]", stream.name)));
    }
    let list_route = (!list.is_empty()).then_some(listed);
    stream.kinds.push(Kind { name, schema, require_version: file.require_version, unique, list, list_route, constraints });
    Ok(())
}

fn view(route: Route, subject: String, schema: &Arc<RecordSchema>) -> View {
    View {
        route: Route { method: "GET".to_owned(), ..route },
        subject,
        sort: String::new(),
        etag: Some("/version".to_owned()),
        embedded: Some(EmbeddedDatum {
            field: "data".to_owned(),
            fingerprint_field: "schema".to_owned(),
            schema: schema.clone(),
        }),
    }
}

/// Records made of a kind's record.
struct Made<'a> {
    record: &'a Value,
    name: &'a str,
    fields: &'a [Value],
}

impl<'a> Made<'a> {
    fn new(record: &'a Value) -> Result<Self, String> {
        let name = record["name"].as_str().unwrap_or_default();
        let fields = record["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
        if fields.iter().any(|field| field["name"] == EXPECTED_VERSION) {
            return Err(format!("its record has a field {EXPECTED_VERSION}, which updates add; name it otherwise"));
        }
        Ok(Self { record, name, fields })
    }

    fn create(&self) -> Value {
        self.record("Create", self.fields)
    }

    fn update(&self) -> Value {
        self.record("Update", &self.fields.iter().cloned().chain([expected_version()]).collect::<Vec<_>>())
    }

    fn delete(&self) -> Value {
        self.record("Delete", &[expected_version()])
    }

    fn created(&self) -> Value {
        self.record("Created", &[version(), self.whole()])
    }

    fn updated(&self) -> Value {
        let changed = json!({
            "name": "changed", "type": { "type": "array", "items": "string" }, "doc": "Names of the fields that changed.",
        });
        self.record("Updated", &[version(), changed, self.whole()])
    }

    fn deleted(&self) -> Value {
        self.record("Deleted", &[version()])
    }

    /// The resource itself, as a field named like the kind's record in lower case.
    fn whole(&self) -> Value {
        json!({ "name": snake(self.name), "type": self.record, "doc": "The resource as it is now." })
    }

    fn record(&self, suffix: &str, fields: &[Value]) -> Value {
        json!({
            "type": "record",
            "name": format!("{}{suffix}", self.name),
            "namespace": self.record["namespace"],
            "doc": format!("{suffix}: {}", self.record["doc"].as_str().unwrap_or(self.name)),
            "fields": fields,
        })
    }
}

fn version() -> Value {
    json!({ "name": "version", "type": "long", "doc": "Version of the resource after the change." })
}

fn expected_version() -> Value {
    json!({
        "name": EXPECTED_VERSION, "type": ["null", "long"], "default": null,
        "doc": "The change is made only if the resource has this version.",
    })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
