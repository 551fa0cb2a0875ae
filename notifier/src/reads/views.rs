//! `GET /v1/views/{stream}/{subject}` and `GET /v1/views/{stream}`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use metrics::histogram;
use serde::{Deserialize, Serialize};
use state::Shard;

use chassis::auth::{Action, Pattern};
use chassis::problem::{Name, Problem};
use schemas::catalog::Stream;

use crate::app::App;
use crate::metrics::VIEW;
use crate::protocol::server;
use crate::reads::{bad_parameter, conditional, events, fresh, not_found, rows, shard_of, unavailable, within};

/// Rows on one page.
const ROWS_MAX: usize = 1_000;
/// Subjects on one page.
const LIST_MAX: usize = 1_000;
/// Subjects on one page when nothing is said.
const LIST_DEFAULT: usize = 100;

/// Query of a view.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    after: Option<String>,
    cursor: Option<String>,
}

/// Query of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct AskedList {
    prefix: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct View<'a> {
    channel: &'a str,
    seq: i64,
    token: Option<&'a str>,
    asof: Option<String>,
    rows: Vec<rows::Row>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Item {
    channel: String,
    seq: i64,
    rows: Vec<rows::Row>,
}

#[derive(Serialize)]
struct List<'a> {
    items: Vec<Item>,
    token: Option<&'a str>,
    asof: Option<String>,
    cursor: Option<String>,
}

/// All rows of one subject.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path((stream, subject)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let begun = Instant::now();
    let answer = view(&app, peer, &headers, &stream, &subject, &asked).await;
    timed("view", begun, answer)
}

/// Subjects by prefix.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(stream): Path<String>,
    Query(asked): Query<AskedList>,
) -> Response {
    let begun = Instant::now();
    let answer = page(&app, peer, &headers, &stream, &asked).await;
    timed("list", begun, answer)
}

/// Books a read and turns its problem into an answer.
pub(super) fn timed(route: &'static str, begun: Instant, answer: Result<Response, Problem>) -> Response {
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(problem) if problem.status.is_server_error() => "unavailable",
        Err(_) => "refused",
    };
    histogram!(VIEW, "route" => route, "outcome" => outcome).record(begun.elapsed());
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn view(
    app: &App,
    peer: SocketAddr,
    headers: &HeaderMap,
    stream: &str,
    subject: &str,
    asked: &Asked,
) -> Result<Response, Problem> {
    let principal = app.access.authenticate(headers, peer)?;
    let declared = app.catalog.stream(stream).ok_or_else(not_found)?;
    if subject.starts_with('~') || !principal.may(Action::View, stream, subject) {
        return Err(not_found());
    }
    if let Some(receipt) = &asked.after {
        events::wait_until_applied(app, receipt).await?;
    }
    let shard = shard_of(app, stream, subject).ok_or_else(not_found)?;
    let (from, seq_before) = match &asked.cursor {
        Some(cursor) => read_cursor(cursor)?,
        None => (String::new(), None),
    };
    let found =
        app.reader.subject(&shard, subject, within(app.options.views.deadline)).await.map_err(|error| unavailable(&error))?;
    if found.rows.is_empty() {
        return Err(not_found());
    }
    if seq_before.is_some_and(|seq| seq != found.seq) {
        return Err(Problem::new(Name::ViewMoved, "the subject changed between two pages; begin again"));
    }
    let (shown, rest) = rows::show(app, declared, &found, &from, ROWS_MAX).await?;
    if shown.is_empty() {
        return Err(not_found());
    }
    let channel = format!("{stream}/{subject}");
    let cursor = rest.map(|sort| format!("{}.{}", found.seq, hex(&sort)));
    let view = View { channel: &channel, seq: found.seq, token: None, asof: as_of(app, &[shard]).await, rows: shown, cursor };
    Ok(conditional(headers, &rows::etag(&found, &from_part(&from)), to_json(&view)?))
}

async fn page(app: &App, peer: SocketAddr, headers: &HeaderMap, stream: &str, asked: &AskedList) -> Result<Response, Problem> {
    let principal = app.access.authenticate(headers, peer)?;
    let declared = app.catalog.stream(stream).ok_or_else(not_found)?;
    let prefix = asked.prefix.as_deref().unwrap_or_default();
    if !(prefix.is_empty() || prefix.ends_with('/')) || prefix.starts_with('~') {
        return Err(bad_parameter("/prefix", "prefix ends at a segment, with /"));
    }
    let pattern: Pattern =
        format!("{stream}/{prefix}**").parse().map_err(|_| bad_parameter("/prefix", "prefix is no subject"))?;
    if !principal.may_all(Action::View, &pattern) {
        return Err(Problem::new(Name::Forbidden, "the prefix is not covered by one capability"));
    }
    let limit = limit(asked.limit.as_deref(), LIST_DEFAULT, LIST_MAX)?;
    let deadline = within(app.options.views.deadline);
    let found = app.reader.list(stream, declared.partitions, prefix, asked.cursor.as_deref(), limit, deadline).await;
    let found = found.map_err(|error| match error {
        state::Error::Refused(_) => bad_parameter("/cursor", "this is no cursor of this list"),
        other => unavailable(&other),
    })?;
    let mut items = Vec::with_capacity(found.items.len());
    for (subject, held) in found.items {
        let (rows, _) = rows::show(app, declared, &held, "", ROWS_MAX).await?;
        if !rows.is_empty() {
            items.push(Item { channel: format!("{stream}/{subject}"), seq: held.seq, rows });
        }
    }
    let list = List { items, token: None, asof: as_of(app, &shards(declared)).await, cursor: found.cursor };
    Ok(fresh(to_json(&list)?))
}

/// How many are asked for.
pub(super) fn limit(asked: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = asked else { return Ok(default) };
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| bad_parameter("/limit", &format!("limit is 1 to {max}")))
}

fn shards(stream: &Stream) -> Vec<Shard> {
    let name: Arc<str> = stream.name.as_str().into();
    (0..stream.partitions).map(|number| Shard { stream: Arc::clone(&name), number }).collect()
}

/// The time of the oldest watermark of `shards`; `None` if one has none yet.
async fn as_of(app: &App, shards: &[Shard]) -> Option<String> {
    let deadline = within(app.options.views.deadline);
    let marks = futures::future::join_all(shards.iter().map(|shard| app.reader.watermark(shard, deadline))).await;
    let times: Option<Vec<i64>> = marks.into_iter().map(|mark| mark.ok().flatten().map(|mark| mark.ts)).collect();
    times?.into_iter().min().map(|us| server::time(us / 1_000))
}

/// `<seq>.<sort in hex>`: the page must be of the same seq.
fn read_cursor(cursor: &str) -> Result<(String, Option<i64>), Problem> {
    let bad = || bad_parameter("/cursor", "this is no cursor of this view");
    let (seq, sort) = cursor.split_once('.').ok_or_else(bad)?;
    let sort = unhex(sort).ok_or_else(bad)?;
    Ok((sort, Some(seq.parse().map_err(|_| bad())?)))
}

/// What [`hex`] made; `None` for anything else.
pub(super) fn unhex(text: &str) -> Option<String> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

/// Text as a cursor has it.
pub(super) fn hex(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        // writing into a String cannot fail
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn from_part(from: &str) -> String {
    if from.is_empty() { String::new() } else { format!("-{}", hex(from)) }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map_err(|error| Problem::new(Name::Internal, error.to_string()))
}
