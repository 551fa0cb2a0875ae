//! From the TOML shape to the catalog's types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::avro::Files;
use super::file::{EventFile, RetentionFile, RowFile, StreamFile, SubjectFile, ViewFile};
use super::{Error, EventType, RecordSchema, ResultType, Retention, RowType, Stream, SubjectRule, SubjectSource, View};
use super::{kinds, route};
use crate::constraints::{Constraints, Rules};

/// Where the records of the log lie, below `avro/`.
const LOG_RECORDS: &str = "engine/log_";

/// All streams, sorted by name, and the records of their logs.
pub(super) fn streams(files: &[(&str, &str)], avro: &[(&str, &str)]) -> Result<(Vec<Stream>, Vec<Arc<RecordSchema>>), Error> {
    let paths = avro.iter().map(|(path, _)| *path).filter(|path| path.starts_with(LOG_RECORDS));
    let mut avro = Files::new(avro);
    let log = paths.map(|path| avro.record(path)).collect::<Result<_, _>>();
    let log = log.map_err(|problem| Error { file: "engine".to_owned(), problem })?;
    let mut streams = Vec::with_capacity(files.len());
    for (name, text) in files {
        let fail = |problem: String| Error { file: (*name).to_owned(), problem };
        let file: StreamFile = toml::from_str(text).map_err(|error| fail(error.to_string()))?;
        streams.push(stream(name, file, &mut avro).map_err(fail)?);
    }
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((streams, log))
}

fn stream(name: &str, file: StreamFile, avro: &mut Files<'_>) -> Result<Stream, String> {
    let mut stream = Stream {
        name: name.to_owned(),
        title: file.title,
        partitions: file.partitions,
        buckets: file.buckets,
        headers: file.headers,
        native: file.native,
        retention: retention(&file.retention),
        events: Vec::new(),
        results: Vec::new(),
        rows: Vec::new(),
        views: Vec::new(),
        follows: file.follows,
        sends: file.sends,
        effects: file.effects,
        shard_rows: file.shard_rows,
        kinds: Vec::new(),
    };
    for event in file.events {
        stream.events.push(event_type(event, avro)?);
    }
    for result in file.results {
        stream.results.push(ResultType { schema: avro.record(&result.schema)?, ce_type: result.ce_type });
    }
    for row in &file.rows {
        stream.rows.push(row_type(row, avro)?);
    }
    for view in file.views {
        stream.views.push(self::view(view)?);
    }
    for kind in file.kinds {
        kinds::expand(kind, &mut stream, avro)?;
    }
    Ok(stream)
}

fn retention(file: &RetentionFile) -> Retention {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    Retention {
        events: days(file.events_days),
        results: days(file.results_days),
        dead: days(file.dead_days),
        log_bytes: file.log_bytes,
    }
}

fn event_type(file: EventFile, avro: &mut Files<'_>) -> Result<EventType, String> {
    let ce_type = file.ce_type;
    let about = |problem: String| format!("{ce_type}: {problem}");
    let schema = avro.record(&file.schema).map_err(about)?;
    Ok(EventType {
        title: file.title,
        route: file.route.as_deref().map(route::write).transpose().map_err(about)?,
        subject: match file.subject {
            Some(subject) => subject_rule(subject).map_err(about)?,
            None if file.internal => SubjectRule { source: SubjectSource::Attribute, prefix: None },
            None => return Err(about("it needs `subject`: how the subject of the event is found".to_owned())),
        },
        id_pointer: file.id.map(|id| id.pointer),
        idempotency_key: file.idempotency_key,
        unknown_fields: file.unknown_fields,
        batch: file.batch,
        internal: file.internal,
        answers: file.answers,
        answer_outcome: file.answer.is_some(),
        location: file.location,
        ordering: file.ordering,
        retry: file.retry,
        tracking: file.tracking,
        settles_with_effects: file.settles.is_some(),
        durability: file.durability,
        constraints: constraints(&schema, &file.fields).map_err(about)?,
        limits: file.limits,
        example: file.example,
        schema,
        ce_type,
    })
}

/// The rules of a record's fields, compiled.
pub(super) fn constraints(schema: &RecordSchema, fields: &BTreeMap<String, Rules>) -> Result<Arc<Constraints>, String> {
    Constraints::compile(&schema.schema, fields).map(Arc::new).map_err(|error| error.to_string())
}

fn subject_rule(file: SubjectFile) -> Result<SubjectRule, String> {
    let sources = [
        file.generated.then_some(SubjectSource::Generated),
        file.attribute.then_some(SubjectSource::Attribute),
        file.pointer.map(SubjectSource::Pointer),
        file.path.map(SubjectSource::Path),
        file.header.map(SubjectSource::Header),
    ];
    let mut sources = sources.into_iter().flatten();
    match (sources.next(), sources.next()) {
        (Some(source), None) => Ok(SubjectRule { source, prefix: file.prefix }),
        _ => Err("`subject` takes exactly one of generated, attribute, pointer, path and header".to_owned()),
    }
}

fn row_type(file: &RowFile, avro: &mut Files<'_>) -> Result<RowType, String> {
    let schema = avro.record(&file.schema)?;
    let name = schema.full_name.rsplit('.').next().unwrap_or_default().to_owned();
    Ok(RowType { name, schema, view: file.view, private: file.private })
}

fn view(file: ViewFile) -> Result<View, String> {
    Ok(View { route: route::read(&file.route)?, subject: file.subject, sort: file.sort, etag: file.etag, embedded: None })
}
