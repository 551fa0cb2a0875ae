//! Readers of lists: `StateReader::list` over the lossy store, page by page. What they do changes nothing in the rest of a
//! run: its chances are its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use state::SubjectRows;
use state::reader::{StateReader, Within};

use super::plan::stream;
use super::random::Random;
use super::store::Store;
use super::views::{View, Views};
use super::workload::{SHARDS, subjects};
use super::world::Shared;

/// Looks at a listing before it is given up.
const LOOKS: usize = 60;

/// A listing that came to its end.
pub(super) struct Listed {
    /// What it told, in its order.
    pub(super) items: Vec<View>,
    /// Newest write time each subject was shown with before it began.
    pub(super) after: BTreeMap<Arc<str>, i64>,
}

type Items = Vec<(String, SubjectRows)>;

struct Listing {
    now: i64,
    after: BTreeMap<Arc<str>, i64>,
    looks: usize,
    items: Pin<Box<dyn Future<Output = Option<Items>>>>,
}

/// One reader at a time, and what it was told.
pub(super) struct Lists {
    reader: StateReader,
    random: Random,
    listing: Option<Listing>,
    pub(super) seen: Vec<Listed>,
}

impl Lists {
    pub(super) fn new(store: &Store, seed: u64) -> Self {
        let reader = StateReader::new(Arc::new(store.aside(Random::new(seed ^ 0x115e))));
        Self { reader, random: Random::new(seed ^ 0x115f), listing: None, seen: Vec::new() }
    }

    /// A listing begins, goes on or comes to its end.
    pub(super) fn step(&mut self, shared: &Shared, views: &Views) {
        let mut listing = self.listing.take().unwrap_or_else(|| self.begin(shared, views));
        listing.looks += 1;
        match listing.items.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending if listing.looks < LOOKS => self.listing = Some(listing),
            Poll::Pending | Poll::Ready(None) => {}
            Poll::Ready(Some(items)) => {
                let Listing { now, after, .. } = listing;
                let view = |(subject, rows): (String, SubjectRows)| {
                    let subject: Arc<str> = subject.into();
                    let after = after.get(&subject).copied().unwrap_or(0);
                    View { subject, now, after, rows }
                };
                self.seen.push(Listed { items: items.into_iter().map(view).collect(), after });
            }
        }
    }

    fn begin(&mut self, shared: &Shared, views: &Views) -> Listing {
        let now = shared.clock_us.get();
        let after = (0..SHARDS).flat_map(subjects).map(|subject| (subject.clone(), views.newest(&subject))).collect();
        let (reader, within) = (self.reader.clone(), Within::new(now, Duration::from_secs(3_600)));
        let (limit, prefix) = (1 + self.random.below(3), if self.random.chance(0.5) { "" } else { "s" });
        let items = async move {
            let (mut items, mut cursor) = (Items::new(), None);
            loop {
                let page = reader.list(&stream(), SHARDS, prefix, cursor.as_deref(), limit, within).await.ok()?;
                items.extend(page.items);
                cursor = page.cursor;
                if cursor.is_none() {
                    return Some(items);
                }
            }
        };
        Listing { now, after, looks: 0, items: Box::pin(items) }
    }
}
