//! Rows as JSON.

use schemas::catalog::Stream;
use schemas::frame;
use schemas::registry;
use serde_json::value::RawValue;
use state::{Cell, SubjectRows};

use chassis::problem::{Name, Problem};

use crate::app::App;
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

/// Record name and JSON of a row; `None` if rows of its type are not readable.
pub(crate) async fn data(app: &App, stream: &Stream, cell: &Cell) -> Result<Option<(String, Box<RawValue>)>, Problem> {
    let Some(value) = &cell.val else { return Ok(None) };
    let broken =
        |what: &dyn std::fmt::Display| Problem::new(Name::Internal, format!("a row of {} cannot be read: {what}", stream.name));
    let (id, datum) = frame::split(value).map_err(|error| broken(&error))?;
    let writer = app.registry.schema_by_id(id).await.map_err(|error| match error {
        registry::Error::NotFound(_) | registry::Error::Unusable { .. } => broken(&error),
        other => unavailable(&other),
    })?;
    let Some(declared) = stream.row(&writer.full_name) else { return Ok(None) };
    if !declared.view || declared.private {
        return Ok(None);
    }
    let mut json = String::with_capacity(2 * datum.len() + 64);
    writer.plan.render(datum, &mut json).map_err(|error| broken(&error))?;
    let name = writer.full_name.rsplit('.').next().unwrap_or_default().to_owned();
    let data = RawValue::from_string(json).map_err(|error| broken(&error))?;
    Ok(Some((name, data)))
}

/// A tag that changes whenever one of the subject's rows or its seq does.
pub(crate) fn etag(rows: &SubjectRows, part: &str) -> String {
    format!("\"{:x}-{:x}-{:x}{part}\"", rows.seq, rows.newest_ts, rows.rows.len())
}
