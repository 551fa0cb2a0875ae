//! What of a frame is written into the map, and what loses against what is there.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::layout::{self, Key, behind};
use super::{Ordered, Writes};
use crate::store::Error;
use crate::types::{AgendaWrite, Cell, Frame, Shard};

/// What of a frame is news to the map. A frame newer than every other of its shard wins everywhere (S1), so nothing is
/// compared for it; status is not bound to a shard and always compared.
pub(super) fn writes_of<M: Ordered + ?Sized>(map: &M, frame: &Frame) -> Result<Writes, Error> {
    let Frame { shard, ts, .. } = frame;
    let newest = newest(map, shard)?;
    let wins = newest.is_some_and(|newest| newest < *ts);
    let count = frame.rows.len() + frame.agenda.len() + frame.status.len() + frame.dedupe.len();
    let mut writes = Vec::with_capacity(count + 1);
    let put_own = |writes: &mut Writes, key: Vec<u8>, cell: &Cell| {
        if wins {
            writes.push((key, Some(layout::encode(cell))));
            return Ok(());
        }
        put(map, writes, key, cell)
    };
    let rows = Key::rows(shard);
    for row in &frame.rows {
        let cell = Cell { ts: *ts, val: row.val.clone(), expire_at: row.expire_at.filter(|_| row.val.is_some()) };
        put_own(&mut writes, rows.row_below(&row.key.subject, &row.key.sort), &cell)?;
    }
    for item in &frame.agenda {
        let cell = Cell { ts: *ts, val: agenda_value(item), expire_at: None };
        put_own(&mut writes, Key::agenda(shard, &item.key), &cell)?;
    }
    for part in &frame.status {
        let cell = Cell { ts: *ts, val: Some(part.val.clone()), expire_at: part.expire_at };
        put(map, &mut writes, Key::status(&part.key.event).raw(&part.key.part), &cell)?;
    }
    for row in &frame.dedupe {
        let minute = Key::minute(shard, row.minute);
        let ended = map.get(&minute.clone().end())?.map(|bytes| layout::decode(&bytes)).transpose()?;
        if ended.is_none_or(|ended| ended.ts < row.ts) {
            let cell = Cell { ts: row.ts, val: Some(row.keys.clone()), expire_at: None };
            put_own(&mut writes, minute.long(row.ts).end(), &cell)?;
        }
    }
    for minute in &frame.dedupe_ended {
        end_minute(map, &mut writes, Key::minute(shard, *minute).end(), *ts)?;
    }
    if wins {
        writes.push((Key::newest(shard), Some(ts.to_be_bytes().to_vec())));
    }
    Ok(writes)
}

/// The highest time of all frames of the shard that the map has; `None` where that is not known, because the map was
/// written before this was kept.
fn newest<M: Ordered + ?Sized>(map: &M, shard: &Shard) -> Result<Option<i64>, Error> {
    if let Some(bytes) = map.get(&Key::newest(shard))? {
        return layout::long(&bytes).map(Some);
    }
    for from in Key::tables(shard) {
        let mut empty = true;
        map.scan(&from, &behind(&from), &mut |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        })?;
        if !empty {
            return Ok(None);
        }
    }
    Ok(Some(i64::MIN))
}

/// Writes the cell if it wins over what is there (S1).
pub(super) fn put<M: Ordered + ?Sized>(map: &M, writes: &mut Writes, key: Vec<u8>, cell: &Cell) -> Result<(), Error> {
    let old = map.get(&key)?.map(|bytes| layout::decode(&bytes)).transpose()?;
    if old.is_none_or(|old| layout::wins(cell, &old)) {
        writes.push((key, Some(layout::encode(cell))));
    }
    Ok(())
}

/// Deletes a minute up to `ts`: its rows go, the deletion's time stays against late writes.
fn end_minute<M: Ordered + ?Sized>(map: &M, writes: &mut Writes, minute: Vec<u8>, ts: i64) -> Result<(), Error> {
    map.scan(&minute, &behind(&minute), &mut |key, bytes| {
        let cell = layout::decode(&bytes)?;
        if cell.val.is_some() && cell.ts <= ts {
            writes.push((key.to_vec(), None));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    put(map, writes, minute, &Cell { ts, val: None, expire_at: None })
}

/// Subject length (2 bytes, big endian), subject, payload.
fn agenda_value(item: &AgendaWrite) -> Option<Bytes> {
    let val = item.val.as_ref()?;
    let mut out = Vec::with_capacity(2 + item.subject.len() + val.len());
    out.extend_from_slice(&(item.subject.len() as u16).to_be_bytes());
    out.extend_from_slice(item.subject.as_bytes());
    out.extend_from_slice(val);
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::memory::Memory;
    use crate::store::StateStore;
    use crate::types::{RowKey, RowWrite};

    fn frame(ts: i64, value: &'static str) -> Frame {
        let key = RowKey { subject: "a".into(), sort: "".into() };
        let row = RowWrite { key, val: Some(Bytes::from_static(value.as_bytes())), expire_at: None };
        Frame {
            shard: Shard { stream: "s".into(), number: 0 },
            n: ts,
            ts,
            rows: vec![row],
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: Vec::new(),
        }
    }

    #[test]
    fn a_map_from_before_the_highest_time_was_kept_is_compared() {
        let (store, shard) = (Memory::new(), frame(1, "").shard);
        block_on(store.apply(&frame(9, "new"))).unwrap();
        assert_eq!(newest(&*store.map, &shard).unwrap(), Some(9));
        store.map.update(false, &mut |_| Ok(vec![(Key::newest(&shard), None)])).unwrap();
        assert_eq!(newest(&*store.map, &shard).unwrap(), None);
        block_on(store.apply(&frame(5, "old"))).unwrap();
        let key = RowKey { subject: "a".into(), sort: "".into() };
        let cell = block_on(store.rows(&shard, &[key])).unwrap().pop().flatten();
        assert_eq!(cell.and_then(|cell| cell.val).as_deref(), Some(&b"new"[..]));
    }
}
