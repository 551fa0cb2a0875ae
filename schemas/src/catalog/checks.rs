//! What the catalog must keep across its files. Each problem is one sentence that says what to change.

use std::collections::HashMap;

use apache_avro::Schema;

use super::{Error, EventType, Ordering, RecordSchema, Stream, SubjectSource, Tracking};
use crate::catalog::HeaderStyle;

/// Most partitions of a stream.
const PARTITIONS_MAX: i32 = 4096;
/// Most buckets of a shard.
const BUCKETS_MAX: i32 = 256;

/// Checks all streams; the first problem ends it.
pub(super) fn all(streams: &[Stream]) -> Result<(), Error> {
    for stream in streams {
        let fail = |problem: String| Error { file: stream.name.clone(), problem };
        settings(stream).map_err(fail)?;
        names(stream).map_err(fail)?;
        for event in &stream.events {
            self::event(event, stream, streams)
                .map_err(|problem| Error { file: stream.name.clone(), problem: format!("{}: {problem}", event.ce_type) })?;
        }
        effects(stream).map_err(fail)?;
        derivable(stream).map_err(fail)?;
        links(stream, streams).map_err(fail)?;
        views(stream).map_err(fail)?;
    }
    unique_types(streams)?;
    unique_routes(streams)
}

fn settings(stream: &Stream) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let name = stream.name.as_bytes();
    if name.len() > 63 || !name.first().is_some_and(u8::is_ascii_lowercase) || !name.iter().all(|byte| fits(*byte)) {
        return Err("the file's name is not [a-z][a-z0-9-]{0,62}".to_owned());
    }
    if !(1..=PARTITIONS_MAX).contains(&stream.partitions) {
        return Err(format!("partitions = {} is outside 1–{PARTITIONS_MAX}", stream.partitions));
    }
    if !(1..=BUCKETS_MAX).contains(&stream.buckets) {
        return Err(format!("buckets = {} is outside 1–{BUCKETS_MAX}", stream.buckets));
    }
    if stream.events.is_empty() {
        return Err("there is neither an [[event]] nor a [[kind]]; a stream without input is no stream".to_owned());
    }
    Ok(())
}

fn names(stream: &Stream) -> Result<(), String> {
    let events = stream.events.iter().map(|event| &event.ce_type);
    for ce_type in events.chain(stream.results.iter().map(|result| &result.ce_type)) {
        let word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !ce_type.split_once('.').is_some_and(|(noun, verb)| word(noun) && word(verb)) {
            return Err(format!("the type {ce_type:?} is not noun.verb in lower case"));
        }
    }
    Ok(())
}

fn effects(stream: &Stream) -> Result<(), String> {
    for (at, effect) in stream.effects.iter().enumerate() {
        effect.check().map_err(|problem| format!("effect {:?}: {problem}", effect.name))?;
        if stream.effects[..at].iter().any(|other| other.name == effect.name) {
            return Err(format!("the effect {:?} stands here twice", effect.name));
        }
    }
    Ok(())
}

fn event(event: &EventType, stream: &Stream, streams: &[Stream]) -> Result<(), String> {
    let parameters: Vec<&str> = event.route.iter().flat_map(super::Route::parameters).collect();
    match &event.subject.source {
        SubjectSource::Path(name) if !parameters.contains(&name.as_str()) => {
            return Err(format!("`subject` takes the path parameter {name}, which the route does not have"));
        }
        SubjectSource::Pointer(pointer) => ends_at_key(&event.schema, pointer)?,
        _ => {}
    }
    if let Some(pointer) = &event.id_pointer {
        ends_at_key(&event.schema, pointer)?;
    }
    if let Some(prefix) = &event.subject.prefix {
        template(prefix, &["account"])?;
    }
    if event.internal && event.route.is_some() {
        return Err("it is internal and has a route; only processors send internal events".to_owned());
    }
    event.retry.check()?;
    if event.settles_with_effects && event.tracking != Tracking::All {
        return Err("settles = \"effects\" is told by the event's status: set tracking = \"all\"".to_owned());
    }
    if let Some(asked) = &event.answers {
        answer_passes_holds(event, asked, streams)?;
    }
    if event.answer_outcome {
        outcome(event, stream)?;
    }
    match &event.location {
        Some(_) if !event.answer_outcome => Err("`location` needs answer = \"outcome\"".to_owned()),
        Some(path) if !stream.views.iter().any(|view| view.route.path == *path) => {
            Err(format!("`location` names {path}, which is the route of no view of this stream"))
        }
        _ => Ok(()),
    }
}

/// An answer may find its subject held by the event that waits for it.
fn answer_passes_holds(event: &EventType, asked: &str, streams: &[Stream]) -> Result<(), String> {
    if !event.internal {
        return Err("it answers another event and is not internal".to_owned());
    }
    if event.ordering != Ordering::Relaxed {
        return Err("it answers another event, which may be holding the subject: set ordering = \"relaxed\"".to_owned());
    }
    if !streams.iter().flat_map(|stream| &stream.events).any(|event| event.ce_type == asked) {
        return Err(format!("it answers {asked}, which no stream has"));
    }
    Ok(())
}

