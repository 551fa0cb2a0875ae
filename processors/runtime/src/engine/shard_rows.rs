//! Rows of a shard itself, under the reserved subject `~shard/<n>`: every input of the shard may read and write them.
//! They are few, so all of them are in memory while the shard runs.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use schemas::partition::shard_subject;
use state::{RowKey, RowRange};

use super::cache::Image;
use super::ranges::{behind, covers};
use crate::processor::{RANGE_MAX, RangeRead, SHARD_BYTES_MAX, SHARD_ROWS_MAX};

/// The committed rows. Nothing of the shard is decided before all are read, and only its owner writes them: what is
/// not here does not exist.
#[derive(Debug)]
pub struct ShardRows {
    subject: Arc<str>,
    rows: BTreeMap<Arc<str>, Image>,
    bytes: usize,
    unread: Option<RowRange>,
}

impl ShardRows {
    /// Those of shard `shard`, not read yet.
    #[must_use]
    pub fn new(shard: i32) -> Self {
        let subject: Arc<str> = shard_subject(shard).into();
        let first = RowRange { subject: subject.clone(), prefix: "".into(), start: None, limit: RANGE_MAX };
        Self { subject, rows: BTreeMap::new(), bytes: 0, unread: Some(first) }
    }

    /// `~shard/<n>`.
    #[must_use]
    pub fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    /// Whether the row is one of these; the engine's own rows of the subject are kept like those of others.
    #[must_use]
    pub fn owns(&self, key: &RowKey) -> bool {
        key.subject == self.subject && !key.sort.starts_with('~')
    }

    /// What must still be read before anything is decided.
    #[must_use]
    pub fn question(&self) -> Option<&RowRange> {
        self.unread.as_ref()
    }

    /// Takes the store's answer to a question.
    pub fn answer(&mut self, question: &RowRange, rows: Vec<(Arc<str>, Image)>) {
        let next = rows.last().filter(|_| rows.len() >= question.limit).map(|(sort, _)| behind(sort));
        self.unread = next.map(|start| RowRange { start: Some(start), ..question.clone() });
        for (sort, image) in rows.into_iter().filter(|(sort, _)| !sort.starts_with('~')) {
            self.put(&sort, image);
        }
    }

    /// Takes over a row of a committed frame, whose time is `ts` (µs).
    pub fn publish(&mut self, sort: &Arc<str>, image: Image, ts: i64) {
        self.put(sort, image);
        if self.rows.len() > SHARD_ROWS_MAX || self.bytes > SHARD_BYTES_MAX {
            self.rows.retain(|_, image| image.at(ts).is_some());
            self.bytes = self.rows.iter().map(|(sort, image)| size(sort, image)).sum();
        }
    }

    fn put(&mut self, sort: &Arc<str>, image: Image) {
        let after = size(sort, &image);
        let before = match image.val {
            Some(_) => self.rows.insert(sort.clone(), image),
            None => self.rows.remove(sort),
        };
        self.bytes = self.bytes + after - before.map_or(0, |before| size(sort, &before));
    }
}

/// What a batch does to them.
#[derive(Debug, Default)]
pub struct Changes {
    rows: BTreeMap<Arc<str>, Image>,
    bytes: usize,
}

impl Changes {
    /// Bytes of the changed rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row, if the batch changes it.
    #[must_use]
    pub fn changed(&self, sort: &str) -> Option<&Image> {
        self.rows.get(sort)
    }

    /// Changes a row; the last change of a batch stays.
    pub fn put(&mut self, sort: &Arc<str>, image: Image) {
        let after = size(sort, &image);
        let before = self.rows.insert(sort.clone(), image);
        self.bytes = self.bytes + after - before.map_or(0, |before| size(sort, &before));
    }

    /// The changed rows.
    pub fn into_rows(self) -> impl Iterator<Item = (Arc<str>, Image)> {
        self.rows.into_iter()
    }

    /// A row as it stands over `base`.
    #[must_use]
    pub fn get<'a>(&'a self, base: &'a ShardRows, sort: &str) -> Option<&'a Image> {
        self.rows.get(sort).or_else(|| base.rows.get(sort))
    }

    /// The rows of a range as they stand over `base` at `now` (µs).
    #[must_use]
    pub fn range(&self, base: &ShardRows, read: &RangeRead, now: i64) -> Vec<(Arc<str>, Image)> {
        let from = match &read.after {
            Some(after) if **after >= *read.prefix => Bound::Excluded(&**after),
            _ => Bound::Included(&*read.prefix),
        };
        let rows = self.all(base, from).take_while(|(sort, _)| sort.starts_with(&read.prefix));
        let live = rows.filter(|(sort, image)| covers(read, sort) && image.at(now).is_some());
        live.take(read.limit).map(|(sort, image)| (sort.clone(), image.clone())).collect()
    }

