//! From mark, log and store to a shard that can run. Called by the worker's recovery and by the simulation.

use futures::future::try_join_all;
use schemas::key::EventKey;
use state::{Mark, Shard, StateStore, store};

use crate::engine::assignment::ShardState;
use crate::engine::dedupe::{MINUTE_MS, Window};
use crate::engine::recover::{Halt, LogRecord, LogStart, Tip, rebuild};
use crate::engine::rules::Rule;
use crate::engine::settings::Settings;
use crate::metrics;

/// What is known of a shard before its log is read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which shard.
    pub shard: Shard,
    /// Its watermark.
    pub mark: Option<Mark>,
    /// Where its log begins.
    pub log_start: LogStart,
}

impl Plan {
    /// The offset to read the log from: the trailer the mark speaks of, or what retention left.
    #[must_use]
    pub fn from(&self) -> i64 {
        self.mark.as_ref().map_or(0, |mark| mark.applied - 1).max(self.log_start.offset).max(0)
    }
}

/// Replays the frames behind the mark and loads what a shard keeps in memory. `records` are the committed records of
/// its log from [`Plan::from`] to the end.
///
/// # Errors
/// Those of the store; the inner error is why the shard must not run.
pub async fn restore(
    plan: Plan,
    records: &[LogRecord],
    settings: &Settings,
    store: &dyn StateStore,
) -> Result<Result<ShardState, Halt>, store::Error> {
    let rebuilt = match rebuild(&plan.shard, plan.mark.as_ref(), plan.log_start, records) {
        Ok(rebuilt) => rebuilt,
        Err(halt) => return Ok(Err(halt)),
    };
    metrics::replayed(&plan.shard, rebuilt.frames.len(), rebuilt.torn);
    for frame in &rebuilt.frames {
        store.apply(frame).await?;
    }
    if !rebuilt.frames.is_empty() {
        store.set_marks(&[(plan.shard.clone(), Mark::from(&rebuilt.tip))]).await?;
    }
    let known = plan.mark.as_ref().map_or(rebuilt.tip.horizon, |mark| mark.horizon);
    let window = window(&plan.shard, &rebuilt.tip, known, settings, store).await?;
    let mut shard = ShardState::new(plan.shard, rebuilt.tip, window, settings);
    shard.claims = rebuilt.claims;
    Ok(Ok(shard))
}

/// Minutes below the window that are looked at for rows which the last owner had no time to delete.
const LEFTOVER_MINUTES: i64 = 60;

/// The dedupe window as the store has it: after the replay that is exactly what the last owner had. `known` is the
/// horizon of the mark: minutes that ended since then may not have been deleted, and the next frame does it.
async fn window(
    shard: &Shard,
    tip: &Tip,
    known: i64,
    settings: &Settings,
    store: &dyn StateStore,
) -> Result<Window, store::Error> {
    let limits = &settings.limits;
    let mut window = Window::new(limits.dedupe_window.as_millis() as i64, limits.dedupe_keys);
    if tip.n == 0 || !settings.rules.keep(Rule::StoredWindow) {
        return Ok(window);
    }
    let first = (window.first_minute(known) - 1).max(window.first_minute(tip.horizon) - LEFTOVER_MINUTES);
    let minutes = first..=tip.horizon.div_euclid(MINUTE_MS);
    let rows = try_join_all(minutes.map(|minute| store.dedupe(shard, minute))).await?;
    for row in rows.into_iter().flatten() {
        window.insert(row.minute, row.keys.as_chunks::<16>().0.iter().map(|key| EventKey(*key)));
    }
    Ok(window)
}
