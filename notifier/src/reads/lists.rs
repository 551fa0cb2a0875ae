//! `GET` at the route of a kind: its resources by a field. A list lies in a fixed number of subjects, which are merged here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use state::{Cell, RowRange};

use chassis::auth::{Action, Pattern, Principal};
use chassis::problem::{Name, Problem};
use schemas::catalog::{Kind, LIST_BUCKETS, Stream, list_subject};

use crate::app::App;
use crate::reads::{bad_parameter, fresh, not_found, routes, rows, shard_of, unavailable, views, within};

/// Resources on one page.
const PAGE_MAX: usize = 1_000;
/// Resources on one page when nothing is said.
const PAGE_DEFAULT: usize = 100;
/// Characters of a value that its place in a list shows: a longer prefix finds nothing.
const PREFIX_MAX: usize = 100;

/// Query of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    sort: Option<String>,
    prefix: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

#[derive(Serialize)]
struct Page {
    items: Vec<Item>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Item {
    id: String,
    version: Value,
    fields: Value,
}

/// Resources of one kind in the order of one field.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
    stream: Arc<str>,
    index: usize,
) -> Response {
    let begun = Instant::now();
    let answer = read(&app, peer, &headers, &asked, &stream, index).await;
    views::timed("route", begun, answer)
}

async fn read(
    app: &App,
    peer: SocketAddr,
    headers: &HeaderMap,
    asked: &Asked,
    stream: &str,
    index: usize,
) -> Result<Response, Problem> {
    let principal = app.access.authenticate(headers, peer)?;
    let declared = app.catalog.stream(stream).ok_or_else(not_found)?;
    let kind = declared.kinds.get(index).ok_or_else(not_found)?;
    may_see_all(&principal, stream, kind)?;
    let wanted = Wanted::of(asked, kind)?;
    let (found, cursor) = wanted.page(app, declared, &principal.account, kind).await?;
    let mut items = Vec::with_capacity(found.len());
    for (sort, cell) in found {
        let Some(row) = rows::current(app, declared, &cell).await? else { continue };
        let mut summary = routes::json(stream, &row.declared.schema, &row.datum)?;
        let id = sort.rsplit('/').next().unwrap_or_default().to_owned();
        items.push(Item { id, version: summary["version"].take(), fields: summary["fields"].take() });
    }
    Ok(fresh(views::to_json(&Page { items, cursor })?))
}

/// A list tells of every resource of the kind in the caller's account.
fn may_see_all(principal: &Principal, stream: &str, kind: &Kind) -> Result<(), Problem> {
    let all = format!("{stream}/{}/{}/*", principal.account, kind.name).parse::<Pattern>();
    let covered = all.is_ok_and(|all| principal.may_all(Action::View, &all));
    covered.then_some(()).ok_or_else(|| Problem::new(Name::Forbidden, "the list is not covered by one capability"))
}

/// What of a list is asked for.
struct Wanted {
    /// Sorts of its rows begin with it.
    prefix: Arc<str>,
    /// The first sort that is wanted.
    start: Option<Arc<str>>,
    limit: usize,
}

impl Wanted {
    fn of(asked: &Asked, kind: &Kind) -> Result<Self, Problem> {
        let fields: Vec<&str> = kind.list.iter().map(|field| field.name.as_str()).collect();
        let by = asked.sort.as_deref().or(fields.first().copied()).unwrap_or_default();
        if !fields.contains(&by) {
            return Err(bad_parameter("/sort", &format!("sort is one of {}", fields.join(", "))));
        }
        // as the list writes its values
        let begin = asked.prefix.as_deref().unwrap_or_default().to_lowercase();
        if begin.chars().count() > PREFIX_MAX {
            return Err(bad_parameter("/prefix", &format!("prefix has at most {PREFIX_MAX} characters")));
        }
        let prefix = format!("{by}:{begin}");
        let start = asked.cursor.as_deref().map(|cursor| {
            let sort = views::unhex(cursor).filter(|sort| sort.starts_with(&prefix));
            sort.map(|sort| format!("{sort}\0").into()).ok_or_else(|| bad_parameter("/cursor", "this is no cursor of this list"))
        });
        let limit = views::limit(asked.limit.as_deref(), PAGE_DEFAULT, PAGE_MAX)?;
        Ok(Self { prefix: prefix.into(), start: start.transpose()?, limit })
    }

    /// Rows of the page in order, and the cursor of the next one. Each subject gives its share and some more, and one row beyond
    /// that tells whether it ends there; where one goes on, the page ends, so that it may be short and still have a cursor.
    async fn page(
        &self,
        app: &App,
        stream: &Stream,
        account: &str,
        kind: &Kind,
    ) -> Result<(Vec<(String, Cell)>, Option<String>), Problem> {
        let share = (2 * self.limit / usize::from(LIST_BUCKETS) + 8).min(self.limit) + 1;
        let deadline = within(app.options.views.deadline);
        let reads = (0..LIST_BUCKETS).map(|bucket| async move {
            let subject = list_subject(account, &kind.name, bucket);
            let shard = shard_of(app, &stream.name, &subject).ok_or_else(not_found)?;
            let (prefix, start) = (self.prefix.clone(), self.start.clone());
            let range = RowRange { subject: subject.into(), prefix, start, limit: share };
            app.reader.range(&shard, &range, deadline).await.map_err(|error| unavailable(&error))
        });
        let (mut found, mut ends) = (Vec::new(), Vec::new());
        for (rows, end) in try_join_all(reads).await? {
            found.extend(rows.rows);
            ends.extend(end);
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut end: Option<String> = ends.into_iter().min();
        if let Some(end) = &end {
            found.retain(|(sort, _)| sort <= end);
        }
        if found.len() > self.limit {
            found.truncate(self.limit);
            end = found.last().map(|(sort, _)| sort.clone());
        }
        Ok((found, end.as_deref().map(views::hex)))
    }
}
