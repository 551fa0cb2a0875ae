//! Lists: each kind's resources by a field, spread over a fixed number of subjects. Sends from one resource to its bucket
//! keep their order, so lists come to agree with their resources.

use std::collections::BTreeMap;

use runtime::{Context, Decision, Rejection};
use schemas::catalog::{Kind, LIST_BUCKETS, list_subject};
use schemas::entities::{ListDrop, ListPut, Row, SendEvent, Summary};

use crate::{Entities, damaged};

/// Characters of a value that its place in a list shows.
const VALUE_MAX: usize = 100;

/// Shows a resource in its kind's lists and takes it out where it stood `before`. Gives where it stands now.
pub(crate) fn show(
    decision: Decision<Entities>,
    kind: &Kind,
    (version, data): (i64, &[u8]),
    before: &[String],
    ctx: &Context,
) -> Result<(Decision<Entities>, Vec<String>), Rejection> {
    let (bucket, id) = place(&kind.name, ctx);
    let fields = fields(kind, data)?;
    let sorts: Vec<_> = fields.iter().map(|(name, value)| sort(name, value, id)).collect();
    let left = before.iter().filter(|sort| !sorts.contains(sort));
    let put = |sort| SendEvent::ListPut(ListPut { sort, version, fields: fields.clone() });
    let decision = hide(decision, &kind.name, left, ctx);
    let decision = sorts.iter().fold(decision, |decision, sort| decision.send(&bucket, put(sort.clone())));
    Ok((decision, sorts))
}

/// Takes a resource out of lists of its kind.
pub(crate) fn hide<'a>(
    decision: Decision<Entities>,
    kind: &str,
    sorts: impl IntoIterator<Item = &'a String>,
    ctx: &Context,
) -> Decision<Entities> {
    let (bucket, _) = place(kind, ctx);
    let drop = |sort: &String| SendEvent::ListDrop(ListDrop { sort: sort.clone() });
    sorts.into_iter().fold(decision, |decision, sort| decision.send(&bucket, drop(sort)))
}

pub(crate) fn put(put: ListPut) -> Decision<Entities> {
    Decision::new().put(&put.sort, Row::Summary(Summary { version: put.version, fields: put.fields }))
}

pub(crate) fn drop(drop: &ListDrop) -> Decision<Entities> {
    Decision::new().delete(&drop.sort)
}

/// The bucket of the input's subject, and its id.
fn place<'a>(kind: &str, ctx: &'a Context) -> (String, &'a str) {
    let id = ctx.subject.rsplit('/').next().unwrap_or_default();
    let account = ctx.subject.split('/').next().unwrap_or_default();
    let bucket = blake3::hash(id.as_bytes()).as_bytes()[0] % LIST_BUCKETS;
    (list_subject(account, kind, bucket), id)
}

/// `last_name:byron/0192…`
fn sort(name: &str, value: &str, id: &str) -> String {
    let value: String = value.to_lowercase().chars().take(VALUE_MAX).collect();
    format!("{name}:{value}/{id}")
}

fn fields(kind: &Kind, data: &[u8]) -> Result<BTreeMap<String, String>, Rejection> {
    let mut fields = BTreeMap::new();
    for field in &kind.list {
        if let Some(value) = field.read(&kind.schema.plan, data).map_err(damaged)? {
            fields.insert(field.name.clone(), value);
        }
    }
    Ok(fields)
}
