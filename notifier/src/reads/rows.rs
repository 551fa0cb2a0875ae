//! Rows as JSON.

use std::borrow::Cow;
use std::sync::Arc;

use metrics::counter;
use serde_json::value::RawValue;

use chassis::problem::Problem;
use schemas::catalog::{RecordSchema, RowType, Stream};
use schemas::registry::{self, RegisteredSchema};
use schemas::{frame, resolve};
use state::{Cell, SubjectRows};

use crate::app::App;
use crate::metrics::UNREADABLE;
use crate::reads::unavailable;

/// One row as it is shown.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Row {
    /// `""` is the root row.
    pub(crate) sort: String,
    /// Record name without its namespace.
    #[serde(rename = "type")]
    pub(crate) record: String,
    /// The record.
    pub(crate) data: Box<RawValue>,
}

/// The rows of a subject that may be shown, at most `limit`, from the sort `from` on; and the sort where the rest begins.
pub(crate) async fn show(
    app: &App,
    stream: &Stream,
    rows: &SubjectRows,
    from: &str,
    limit: usize,
) -> Result<(Vec<Row>, Option<String>), Problem> {
    let mut shown = Vec::new();
    for (sort, cell) in rows.rows.range(from.to_owned()..) {
        if sort.starts_with('~') {
            continue;
        }
        if shown.len() == limit {
            return Ok((shown, Some(sort.clone())));
        }
        if let Some((record, data)) = data(app, stream, cell).await? {
            shown.push(Row { sort: sort.clone(), record, data });
        }
    }
    Ok((shown, None))
}

/// A row in the catalog's version of its record, whichever version wrote it.
pub(crate) struct Current<'a> {
    /// Its type; rows of it are readable.
    pub(crate) declared: &'a RowType,
    /// Avro datum of the type's record.
    pub(crate) datum: Cow<'a, [u8]>,
}

/// The row; `None` if rows of its type are not readable.
pub(crate) async fn current<'a>(app: &App, stream: &'a Stream, cell: &'a Cell) -> Result<Option<Current<'a>>, Problem> {
    let Some(value) = &cell.val else { return Ok(None) };
    let (id, datum) = frame::split(value).map_err(|error| unreadable(&stream.name, &error))?;
    let writer = asked(app, &stream.name, app.registry.schema_by_id(id)).await?;
    let Some(declared) = stream.row(&writer.full_name) else { return Ok(None) };
    if !declared.view || declared.private {
        return Ok(None);
    }
    Ok(Some(Current { declared, datum: resolved(&stream.name, &writer, &declared.schema, datum)? }))
}

/// The datum as `reader` has it: new fields get their defaults, dropped ones go.
pub(crate) fn resolved<'a>(
    stream: &str,
    writer: &RegisteredSchema,
    reader: &RecordSchema,
    datum: &'a [u8],
) -> Result<Cow<'a, [u8]>, Problem> {
    if writer.schema == reader.schema {
        return Ok(Cow::Borrowed(datum));
    }
    resolve::to_reader(writer, reader, datum).map(Cow::Owned).map_err(|error| unreadable(stream, &error))
}

/// What the registry says, within the deadline of reads. A schema that is not there may be registered yet: rows outlive registries.
pub(crate) async fn asked(
    app: &App,
    stream: &str,
    question: impl Future<Output = Result<Arc<RegisteredSchema>, registry::Error>>,
) -> Result<Arc<RegisteredSchema>, Problem> {
    let answer = tokio::time::timeout(app.options.views.deadline, question).await;
    let answer = answer.map_err(|_| unavailable(&"the schema registry does not answer in time"))?;
    answer.map_err(|error| match error {
        registry::Error::Unavailable { .. } => unavailable(&error),
        lasting => unreadable(stream, &lasting),
    })
}

/// A row that cannot be shown as it should: it is an operator's matter, and its reader is told to come back.
pub(crate) fn unreadable(stream: &str, what: &dyn std::fmt::Display) -> Problem {
    counter!(UNREADABLE, "stream" => stream.to_owned()).increment(1);
    tracing::error!(stream, error = %what, "a row cannot be read");
    unavailable(&what)
}

/// Record name and JSON of a row; `None` if rows of its type are not readable.
async fn data(app: &App, stream: &Stream, cell: &Cell) -> Result<Option<(String, Box<RawValue>)>, Problem> {
    let Some(row) = current(app, stream, cell).await? else { return Ok(None) };
    let mut json = String::with_capacity(2 * row.datum.len() + 64);
    row.declared.schema.plan.render(&row.datum, &mut json).map_err(|error| unreadable(&stream.name, &error))?;
    let data = RawValue::from_string(json).map_err(|error| unreadable(&stream.name, &error))?;
    Ok(Some((row.declared.name.clone(), data)))
}

/// A tag that changes whenever one of the subject's rows or its seq does.
pub(crate) fn etag(rows: &SubjectRows, part: &str) -> String {
    format!("\"{:x}-{:x}-{:x}{part}\"", rows.seq, rows.newest_ts, rows.rows.len())
}