fn outcome(event: &EventType, stream: &Stream) -> Result<(), String> {
    if event.route.is_none() {
        return Err("answer = \"outcome\" needs a route".to_owned());
    }
    if event.tracking != Tracking::All {
        return Err("answer = \"outcome\" reads the event's status: set tracking = \"all\"".to_owned());
    }
    let noun = event.ce_type.split('.').next().unwrap_or_default();
    if stream.result(&format!("{noun}.rejected")).is_none() {
        return Err(format!("answer = \"outcome\" may tell a refusal: add the result {noun}.rejected"));
    }
    Ok(())
}

/// A pointer runs through records and ends at something a key can be made of.
fn ends_at_key(record: &RecordSchema, pointer: &str) -> Result<(), String> {
    let missing = || format!("the pointer {pointer:?} leads to no field of {}", record.full_name);
    let mut schema = &record.schema;
    for name in pointer.strip_prefix('/').ok_or_else(missing)?.split('/') {
        let Schema::Record(record) = schema else { return Err(missing()) };
        schema = &record.fields.iter().find(|field| field.name == name).ok_or_else(missing)?.schema;
    }
    match schema {
        Schema::String | Schema::Uuid(_) | Schema::Enum(_) | Schema::Int | Schema::Long => Ok(()),
        _ => Err(format!("the pointer {pointer:?} must end at a string, uuid, enum, int or long")),
    }
}

/// Segments, of which those in braces are known names.
fn template(text: &str, known: &[&str]) -> Result<(), String> {
    for segment in text.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = name
            && !known.contains(&name)
        {
            return Err(format!("{text:?}: {{{name}}} is unknown here, known are {known:?}"));
        }
        if segment.is_empty() || segment.starts_with('~') || (name.is_none() && segment.contains(['{', '}', '*'])) {
            return Err(format!("{text:?}: the segment {segment:?} cannot stand in a subject"));
        }
    }
    Ok(())
}

/// With compact headers the type of a record is told by its schema alone.
fn derivable(stream: &Stream) -> Result<(), String> {
    if stream.headers == HeaderStyle::CloudEvents {
        return Ok(());
    }
    let events = stream.events.iter().map(|event| (&event.schema.full_name, &event.ce_type));
    let results = stream.results.iter().map(|result| (&result.schema.full_name, &result.ce_type));
    for types in [events.collect::<Vec<_>>(), results.collect()] {
        let mut by_record = HashMap::new();
        for (record, ce_type) in types {
            if let Some(other) = by_record.insert(record, ce_type) {
                return Err(format!("{other} and {ce_type} share the record {record}: with compact headers each needs its own"));
            }
        }
    }
    Ok(())
}

fn links(stream: &Stream, streams: &[Stream]) -> Result<(), String> {
    let find = |name: &str| streams.iter().find(|other| other.name == name);
    for (at, follow) in stream.follows.iter().enumerate() {
        let name = &follow.stream;
        let other = find(name).ok_or_else(|| format!("it follows {name}, which is no stream"))?;
        if other.name == stream.name {
            return Err("it follows itself; a processor that wants to hear of its own work sends to its own stream".to_owned());
        }
        if stream.follows[..at].iter().any(|earlier| earlier.stream == *name) {
            return Err(format!("it follows {name} twice; list all `types` in one [[follow]]"));
        }
        if other.partitions != stream.partitions {
            return Err(format!(
                "it follows {name}, which has {} partitions, not {}: followers need as many",
                other.partitions, stream.partitions
            ));
        }
        if let Some(unknown) = follow.types.iter().find(|ce_type| other.result(ce_type).is_none()) {
            return Err(format!("it follows {name} for {unknown}, which is no result of {name}"));
        }
    }
    for (at, name) in stream.sends.iter().enumerate() {
        if find(name).is_none() {
            return Err(format!("it sends to {name}, which is no stream"));
        }
        if stream.sends[..at].contains(name) {
            return Err(format!("`sends` names {name} twice"));
        }
    }
    Ok(())
}

fn views(stream: &Stream) -> Result<(), String> {
    for row in &stream.rows {
        if row.view && row.private {
            return Err(format!("the row {} is private and readable as a view; choose one", row.name));
        }
    }
    for view in &stream.views {
        let known: Vec<&str> = view.route.parameters().chain(["account"]).collect();
        template(&view.subject, &known).map_err(|problem| format!("view {}: {problem}", view.route.path))?;
    }
    Ok(())
}

fn unique_types(streams: &[Stream]) -> Result<(), Error> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for stream in streams {
        let events = stream.events.iter().map(|event| event.ce_type.as_str());
        for ce_type in events.chain(stream.results.iter().map(|result| result.ce_type.as_str())) {
            if let Some(other) = seen.insert(ce_type, &stream.name) {
                let problem = format!("the type {ce_type} is declared twice, here and in {other}; types are unique");
                return Err(Error { file: stream.name.clone(), problem });
            }
        }
    }
    Ok(())
}

fn unique_routes(streams: &[Stream]) -> Result<(), Error> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for stream in streams {
        let writes = stream.events.iter().filter_map(|event| event.route.as_ref());
        let reads = stream.views.iter().map(|view| &view.route);
        let lists = stream.kinds.iter().filter_map(|kind| kind.list_route.as_ref());
        for route in writes.chain(reads).chain(lists) {
            if let Some(other) = seen.insert(route.shape(), &stream.name) {
                let problem = format!("the route {} {} clashes with one of {other}", route.method, route.path);
                return Err(Error { file: stream.name.clone(), problem });
            }
        }
    }
    Ok(())
}
