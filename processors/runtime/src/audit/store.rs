//! C4: the store against the last images of the log.
//!
//! While the deployment runs, only what lies below both the end that was read and the mark is compared; a row whose
//! subject was written since is passed over, because the head of its subject says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use state::records::{EventStatus, HEAD_SORT};
use state::{Cell, Mark, RowKey, RowRange, Shard, StateStore};

use super::Error;
use super::book::{Book, Image, Subject, digest};
use super::report::{Check, Counts, Finding, Findings};

/// Rows asked for at once.
const PAGE: usize = 1_000;
/// Subjects, items and status entries asked for at once.
const CHUNK: usize = 256;
/// Reads on their way.
const IN_FLIGHT: usize = 32;
/// A running deployment gets this long to bring its mark to where the log was read to.
const MARK_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at the mark.
const PAUSE: Duration = Duration::from_millis(50);

/// The store of one shard, beside its log.
pub(crate) struct StoreAudit<'a> {
    pub(crate) store: &'a Arc<dyn StateStore>,
    pub(crate) shard: &'a Shard,
    pub(crate) book: &'a Book,
    /// The deployment may write meanwhile.
    pub(crate) live: bool,
    /// Reads as absent when it has expired by now, µs.
    pub(crate) now: i64,
    pub(crate) log: &'a str,
}

/// How a stored value differs from the log's last image.
enum Difference {
    /// Changed since the log was read, or not covered by the mark.
    Moved,
    /// It must not be so.
    Wrong(String),
}

