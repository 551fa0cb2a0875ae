//! The whole contract over one ordered map of bytes: what [`crate::memory`] and [`crate::embedded`] share.

mod apply;
mod layout;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

pub(crate) use self::layout::forgettable;

use self::apply::{put, writes_of};
use self::layout::{Key, behind};
use crate::LAYOUT;
use crate::metrics::Timed;
use crate::store::{Error, StateStore};
use crate::types::{AgendaItem, AgendaKey, Cell, DedupeRow, Frame, Mark, RowKey, RowRange, Shard, StatusCell};

/// Looks at one entry of a scan and says whether to go on.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], Bytes) -> Result<ControlFlow<()>, Error>;

/// An ordered map of bytes. Its calls may block.
pub trait Ordered: Send + Sync + 'static {
    /// Name of the store made of it.
    const KIND: &'static str;
    /// True when calls must stay off the async workers.
    const BLOCKS: bool;

    /// One value.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Entries with `from <= key < to` in order, until `visit` breaks off. May see writes that happen meanwhile.
    fn scan(&self, from: &[u8], to: &[u8], visit: Visit<'_>) -> Result<(), Error>;

    /// Reads and writes with no other writer between: `make` sees the map, what it returns is written as one. `None`
    /// removes. Survives a crash of the process, and with `sync` loss of power, as does everything written before.
    fn update(&self, sync: bool, make: &mut dyn FnMut(&Self) -> Result<Writes, Error>) -> Result<(), Error>;
}

/// Keys with new values, or with `None` to be removed.
pub type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A store over an ordered map. Clones share it.
#[derive(Clone)]
pub struct OrderedStore<M> {
    map: Arc<M>,
    /// The map has one writer at a time anyway: whoever waits does so here, where it costs no thread.
    turn: Arc<Mutex<()>>,
}

impl<M: Ordered> OrderedStore<M> {
    pub(crate) fn over(map: M) -> Self {
        Self { map: Arc::new(map), turn: Arc::default() }
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&M) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _timed = Timed::start(M::KIND, operation);
        if !M::BLOCKS {
            return work(&self.map);
        }
        let map = self.map.clone();
        let done = tokio::task::spawn_blocking(move || work(&map)).await;
        done.unwrap_or_else(|error| Err(Error::Unavailable(format!("a call into the store ended: {error}"))))
    }
}

