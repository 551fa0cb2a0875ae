//! Which rows an input looks at, and those rows.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Rows of one range at the most.
pub const RANGE_MAX: usize = 1_000;

/// Rows of the subject that an input needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Exact sorts; `""` is the root row.
    pub rows: Vec<String>,
    /// Ranges of sorts.
    pub ranges: Vec<RangeRead>,
    /// Exact sorts of the shard's own rows.
    pub shard_rows: Vec<String>,
    /// Ranges of sorts of the shard's own rows.
    pub shard_ranges: Vec<RangeRead>,
}

/// The first rows of a range, in the order of their sorts. A sort that holds a number is written with leading zeros; one
/// that is wanted newest first holds it counted down from a large one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRead {
    /// Sorts start with it.
    pub prefix: String,
    /// Only sorts behind this one; `None` = from the first on.
    pub after: Option<String>,
    /// At most this many rows, 1–[`RANGE_MAX`].
    pub limit: usize,
}

impl Reads {
    /// Nothing at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The root row.
    #[must_use]
    pub fn root() -> Self {
        Self::default().row("")
    }

    /// And the row `sort`.
    #[must_use]
    pub fn row(mut self, sort: &str) -> Self {
        self.rows.push(sort.to_owned());
        self
    }

    /// And the first `limit` (1–[`RANGE_MAX`]) rows whose sorts start with `prefix`.
    #[must_use]
    pub fn range(self, prefix: &str, limit: usize) -> Self {
        self.push_range(prefix, None, limit)
    }

    /// And the first `limit` (1–[`RANGE_MAX`]) rows behind `after` whose sorts start with `prefix`: the next page.
    #[must_use]
    pub fn range_after(self, prefix: &str, after: &str, limit: usize) -> Self {
        self.push_range(prefix, Some(after.to_owned()), limit)
    }

    /// And the row `sort` of the shard, which the catalog must allow with `shard_rows = true`.
    #[must_use]
    pub fn shard_row(mut self, sort: &str) -> Self {
        self.shard_rows.push(sort.to_owned());
        self
    }

    /// And the first `limit` (1–[`RANGE_MAX`]) rows of the shard whose sorts start with `prefix`.
    #[must_use]
    pub fn shard_range(mut self, prefix: &str, limit: usize) -> Self {
        self.shard_ranges.push(RangeRead { prefix: prefix.to_owned(), after: None, limit: limit.clamp(1, RANGE_MAX) });
        self
    }

    /// Whether it asks for rows of the shard.
    pub(crate) fn of_shard(&self) -> bool {
        !(self.shard_rows.is_empty() && self.shard_ranges.is_empty())
    }

    fn push_range(mut self, prefix: &str, after: Option<String>, limit: usize) -> Self {
        self.ranges.push(RangeRead { prefix: prefix.to_owned(), after, limit: limit.clamp(1, RANGE_MAX) });
        self
    }
}

/// The rows an input asked for, as they stand after everything before it.
#[derive(Debug)]
pub struct Rows<R> {
    rows: BTreeMap<Arc<str>, R>,
    shard: BTreeMap<Arc<str>, R>,
}

impl<R> Rows<R> {
    /// From decoded rows by sort; tests use it too.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = (Arc<str>, R)>) -> Self {
        Self { rows: rows.into_iter().collect(), shard: BTreeMap::new() }
    }

    /// And these rows of the shard.
    #[must_use]
    pub fn with_shard(self, rows: impl IntoIterator<Item = (Arc<str>, R)>) -> Self {
        Self { shard: rows.into_iter().collect(), ..self }
    }

    /// No rows.
    #[must_use]
    pub fn empty() -> Self {
        Self { rows: BTreeMap::new(), shard: BTreeMap::new() }
    }

    /// The row `sort`, if it exists.
    #[must_use]
    pub fn get(&self, sort: &str) -> Option<&R> {
        self.rows.get(sort)
    }

    /// What was read of the rows whose sorts start with `prefix`, in their order.
    pub fn range<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a R)> {
        range(&self.rows, prefix)
    }

    /// The shard's row `sort`, if it exists.
    #[must_use]
    pub fn shard(&self, sort: &str) -> Option<&R> {
        self.shard.get(sort)
    }

    /// What was read of the shard's rows whose sorts start with `prefix`, in their order.
    pub fn shard_range<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a R)> {
        range(&self.shard, prefix)
    }
}

fn range<'a, R>(rows: &'a BTreeMap<Arc<str>, R>, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a R)> {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    rows.range::<str, _>(from).map(|(sort, row)| (&**sort, row)).take_while(move |(sort, _)| sort.starts_with(prefix))
}