impl StoreAudit<'_> {
    /// Compares everything; the mark first. True when the mark covers all that was read.
    pub(crate) async fn run(&self, findings: &mut Findings, counts: &mut Counts) -> Result<bool, Error> {
        let mark = self.mark().await?;
        self.check_mark(mark.as_ref(), findings);
        let covered = mark.map_or(0, |mark| mark.ts);
        self.rows(covered, findings, counts).await?;
        self.items(covered, findings, counts).await?;
        self.status(covered, findings, counts).await?;
        if self.book.complete {
            self.strangers(findings).await?;
        }
        Ok(covered >= self.book.tip.ts)
    }

    /// The mark; of a running deployment, once it has come to where the log was read to.
    async fn mark(&self) -> Result<Option<Mark>, Error> {
        let begun = Instant::now();
        loop {
            let mark = self.store.mark(self.shard).await?;
            let there = mark.as_ref().is_some_and(|mark| mark.ts >= self.book.tip.ts) || self.book.tip.n == 0;
            if there || !self.live || begun.elapsed() > MARK_PATIENCE {
                return Ok(mark);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn check_mark(&self, mark: Option<&Mark>, findings: &mut Findings) {
        let tip = &self.book.tip;
        let number = self.shard.number;
        let what = match mark {
            None if tip.n == 0 => return,
            None => format!("the store has no mark, the log has {} frames: start the processor, it applies them", tip.n),
            Some(mark) if mark.ts < tip.ts && self.live => {
                format!("the mark has stood at frame {} for {} s, the log is at {}", mark.n, MARK_PATIENCE.as_secs(), tip.n)
            }
            Some(mark) if mark.ts < tip.ts => {
                format!("the mark is at frame {}, the log at {}: start the processor, it applies the rest", mark.n, tip.n)
            }
            Some(mark) if mark.ts > tip.ts && !self.live => {
                format!("the mark is at frame {} (ts {}), the log ends with frame {} (ts {})", mark.n, mark.ts, tip.n, tip.ts)
            }
            Some(mark) if mark.ts == tip.ts && (mark.n, mark.applied) != (tip.n, tip.applied) => {
                format!("the mark says frame {} at {}, the log frame {} at {}", mark.n, mark.applied, tip.n, tip.applied)
            }
            Some(mark) if mark.ts == tip.ts && mark.positions != tip.positions => {
                format!("the mark's positions are {:?}, the last trailer's {:?}", mark.positions, tip.positions)
            }
            Some(_) => return,
        };
        findings.add(Finding::new(Check::C4, number, what).at(self.log, tip.applied - 1).frame(tip.ts));
    }

    async fn rows(&self, covered: i64, findings: &mut Findings, counts: &mut Counts) -> Result<(), Error> {
        let reads = self.book.subjects.iter().map(|(name, subject)| async move {
            let cells = self.subject(name).await?;
            let wrong = self.compare_subject(name, subject, &cells, covered);
            // a delete leaves no time behind: the head of the subject says whether it was written meanwhile
            let moved = self.live && !wrong.is_empty() && self.head_moved(name).await?;
            Ok::<_, Error>((name, subject.rows.len() as u64, if moved { Vec::new() } else { wrong }, moved))
        });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(IN_FLIGHT);
        while let Some((name, rows, wrong, moved)) = reads.try_next().await? {
            counts.rows += rows;
            counts.moved += u64::from(moved);
            for (sort, image, difference) in wrong {
                match difference {
                    Difference::Moved => counts.moved += 1,
                    Difference::Wrong(what) => {
                        let finding = Finding::new(Check::C4, self.shard.number, format!("row {sort:?} {what}")).of(name);
                        findings.add(match image {
                            Some(image) => finding.at(self.log, image.offset).frame(image.ts),
                            None => finding,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// All rows of a subject, page by page.
    async fn subject(&self, subject: &Arc<str>) -> Result<BTreeMap<Arc<str>, Cell>, Error> {
        let mut cells = BTreeMap::new();
        let mut start = None;
        loop {
            let range = RowRange { subject: subject.clone(), prefix: "".into(), start: start.clone(), limit: PAGE };
            let page = self.store.range(self.shard, &range).await?;
            let (count, last) = (page.len(), page.last().map(|(key, _)| format!("{}\0", key.sort)));
            cells.extend(page.into_iter().map(|(key, cell)| (key.sort, cell)));
            match last {
                Some(last) if count == PAGE => start = Some(last.into()),
                _ => return Ok(cells),
            }
        }
    }

    async fn head_moved(&self, subject: &Arc<str>) -> Result<bool, Error> {
        let key = RowKey { subject: subject.clone(), sort: HEAD_SORT.into() };
        let head = self.store.rows(self.shard, &[key]).await?.pop().flatten();
        Ok(head.is_some_and(|head| head.ts > self.book.tip.ts))
    }

    fn compare_subject<'b>(
        &self,
        name: &str,
        subject: &'b Subject,
        cells: &BTreeMap<Arc<str>, Cell>,
        covered: i64,
    ) -> Vec<(Arc<str>, Option<&'b Image>, Difference)> {
        let mut wrong = Vec::new();
        for (sort, image) in &subject.rows {
            if let Err(difference) = self.compare(image, cells.get(sort), covered) {
                wrong.push((sort.clone(), Some(image), difference));
            }
        }
        for (sort, cell) in cells.iter().filter(|(sort, _)| self.book.complete && !subject.rows.contains_key(*sort)) {
            let difference = match cell.ts > self.book.tip.ts && self.live {
                true => Difference::Moved,
                false => Difference::Wrong(format!("of {name:?} is in the store (ts {}), the log never wrote it", cell.ts)),
            };
            wrong.push((sort.clone(), None, difference));
        }
        wrong
    }

    /// One stored cell against the last image of the log.
    fn compare(&self, image: &Image, cell: Option<&Cell>, covered: i64) -> Result<(), Difference> {
        let wrong = |what: String| Err(Difference::Wrong(what));
        let tip = self.book.tip.ts;
        if let Some(cell) = cell
            && cell.ts > image.ts
        {
            return match () {
                () if cell.ts > tip && self.live => Err(Difference::Moved),
                () if cell.ts > tip => wrong(format!("is newer (ts {}) than the last frame", cell.ts)),
                () => wrong(format!("was written at {}, and no frame of that time writes it", cell.ts)),
            };
        }
        if image.ts > covered {
            return Err(Difference::Moved);
        }
        let expired = image.expire_at.is_some_and(|at| at <= self.now);
        match (image.digest, cell) {
            (None, None) => Ok(()),
            (None, Some(cell)) => wrong(format!("was deleted, the store still has it (ts {})", cell.ts)),
            (Some(_), None) if expired => Ok(()),
            (Some(_), None) => wrong("is missing in the store".to_owned()),
            (Some(_), Some(cell)) if cell.ts < image.ts => {
                wrong(format!("is old in the store (ts {}): the last frame did not arrive", cell.ts))
            }
            (Some(expected), Some(cell)) => {
                let same = cell.val.as_deref().map(digest) == Some(expected) && cell.expire_at == image.expire_at;
                if same { Ok(()) } else { wrong("differs from the log's image".to_owned()) }
            }
        }
    }

    async fn items(&self, covered: i64, findings: &mut Findings, counts: &mut Counts) -> Result<(), Error> {
        let reads = self.book.items.iter().map(|(key, item)| async move {
            let stored = self.store.agenda_item(self.shard, key).await?;
            Ok::<_, Error>((key, item, stored))
        });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(IN_FLIGHT);
        while let Some((key, item, stored)) = reads.try_next().await? {
            counts.items += 1;
            if item.image.ts > covered {
                counts.moved += 1;
                continue;
            }
            let stored_digest = stored.as_ref().map(|stored| digest(&stored.val));
            if stored_digest == item.image.digest {
                continue;
            }
            if self.live && self.item_moved(&key.id, &item.subject).await? {
                counts.moved += 1;
                continue;
            }
            let what = match (&item.image.digest, &stored) {
                (None, _) => "was deleted, the store still has it",
                (Some(_), None) => "is missing in the store",
                (Some(_), Some(_)) => "differs from the log's image",
            };
            let finding = Finding::new(Check::C4, self.shard.number, format!("agenda item {:?} due {} {what}", key.id, key.due));
            findings.add(finding.at(self.log, item.image.offset).of(&item.subject).frame(item.image.ts));
        }
        Ok(())
    }

    /// An item that is gone leaves no time behind. Timers and holds stand in their subject's head, which then was written
    /// too; others may have fired since the log was read, and nothing would tell.
    async fn item_moved(&self, id: &str, subject: &Arc<str>) -> Result<bool, Error> {
        let in_head = id.starts_with("t/") || id.starts_with("h/");
        Ok(!in_head || self.head_moved(subject).await?)
    }

    async fn status(&self, covered: i64, findings: &mut Findings, counts: &mut Counts) -> Result<(), Error> {
        let keys: Vec<_> = self.book.status.iter().collect();
        for chunk in keys.chunks(CHUNK) {
            let events: Vec<[u8; 16]> = chunk.iter().map(|((event, _), _)| *event).collect();
            for (((event, part), status), parts) in chunk.iter().zip(self.store.status(&events).await?) {
                counts.status += 1;
                let cell = parts.into_iter().find(|stored| stored.part == *part).map(|stored| stored.cell);
                if cell.as_ref().is_some_and(|cell| self.of_other_shard(cell)) {
                    continue;
                }
                match self.compare(&status.image, cell.as_ref(), covered) {
                    Ok(()) => {}
                    Err(Difference::Moved) => counts.moved += 1,
                    Err(Difference::Wrong(what)) => {
                        let key = schemas::key::EventKey(*event);
                        let finding =
                            Finding::new(Check::C4, self.shard.number, format!("status of event {key} {part:?} {what}"));
                        findings.add(finding.at(self.log, status.image.offset).frame(status.image.ts));
                    }
                }
            }
        }
        Ok(())
    }

    /// An event key used under two subjects has one status: the newer shard's.
    fn of_other_shard(&self, cell: &Cell) -> bool {
        let status = cell.val.as_deref().and_then(|val| EventStatus::decode(val).ok());
        status.is_some_and(|status| status.partition != self.shard.number || status.stream != *self.shard.stream)
    }

    /// Subjects the store has and the log has not.
    async fn strangers(&self, findings: &mut Findings) -> Result<(), Error> {
        let mut cursor = None;
        loop {
            let (subjects, next) = self.store.subjects(self.shard, "", cursor.as_deref(), CHUNK).await?;
            let unknown =
                |name: &&String| self.book.stripe.takes_subject(name) && !self.book.subjects.contains_key(name.as_str());
            for name in subjects.iter().filter(unknown) {
                let cells = self.subject(&name.as_str().into()).await?;
                for (sort, cell) in cells.iter().filter(|(_, cell)| !(self.live && cell.ts > self.book.tip.ts)) {
                    let what = format!("row {sort:?} is in the store (ts {}), the log never wrote it", cell.ts);
                    findings.add(Finding::new(Check::C4, self.shard.number, what).of(name));
                }
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }
}
