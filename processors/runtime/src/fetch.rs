//! What the engine reads from the store, as the worker and the simulation carry it out.

use futures::future::{try_join_all, try_join3};
use state::{StateStore, store};

use crate::engine::assignment::Assignment;
use crate::engine::settings::Settings;
use crate::engine::{Found, Needs, Scan, Scanned};

/// Reads everything that `needs` names: rows and agenda items in one multi-get each per shard, ranges beside it.
///
/// # Errors
/// Those of the store. Nothing is lost: the same call may be repeated.
pub async fn fetch(needs: &Needs, settings: &Settings, store: &dyn StateStore) -> Result<Found, store::Error> {
    let shard = |number: i32| Assignment::name(&settings.stream, number);
    let rows = needs.rows.chunk_by(|(one, _), (two, _)| one == two).map(|chunk| async move {
        let number = chunk[0].0;
        let keys: Vec<_> = chunk.iter().map(|(_, key)| key.clone()).collect();
        let cells = store.rows(&shard(number), &keys).await?;
        Ok(keys.into_iter().zip(cells).map(move |(key, cell)| (number, key, cell)).collect::<Vec<_>>())
    });
    let ranges = needs.ranges.iter().map(|(number, range)| async move {
        let rows = store.range(&shard(*number), range).await?;
        Ok((*number, range.clone(), rows))
    });
    let mut items = needs.items.clone();
    items.sort();
    let items = items.chunk_by(|(one, _), (two, _)| one == two).map(|chunk| async move {
        let number = chunk[0].0;
        let keys: Vec<_> = chunk.iter().map(|(_, key)| key.clone()).collect();
        let found = store.agenda_items(&shard(number), &keys).await?;
        Ok(keys.into_iter().zip(found).map(move |(key, item)| (number, key, item)).collect::<Vec<_>>())
    });
    let (rows, ranges, items) = try_join3(try_join_all(rows), try_join_all(ranges), try_join_all(items)).await?;
    Ok(Found { rows: rows.into_iter().flatten().collect(), ranges, items: items.into_iter().flatten().collect() })
}

/// Reads agenda items of the near future.
///
/// # Errors
/// Those of the store. The same call may be repeated.
pub async fn scan(scans: &[Scan], settings: &Settings, store: &dyn StateStore) -> Result<Vec<Scanned>, store::Error> {
    try_join_all(scans.iter().map(|scan| async move {
        let shard = Assignment::name(&settings.stream, scan.shard);
        let items = store.agenda(&shard, &scan.from, &scan.to, scan.limit).await?;
        let items = items.into_iter().map(|item| (item.key.clone(), item.into())).collect();
        Ok(Scanned { scan: scan.clone(), items })
    }))
    .await
}
