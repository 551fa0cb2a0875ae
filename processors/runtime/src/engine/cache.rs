//! Images of committed rows of one shard. Only the owner writes a shard, so what is here is the truth while the
//! assignment lives.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

/// A committed row image, or its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Magic, schema id, datum; `None` = the row does not exist.
    pub val: Option<Bytes>,
    /// µs; from then on the row reads as absent.
    pub expire_at: Option<i64>,
}

impl Image {
    /// The absent row.
    pub const ABSENT: Self = Self { val: None, expire_at: None };

    /// The image as it reads at `now` (µs).
    #[must_use]
    pub fn at(&self, now: i64) -> Option<&Bytes> {
        self.val.as_ref().filter(|_| self.expire_at.is_none_or(|at| at > now))
    }
}

/// Rows of one subject.
#[derive(Debug, Default)]
struct Subject {
    rows: Vec<(Arc<str>, Image)>,
    /// Number of the newest frame that wrote here.
    frame: i64,
    bytes: usize,
}

/// The row cache of a shard. Rows of frames that the store has not acknowledged are *pinned*: they are never evicted,
/// since the store may not show them yet (I5).
#[derive(Debug)]
pub struct RowCache {
    young: HashMap<Arc<str>, Subject>,
    old: HashMap<Arc<str>, Subject>,
    young_bytes: usize,
    bytes_max: usize,
    acked: i64,
}

/// What an entry costs beside its bytes.
const ENTRY_BYTES: usize = 120;

impl RowCache {
    /// An empty cache that keeps about `bytes_max` bytes of clean rows; frames up to `acked` are in the store.
    #[must_use]
    pub fn new(bytes_max: usize, acked: i64) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_bytes: 0, bytes_max, acked }
    }

    /// Keeps about `bytes_max` bytes of clean rows from now on.
    pub fn limit(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
    }

    /// The image of a row, `None` when it must be read from the store.
    pub fn get(&mut self, subject: &str, sort: &str) -> Option<&Image> {
        if !self.old.is_empty()
            && !self.young.contains_key(subject)
            && let Some((name, entry)) = self.old.remove_entry(subject)
        {
            self.young_bytes += entry.bytes;
            self.young.insert(name, entry);
        }
        self.young.get(subject)?.rows.iter().find(|(other, _)| &**other == sort).map(|(_, image)| image)
    }

    /// Every row of a subject that is in memory.
    pub fn rows(&self, subject: &str) -> impl Iterator<Item = (&Arc<str>, &Image)> {
        let entry = self.young.get(subject).or_else(|| self.old.get(subject));
        entry.into_iter().flat_map(|entry| entry.rows.iter().map(|(sort, image)| (sort, image)))
    }

    /// Takes a row as read from the store: a clean copy.
    pub fn fill(&mut self, subject: &Arc<str>, sort: &Arc<str>, image: Image) {
        if self.get(subject, sort).is_none() {
            self.put(subject, sort, image, 0);
        }
    }

    /// Publishes a row of the committed frame `frame`.
    pub fn put(&mut self, subject: &Arc<str>, sort: &Arc<str>, image: Image, frame: i64) {
        let size = image.val.as_ref().map_or(0, Bytes::len) + sort.len() + ENTRY_BYTES;
        if !self.young.contains_key(subject) {
            let entry = self.old.remove(subject).unwrap_or_default();
            self.young_bytes += entry.bytes;
            self.young.insert(subject.clone(), entry);
        }
        let Some(entry) = self.young.get_mut(subject) else { return };
        entry.frame = entry.frame.max(frame);
        match entry.rows.iter_mut().find(|(other, _)| other == sort) {
            Some((_, old)) => *old = image,
            None => entry.rows.push((sort.clone(), image)),
        }
        entry.bytes += size;
        self.young_bytes += size;
    }

    /// Frames up to `frame` are acknowledged: their rows may be evicted from now on. Called at the start of a batch
    /// only, so that no value read before can be used after its pin went (I5). Evicts what was not used for long.
    pub fn unpin(&mut self, frame: i64) {
        self.acked = self.acked.max(frame);
        if self.young_bytes <= self.bytes_max / 2 {
            return;
        }
        let acked = self.acked;
        let mut old = std::mem::take(&mut self.young);
        let pinned: Vec<_> = self.old.extract_if(|_, entry| entry.frame > acked).collect();
        old.extend(pinned);
        for entry in old.values_mut() {
            entry.bytes =
                entry.rows.iter().map(|(sort, image)| image.val.as_ref().map_or(0, Bytes::len) + sort.len() + ENTRY_BYTES).sum();
        }
        self.old = old;
        self.young_bytes = 0;
    }

    /// Subjects held.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &'static str) -> Image {
        Image { val: Some(Bytes::from_static(text.as_bytes())), expire_at: None }
    }

    #[test]
    fn a_pinned_row_survives_every_eviction() {
        let mut cache = RowCache::new(400, 0);
        let (subject, sort): (Arc<str>, Arc<str>) = ("a".into(), "".into());
        cache.put(&subject, &sort, image("new"), 7);
        for round in 0..10 {
            for n in 0..4 {
                let filler: Arc<str> = format!("{round}-{n}").into();
                cache.fill(&filler, &sort, image("clean"));
            }
            cache.unpin(6);
        }
        assert_eq!(cache.get("a", ""), Some(&image("new")));
        assert!(cache.subjects() < 12, "clean rows go: {}", cache.subjects());
    }

    #[test]
    fn a_store_read_never_replaces_a_published_row() {
        let mut cache = RowCache::new(10_000, 0);
        let (subject, sort): (Arc<str>, Arc<str>) = ("a".into(), "".into());
        cache.put(&subject, &sort, image("committed"), 3);
        cache.fill(&subject, &sort, image("stale"));
        assert_eq!(cache.get("a", ""), Some(&image("committed")));
    }
}
