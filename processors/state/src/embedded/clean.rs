//! Forgets, while files are rewritten anyway, what no reader sees and no late write can bring back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};

use crate::ordered::forgettable;

/// Tombstones are kept this long (S8): writers stop repeating a frame long before.
const TOMBSTONE_LIFE: Duration = Duration::from_hours(10 * 24);
/// Expired rows are kept this long behind their time, so that expiry itself is never the store's decision.
const EXPIRED_LIFE: Duration = Duration::from_hours(1);

pub(super) fn factory() -> Arc<dyn Factory> {
    Arc::new(Cleaning)
}

struct Cleaning;

impl Factory for Cleaning {
    fn name(&self) -> &str {
        "tombstones and expired rows"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = |before: Duration| now.saturating_sub(before).as_micros() as i64;
        Box::new(Filter { deleted_before: micros(TOMBSTONE_LIFE), expired_before: micros(EXPIRED_LIFE) })
    }
}

struct Filter {
    deleted_before: i64,
    expired_before: i64,
}

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let value = item.value()?;
        let forget = forgettable(item.key(), &value, self.deleted_before, self.expired_before);
        Ok(if forget { Verdict::Remove } else { Verdict::Keep })
    }
}
