//! What the store holds in the end, and what readers were shown on the way.

use std::collections::BTreeMap;

use state::records::{HEAD_SORT, Head};

use super::log::{Cells, Seen};
use crate::simulation::lists::Lists;
use crate::simulation::store::Key;
use crate::simulation::views::Views;
use crate::simulation::workload::{shown, subjects};
use crate::simulation::world::Shared;

/// Whichever two replicas are asked: the fold of the committed log, and nothing else.
pub(super) fn store(shared: &Shared, expected: &Cells) {
    let now = shared.clock_us.get();
    for left_out in 0..3 {
        let cells = shared.store.cells(left_out);
        for (key, cell) in expected {
            let found = cells.get(key).filter(|found| found.val.is_some());
            let gone = matches!(key, Key::Dedupe(..)) && found.is_none();
            if !gone && found != Some(cell).filter(|cell| cell.val.is_some()) {
                shared.violation("store", || format!("{key:?} is {found:?}, the log says {cell:?} (now {now})"));
            }
        }
        for (key, cell) in
            cells.iter().filter(|(key, cell)| cell.val.is_some() && !expected.contains_key(key) && !matches!(key, Key::Mark(_)))
        {
            shared.violation("store", || format!("{key:?} is {cell:?}, of which the log knows nothing"));
        }
    }
}

/// Whichever two replicas are asked: the mark of a frame. An old one only makes the next replay longer (I4).
pub(super) fn marks(shared: &Shared, shard: i32, chain: &[Seen]) {
    for left_out in 0..3 {
        let Some(cell) = shared.store.cells(left_out).remove(&Key::Mark(shard)) else { continue };
        let frame = chain.iter().find(|seen| seen.trailer.ts == cell.ts);
        if frame.map(|seen| seen.trailer.mark().encode()) != cell.val {
            shared.violation("store", || format!("the watermark of {shard} at {} belongs to no frame", cell.ts));
        }
    }
}

/// Rows by sort with the time they end.
type Rows = BTreeMap<String, (bytes::Bytes, Option<i64>)>;

/// Each view is a subject as some committed frame left it, and none goes back.
pub(super) fn views(shared: &Shared, shard: i32, chain: &[Seen], views: &Views, lists: &Lists) {
    for subject in shown(shard) {
        let versions = versions(&subject, chain);
        let listed = lists.seen.iter().flat_map(|listed| &listed.items);
        for view in views.seen.iter().chain(listed).filter(|view| view.subject == subject) {
            let (ts, seq) = (view.rows.newest_ts, view.rows.seq);
            if ts < view.after {
                shared.violation("view", || format!("{subject} goes back from {} to {ts}", view.after));
            }
            let shown: Rows =
                view.rows.rows.iter().map(|(sort, cell)| (sort.clone(), (cell.val.clone().unwrap(), cell.expire_at))).collect();
            let known = versions.get(&ts).map(|(seq, rows)| {
                let live = rows.iter().filter(|(_, (_, until))| until.is_none_or(|until| until > view.now));
                (*seq, live.map(|(sort, row)| (sort.clone(), row.clone())).collect())
            });
            if known.as_ref() != Some(&(seq, shown)) {
                shared.violation("view", || {
                    format!("{subject} #{seq} at {ts} is no committed state: {:?}, the log says {known:?}", view.rows)
                });
            }
        }
    }
}

/// A listing meets each subject once that is there from its beginning to its end.
pub(super) fn lists(shared: &Shared, shard: i32, chain: &[Seen], lists: &Lists) {
    for subject in subjects(shard) {
        let versions = versions(&subject, chain);
        for listed in &lists.seen {
            let times = listed.items.iter().filter(|view| view.subject == subject).count();
            let after = listed.after.get(&subject).copied().unwrap_or(0);
            let stays = |rows: &Rows| rows.values().any(|(_, until)| until.is_none());
            let lasts = versions.range(after..).all(|(_, (_, rows))| stays(rows));
            if times > 1 || (times == 0 && lasts) {
                let order: Vec<_> = listed.items.iter().map(|view| &view.subject).collect();
                shared.violation("list", || format!("{subject}, last shown at {after}, is met {times} times: {order:?}"));
            }
        }
    }
}

/// What a subject was after each frame that changed it: by time, its seq and rows.
fn versions(subject: &str, chain: &[Seen]) -> BTreeMap<i64, (i64, Rows)> {
    let mut versions = BTreeMap::from([(0, (0, Rows::new()))]);
    let (mut seq, mut rows) = (0, Rows::new());
    for Seen { trailer, data } in chain {
        let mine: Vec<_> = data.iter().filter(|data| data.subject == subject).flat_map(|data| &data.rows).collect();
        if mine.is_empty() {
            continue;
        }
        for row in mine {
            match (&row.val, row.sort.as_str()) {
                (Some(head), HEAD_SORT) => seq = Head::decode(head).map_or(-1, |head| head.seq),
                (_, sort) if sort.starts_with('~') => {}
                (Some(val), sort) => drop(rows.insert(sort.to_owned(), (val.clone(), row.expire_at))),
                (None, sort) => drop(rows.remove(sort)),
            }
        }
        versions.insert(trailer.ts, (seq, rows.clone()));
    }
    versions
}