#[async_trait]
impl<M: Ordered> StateStore for OrderedStore<M> {
    fn kind(&self) -> &'static str {
        M::KIND
    }

    async fn open_stream(&self, stream: &str, partitions: i32, buckets: i32) -> Result<(), Error> {
        let stream = stream.to_owned();
        self.run("open_stream", move |map| {
            let key = Key::stream(&stream);
            let wanted = [partitions, buckets, LAYOUT];
            map.update(true, &mut |map| match map.get(&key)? {
                None => Ok(vec![(key.clone(), Some(wanted.iter().flat_map(|part| part.to_be_bytes()).collect()))]),
                Some(stored) => {
                    let stored: Vec<i32> =
                        stored.chunks_exact(4).map(|part| i32::from_be_bytes([part[0], part[1], part[2], part[3]])).collect();
                    crate::store::check_layout(&stream, &wanted, &stored).map(|()| Vec::new())
                }
            })
        })
        .await
    }

    async fn apply(&self, frame: &Frame) -> Result<(), Error> {
        let frame = frame.clone();
        let _turn = self.turn.lock().await;
        self.run("apply", move |map| map.update(false, &mut |map| writes_of(map, &frame))).await
    }

    async fn set_marks(&self, marks: &[(Shard, Mark)]) -> Result<(), Error> {
        let mut marks = marks.to_vec();
        marks.sort_by_key(|(_, mark)| mark.ts); // the last of a shard is the one that stays
        let _turn = self.turn.lock().await;
        self.run("set_marks", move |map| {
            map.update(true, &mut |map| {
                let mut writes = Vec::new();
                for (shard, mark) in &marks {
                    let cell = Cell { ts: mark.ts, val: Some(mark.encode()), expire_at: None };
                    put(map, &mut writes, Key::mark(shard), &cell)?;
                }
                Ok(writes)
            })
        })
        .await
    }

    async fn mark(&self, shard: &Shard) -> Result<Option<Mark>, Error> {
        let key = Key::mark(shard);
        self.run("mark", move |map| {
            let Some(bytes) = map.get(&key)? else { return Ok(None) };
            let mark = layout::decode(&bytes)?.val.map(|val| Mark::decode(&val)).transpose();
            mark.map_err(|error| Error::Damaged(format!("the watermark: {error}")))
        })
        .await
    }

    async fn rows(&self, shard: &Shard, keys: &[RowKey]) -> Result<Vec<Option<Cell>>, Error> {
        let keys: Vec<_> = keys.iter().map(|key| Key::row(shard, &key.subject, &key.sort)).collect();
        self.run("rows", move |map| keys.iter().map(|key| live(map.get(key)?)).collect()).await
    }

    async fn range(&self, shard: &Shard, range: &RowRange) -> Result<Vec<(RowKey, Cell)>, Error> {
        let (shard, range) = (shard.clone(), range.clone());
        self.run("range", move |map| {
            let subject = Key::rows(&shard).text(&range.subject);
            let prefix = subject.clone().raw(&range.prefix);
            let start = range.start.as_ref().map(|start| subject.raw(start));
            let from = start.map_or(prefix.clone(), |start| start.max(prefix.clone()));
            rows_between(map, &shard, &from, &behind(&prefix), range.limit)
        })
        .await
    }

    async fn subject(&self, shard: &Shard, subject: &str) -> Result<Vec<(RowKey, Cell)>, Error> {
        let (shard, from) = (shard.clone(), Key::rows(shard).text(subject).end());
        self.run("subject", move |map| rows_between(map, &shard, &from, &behind(&from), usize::MAX)).await
    }

    async fn subjects(
        &self,
        shard: &Shard,
        prefix: &str,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
        let (rows, prefix) = (Key::rows(shard), Key::rows(shard).text_prefix(prefix));
        let after = cursor.map(layout::text).transpose()?;
        self.run("subjects", move |map| {
            let skip = rows.clone().end().len();
            let mut from = after.map_or(prefix.clone(), |after| behind(&rows.clone().text(&after).end()));
            let mut found: Vec<String> = Vec::new();
            while found.len() < limit {
                let Some(subject) = next_subject(map, skip, &from, &behind(&prefix))? else { return Ok((found, None)) };
                from = behind(&rows.clone().text(&subject).end());
                found.push(subject);
            }
            let cursor = found.last().map(|last| last.as_bytes().to_vec());
            Ok((found, cursor))
        })
        .await
    }

    async fn agenda(&self, shard: &Shard, from: &AgendaKey, to: &AgendaKey, limit: usize) -> Result<Vec<AgendaItem>, Error> {
        let (from, to) = (Key::agenda(shard, from), Key::agenda(shard, to));
        let skip = from.len().min(to.len()).min(agenda_skip(shard));
        self.run("agenda", move |map| {
            let mut items = Vec::new();
            map.scan(&from, &to, &mut |key, bytes| {
                if items.len() == limit {
                    return Ok(ControlFlow::Break(()));
                }
                if let Some(cell) = live(Some(bytes))? {
                    let due = layout::long_at(key, skip)?;
                    let id = layout::text(&key[skip + 8..])?.into();
                    items.push(agenda_item(&AgendaKey { due, id }, &cell)?);
                }
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(items)
        })
        .await
    }

    async fn agenda_item(&self, shard: &Shard, key: &AgendaKey) -> Result<Option<AgendaItem>, Error> {
        let (key, stored) = (key.clone(), Key::agenda(shard, key));
        self.run("agenda_item", move |map| live(map.get(&stored)?)?.map(|cell| agenda_item(&key, &cell)).transpose()).await
    }

    async fn agenda_items(&self, shard: &Shard, keys: &[AgendaKey]) -> Result<Vec<Option<AgendaItem>>, Error> {
        let keys: Vec<_> = keys.iter().map(|key| (key.clone(), Key::agenda(shard, key))).collect();
        self.run("agenda_items", move |map| {
            let item =
                |(key, stored): &(AgendaKey, Vec<u8>)| live(map.get(stored)?)?.map(|cell| agenda_item(key, &cell)).transpose();
            keys.iter().map(item).collect()
        })
        .await
    }

    async fn dedupe(&self, shard: &Shard, minute: i64) -> Result<Vec<DedupeRow>, Error> {
        let from = Key::minute(shard, minute).end();
        self.run("dedupe", move |map| {
            let mut rows = Vec::new();
            map.scan(&from, &behind(&from), &mut |_, bytes| {
                if let Cell { ts, val: Some(keys), .. } = layout::decode(&bytes)? {
                    rows.push(DedupeRow { minute, ts, keys });
                }
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(rows)
        })
        .await
    }

    async fn status(&self, events: &[[u8; 16]]) -> Result<Vec<Vec<StatusCell>>, Error> {
        let events = events.to_vec();
        self.run("status", move |map| events.iter().map(|event| parts_of(map, event)).collect()).await
    }

    async fn ping(&self, within: Duration) -> Result<(), Error> {
        let read = self.run("ping", |map| map.get(&Key::stream("")).map(drop));
        tokio::time::timeout(within, read).await.unwrap_or_else(|_| Err(Error::Unavailable(format!("no answer in {within:?}"))))
    }
}

fn live(bytes: Option<Bytes>) -> Result<Option<Cell>, Error> {
    let cell = bytes.map(|bytes| layout::decode(&bytes)).transpose()?;
    Ok(cell.filter(|cell| cell.val.is_some()))
}

fn rows_between<M: Ordered>(map: &M, shard: &Shard, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(RowKey, Cell)>, Error> {
    let skip = Key::rows(shard).end().len();
    let mut rows = Vec::new();
    map.scan(from, to, &mut |key, bytes| {
        if rows.len() == limit {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(cell) = live(Some(bytes))? {
            let (subject, sort) = layout::subject_and_sort(key, skip)?;
            rows.push((RowKey { subject: subject.into(), sort: sort.into() }, cell));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(rows)
}

/// The first subject at or behind `from` that has a live row.
fn next_subject<M: Ordered>(map: &M, skip: usize, from: &[u8], to: &[u8]) -> Result<Option<String>, Error> {
    let mut found = None;
    map.scan(from, to, &mut |key, bytes| {
        if live(Some(bytes))?.is_none() {
            return Ok(ControlFlow::Continue(()));
        }
        found = Some(layout::subject_and_sort(key, skip)?.0);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn parts_of<M: Ordered>(map: &M, event: &[u8; 16]) -> Result<Vec<StatusCell>, Error> {
    let from = Key::status(event).end();
    let mut parts = Vec::new();
    map.scan(&from, &behind(&from), &mut |key, bytes| {
        if let Some(cell) = live(Some(bytes))? {
            parts.push(StatusCell { part: layout::text(&key[from.len()..])?.into(), cell });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(parts)
}

/// Bytes of an agenda key before its due time.
fn agenda_skip(shard: &Shard) -> usize {
    Key::agenda(shard, &AgendaKey { due: 0, id: "".into() }).len() - 8
}

fn agenda_item(key: &AgendaKey, cell: &Cell) -> Result<AgendaItem, Error> {
    let read = || {
        let bytes = cell.val.as_ref()?;
        let length = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
        let subject = std::str::from_utf8(bytes.get(2..2 + length)?).ok()?;
        Some(AgendaItem { key: key.clone(), subject: subject.into(), val: bytes.slice(2 + length..) })
    };
    read().ok_or_else(|| Error::Damaged(format!("the agenda item {} of {}", key.id, key.due)))
}
