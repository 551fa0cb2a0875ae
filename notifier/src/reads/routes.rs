//! GET routes of the catalog: rows at a resource-shaped path.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use chassis::auth::{Action, Principal};
use chassis::problem::Problem;
use schemas::catalog::{Catalog, RecordSchema, View};
use schemas::datum::Cursor;
use schemas::registry::subject;

use crate::app::App;
use crate::reads::rows::Current;
use crate::reads::{conditional, lists, not_found, rows, shard_of, unavailable, views, within};

/// Adds every declared GET route to `router`.
pub(crate) fn mount(router: Router<Arc<App>>, catalog: &Catalog) -> Router<Arc<App>> {
    let declared = catalog.streams().iter().flat_map(|stream| (0..stream.views.len()).map(move |index| (stream, index)));
    let router = declared.fold(router, |router, (stream, index)| {
        let name: Arc<str> = stream.name.as_str().into();
        let handler = move |state, peer, headers, parameters| show(state, peer, headers, parameters, Arc::clone(&name), index);
        router.route(&stream.views[index].route.path, get(handler))
    });
    let kinds = catalog.streams().iter().flat_map(|stream| stream.kinds.iter().enumerate().map(move |kind| (stream, kind)));
    kinds.fold(router, |router, (stream, (index, kind))| {
        let Some(route) = &kind.list_route else { return router };
        let name: Arc<str> = stream.name.as_str().into();
        let handler = move |state, peer, headers, asked| lists::list(state, peer, headers, asked, Arc::clone(&name), index);
        router.route(&route.path, get(handler))
    })
}

async fn show(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(parameters): Path<HashMap<String, String>>,
    stream: Arc<str>,
    index: usize,
) -> Response {
    let begun = Instant::now();
    let answer = read(&app, peer, &headers, &parameters, &stream, index).await;
    views::timed("route", begun, answer)
}

async fn read(
    app: &App,
    peer: SocketAddr,
    headers: &HeaderMap,
    parameters: &HashMap<String, String>,
    stream: &str,
    index: usize,
) -> Result<Response, Problem> {
    let principal = app.access.authenticate(headers, peer)?;
    let declared = app.catalog.stream(stream).ok_or_else(not_found)?;
    let view = declared.views.get(index).ok_or_else(not_found)?;
    let subject = subject_of(view, parameters, &principal).ok_or_else(not_found)?;
    if !principal.may(Action::View, stream, &subject) {
        return Err(not_found());
    }
    let shard = shard_of(app, stream, &subject).ok_or_else(not_found)?;
    let deadline = within(app.options.views.deadline);
    let found = app.reader.rows(&shard, &subject, &[&view.sort], deadline).await.map_err(|error| unavailable(&error))?;
    let cell = found.rows.get(&view.sort).ok_or_else(not_found)?;
    let row = rows::current(app, declared, cell).await?.ok_or_else(not_found)?;
    let mut shown = json(stream, &row.declared.schema, &row.datum)?;
    embed(app, stream, view, &row, &mut shown).await?;
    let version = view.etag.as_ref().and_then(|pointer| shown.pointer(pointer)).map(version_of);
    let etag = version.unwrap_or_else(|| rows::etag(&found, ""));
    Ok(conditional(headers, &etag, shown.to_string()))
}

/// Fills the template; `None` if a parameter would leave its segment.
fn subject_of(view: &View, parameters: &HashMap<String, String>, principal: &Principal) -> Option<String> {
    let segments =
        view.subject.split('/').map(|segment| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some("account") => Some(principal.account.as_str()),
            Some(name) => parameters.get(name).map(String::as_str).filter(|value| is_segment(value)),
            None => Some(segment),
        });
    segments.collect::<Option<Vec<_>>>().map(|segments| segments.join("/"))
}

fn is_segment(value: &str) -> bool {
    !value.is_empty() && !value.contains('/') && !value.starts_with('~') && !value.chars().any(char::is_control)
}

fn version_of(version: &Value) -> String {
    match version {
        Value::String(text) => format!("\"v{text}\""),
        other => format!("\"v{other}\""),
    }
}

/// Puts the datum inside a bytes field, as JSON, in the place of the field. A deleted resource has none and is not found.
async fn embed(app: &App, stream: &str, view: &View, row: &Current<'_>, shown: &mut Value) -> Result<(), Problem> {
    let Some(embedded) = &view.embedded else { return Ok(()) };
    let broken = |error| rows::unreadable(stream, &error);
    let fields = row.declared.schema.plan.fields(&row.datum).map_err(|error| rows::unreadable(stream, &error))?;
    let bytes = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, raw)| Cursor::new(raw).bytes()).transpose();
    let inner = bytes(&embedded.field).map_err(broken)?.unwrap_or_default();
    if inner.is_empty() {
        return Err(not_found());
    }
    let fingerprint = bytes(&embedded.fingerprint_field).map_err(broken)?.unwrap_or_default();
    shown[&embedded.field] = if fingerprint == embedded.schema.fingerprint.as_bytes() {
        json(stream, &embedded.schema, inner)?
    } else {
        let subject = subject(&app.topics.log(stream), &embedded.schema.full_name);
        let fingerprint = String::from_utf8_lossy(fingerprint);
        let writer = rows::asked(app, stream, app.registry.schema_by_fingerprint(&subject, &fingerprint)).await?;
        json(stream, &embedded.schema, &rows::resolved(stream, &writer, &embedded.schema, inner)?)?
    };
    Ok(())
}

pub(super) fn json(stream: &str, schema: &RecordSchema, datum: &[u8]) -> Result<Value, Problem> {
    let mut json = String::with_capacity(2 * datum.len() + 64);
    schema.plan.render(datum, &mut json).map_err(|error| rows::unreadable(stream, &error))?;
    serde_json::from_str(&json).map_err(|error| rows::unreadable(stream, &error))
}