    /// Every row from a sort on, in order.
    fn all<'a>(&'a self, base: &'a ShardRows, from: Bound<&str>) -> impl Iterator<Item = (&'a Arc<str>, &'a Image)> {
        let mut below = base.rows.range::<str, _>((from, Bound::Unbounded)).peekable();
        let mut above = self.rows.range::<str, _>((from, Bound::Unbounded)).peekable();
        std::iter::from_fn(move || match (below.peek(), above.peek()) {
            (Some((old, _)), Some((new, _))) if old < new => below.next(),
            (Some((old, _)), Some((new, _))) if old == new => {
                below.next();
                above.next()
            }
            (Some(_), None) => below.next(),
            _ => above.next(),
        })
    }

    /// Whether the shard's rows keep to their bounds when `new` is put over all this at `now` (µs).
    ///
    /// # Errors
    /// A sentence with what would be too much.
    pub fn check(&self, base: &ShardRows, new: &[(Arc<str>, Image)], now: i64) -> Result<(), String> {
        let growth: usize = new.iter().map(|(sort, image)| size(sort, image)).sum();
        if base.rows.len() + self.rows.len() + new.len() <= SHARD_ROWS_MAX && base.bytes + self.bytes + growth <= SHARD_BYTES_MAX
        {
            return Ok(());
        }
        let new: BTreeMap<_, _> = new.iter().map(|(sort, image)| (sort, image)).collect();
        let rest = self.all(base, Bound::Unbounded).filter(|(sort, _)| !new.contains_key(sort));
        let live = rest.chain(new.iter().map(|(sort, image)| (*sort, *image))).filter(|(_, image)| image.at(now).is_some());
        let (rows, bytes) = live.fold((0, 0), |(rows, bytes), (sort, image)| (rows + 1, bytes + size(sort, image)));
        if rows > SHARD_ROWS_MAX || bytes > SHARD_BYTES_MAX {
            return Err(format!(
                "{} would have {rows} rows of {bytes} bytes; a shard has at most {SHARD_ROWS_MAX} rows and {SHARD_BYTES_MAX} bytes of its own",
                base.subject
            ));
        }
        Ok(())
    }
}

/// Bytes of an image and its sort.
pub fn size(sort: &str, image: &Image) -> usize {
    image.val.as_ref().map_or(0, |val| val.len() + sort.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn image(text: &str) -> Image {
        Image { val: Some(Bytes::copy_from_slice(text.as_bytes())), expire_at: None }
    }

    fn sorts(changes: &Changes, rows: &ShardRows, read: &RangeRead) -> Vec<String> {
        changes.range(rows, read, 100).into_iter().map(|(sort, _)| sort.to_string()).collect()
    }

    fn read_all(rows: &mut ShardRows, stored: &[(&str, Image)]) {
        let stored = stored.iter().map(|(sort, image)| ((*sort).into(), image.clone())).collect();
        let question = rows.question().unwrap().clone();
        rows.answer(&question, stored);
    }

    #[test]
    fn a_batch_sees_its_own_changes_over_what_is_committed() {
        let mut rows = ShardRows::new(3);
        read_all(&mut rows, &[("a/1", image("1")), ("a/2", image("2")), ("b", image("3")), ("~head", image("h"))]);
        assert_eq!(rows.question(), None);
        let mut changes = Changes::default();
        changes.put(&"a/0".into(), image("0"));
        changes.put(&"a/2".into(), Image::ABSENT);
        changes.put(&"a/3".into(), Image { expire_at: Some(100), ..image("gone at 100") });
        let range = |prefix: &str, after: Option<&str>, limit| RangeRead {
            prefix: prefix.to_owned(),
            after: after.map(ToOwned::to_owned),
            limit,
        };
        assert_eq!(sorts(&changes, &rows, &range("a/", None, 10)), ["a/0", "a/1"]);
        assert_eq!(sorts(&changes, &rows, &range("a/", None, 1)), ["a/0"]);
        assert_eq!(sorts(&changes, &rows, &range("", Some("a/0"), 10)), ["a/1", "b"]);
        assert_eq!(sorts(&changes, &rows, &range("b", Some("a/0"), 10)), ["b"]);
        assert_eq!(changes.get(&rows, "a/2"), Some(&Image::ABSENT));
        assert_eq!(changes.get(&rows, "~head"), None);
    }

    #[test]
    fn everything_is_read_page_by_page() {
        let mut rows = ShardRows::new(0);
        let page: Vec<_> = (0..RANGE_MAX).map(|n| (format!("{n:05}").into(), image("x"))).collect();
        let first = rows.question().unwrap().clone();
        rows.answer(&first, page);
        assert_eq!(rows.question().unwrap().start.as_deref(), Some("00999\0"));
        read_all(&mut rows, &[("01000", image("y"))]);
        assert!(rows.question().is_none());
        let all = RangeRead { prefix: String::new(), after: None, limit: 2_000 };
        assert_eq!(Changes::default().range(&rows, &all, 0).len(), RANGE_MAX + 1);
    }

    #[test]
    fn bounds_count_what_is_alive_and_every_row_once() {
        let mut rows = ShardRows::new(0);
        for n in 0..SHARD_ROWS_MAX {
            rows.publish(&n.to_string().into(), Image { expire_at: (n == 7).then_some(50), ..image("x") }, 0);
        }
        let changes = Changes::default();
        let new = |sort: &str| vec![(sort.into(), image("y"))];
        assert!(changes.check(&rows, &new("another"), 49).unwrap_err().contains("10001 rows"));
        assert!(changes.check(&rows, &new("8"), 49).is_ok(), "a row in the place of one");
        assert!(changes.check(&rows, &new("another"), 50).is_ok(), "one has expired");
        let swap = [("9".into(), Image::ABSENT), ("another".into(), image("y"))];
        assert!(changes.check(&rows, &swap, 49).is_ok());
        let large = vec![("8".into(), image(&"x".repeat(SHARD_BYTES_MAX)))];
        assert!(changes.check(&rows, &large, 49).unwrap_err().contains("bytes"));
        rows.publish(&"another".into(), image("y"), 50);
        assert_eq!((rows.rows.len(), rows.rows.contains_key("7")), (SHARD_ROWS_MAX, false));
    }
}
