//! The reader's rules: final view, what is hidden, listing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use state::reader::Within;
use state::{
    AgendaItem, AgendaKey, Cell, DedupeRow, Error, Frame, Mark, Memory, RowKey, RowRange, Shard, StateReader, StateStore,
    StatusCell,
};

use crate::build::{Builds, START, frame, mark, shard};
use crate::stores::{self, run};

fn within(budget_ms: u64) -> Within {
    Within::new(START, Duration::from_millis(budget_ms))
}

#[test]
fn rows_newer_than_the_watermark_are_never_told() {
    run(async {
        let fixture = stores::memory();
        let reader = StateReader::new(fixture.store.clone());
        let zero = shard("s", 0);
        assert_eq!(reader.subject(&zero, "a", within(1_000)).await.unwrap(), state::SubjectRows::default());
        fixture.store.apply(&frame("s", 1).row("a", "", Some("1")).row("a", "~park/0", Some("p")).head("a", 4)).await.unwrap();
        for read in [reader.subject(&zero, "a", within(40)).await, reader.rows(&zero, "a", &[""], within(40)).await] {
            assert!(matches!(read, Err(Error::Unavailable(_))));
        }
        fixture.store.set_marks(&[(zero.clone(), mark("s", 1, 0))]).await.unwrap();
        let view = reader.subject(&zero, "a", within(1_000)).await.unwrap();
        assert_eq!((view.seq, view.newest_ts, view.rows.into_keys().collect::<Vec<_>>()), (4, START + 1, vec![String::new()]));
        // a deletion leaves no time behind but the head's
        fixture.store.apply(&frame("s", 2).row("a", "", None).head("a", 5)).await.unwrap();
        assert!(reader.rows(&zero, "a", &[""], within(40)).await.is_err());
        fixture.store.set_marks(&[(zero.clone(), mark("s", 2, 0))]).await.unwrap();
        let view = reader.rows(&zero, "a", &["", "b"], within(1_000)).await.unwrap();
        assert_eq!((view.seq, view.rows.len()), (5, 0));
    });
}

#[test]
fn a_range_is_read_by_the_same_rule_and_says_where_it_was_cut() {
    run(async {
        let fixture = stores::memory();
        let reader = StateReader::new(fixture.store.clone());
        let zero = shard("s", 0);
        let range = |start: Option<&str>, limit| RowRange {
            subject: "a".into(),
            prefix: "m/".into(),
            start: start.map(Into::into),
            limit,
        };
        let first = ["", "m/1", "m/2", "m/3", "n/1"];
        let written = first.into_iter().fold(frame("s", 1), |frame, sort| frame.row("a", sort, Some("v"))).head("a", 7);
        fixture.store.apply(&written).await.unwrap();
        assert!(matches!(reader.range(&zero, &range(None, 2), within(40)).await, Err(Error::Unavailable(_))));
        fixture.store.set_marks(&[(zero.clone(), mark("s", 1, 0))]).await.unwrap();
        let shown = async |range| {
            let (rows, end) = reader.range(&zero, &range, within(1_000)).await?;
            Ok::<_, Error>((rows.seq, rows.rows.into_keys().collect::<Vec<_>>().join(" "), end))
        };
        assert_eq!(shown(range(None, 2)).await.unwrap(), (7, "m/1 m/2".to_owned(), Some("m/2".to_owned())));
        assert_eq!(shown(range(Some("m/2\0"), 2)).await.unwrap(), (7, "m/3".to_owned(), None));
        // a deletion leaves no time behind but the head's
        fixture.store.apply(&frame("s", 2).row("a", "m/3", None).head("a", 8)).await.unwrap();
        assert!(shown(range(None, 9)).await.is_err());
        fixture.store.set_marks(&[(zero.clone(), mark("s", 2, 0))]).await.unwrap();
        assert_eq!(shown(range(None, 9)).await.unwrap(), (8, "m/1 m/2".to_owned(), None));
    });
}

#[test]
fn rows_of_a_shard_are_never_served() {
    run(async {
        let fixture = stores::memory();
        let zero = shard("s", 0);
        fixture.store.apply(&frame("s", 1).row("~shard/0", "", Some("hidden")).head("~shard/0", 0)).await.unwrap();
        fixture.store.set_marks(&[(zero.clone(), mark("s", 1, 0))]).await.unwrap();
        let reader = StateReader::new(fixture.store.clone());
        for read in
            [reader.subject(&zero, "~shard/0", within(1_000)).await, reader.rows(&zero, "~shard/0", &[""], within(1_000)).await]
        {
            assert!(matches!(read, Err(Error::Refused(_))));
        }
    });
}

#[test]
fn a_listing_meets_every_subject_once_and_hides_the_engines_own() {
    run(async {
        let fixture = stores::memory();
        for number in 0..3 {
            let mut written = frame("s", 1).head("gone/x", 3).row("~shard/0", "", Some("hidden")).head("~shard/0", 1);
            written.shard.number = number;
            for at in 0..30 {
                let subject = format!("acme/{number}-{at}");
                written = written.row(&subject, "", Some("v")).head(&subject, 1);
            }
            fixture.store.apply(&written).await.unwrap();
            fixture.store.set_marks(&[(written.shard, mark("s", 1, 0))]).await.unwrap();
        }
        let reader = StateReader::new(fixture.store.clone());
        let (mut all, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = reader.list("s", 3, "", cursor.as_deref(), 7, within(5_000)).await.unwrap();
            assert!(page.items.len() <= 7 && page.items.iter().all(|(_, rows)| rows.seq == 1));
            all.extend(page.items.into_iter().map(|(subject, _)| subject));
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(all.len(), 90);
        all.sort_unstable();
        all.dedup();
        assert!(all.len() == 90 && all.iter().all(|subject| subject.starts_with("acme/")));
        let foreign = reader.list("s", 3, "", Some("AAAA"), 7, within(1_000)).await;
        assert!(matches!(foreign, Err(Error::Refused(_))));
    });
}

/// Two replicas of which the second lags; a read asks one of them, as a quorum read does that meets a write on its way.
#[derive(Default)]
struct Flickering {
    ahead: Memory,
    behind: Memory,
    reads: AtomicU32,
    /// Reaches the store, with its watermark, right behind the next reading of a subject.
    late: Mutex<Option<(Frame, Mark)>>,
}

impl Flickering {
    fn pick(&self) -> &Memory {
        if self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { &self.ahead } else { &self.behind }
    }
}

#[test]
fn a_view_does_not_go_back_where_replicas_differ() {
    run(async {
        let store = Arc::new(Flickering::default());
        let reader = StateReader::new(store.clone());
        let step =
            |n: i64| frame("s", n).row("a", "", Some(&n.to_string())).row("a", "odd", (n % 2 == 1).then_some("o")).head("a", n);
        let write = async {
            for n in 1..=40 {
                store.ahead.apply(&step(n)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await; // the lag under test
                store.behind.apply(&step(n)).await.unwrap();
                for replica in [&store.ahead, &store.behind] {
                    replica.set_marks(&[(shard("s", 0), mark("s", n, 0))]).await.unwrap();
                }
            }
        };
        let (mut last, mut looked) = (0, 0);
        let read = async {
            while last < 40 {
                let view = reader.subject(&shard("s", 0), "a", within(20_000)).await.unwrap();
                assert!(view.seq >= last, "from {last} back to {}", view.seq);
                assert_eq!(view.rows.contains_key("odd"), view.seq % 2 == 1);
                last = view.seq;
                looked += 1;
                tokio::task::yield_now().await;
            }
        };
        futures::join!(write, read);
        assert!(looked > 3);
    });
}

#[test]
fn a_frame_that_was_still_on_its_way_is_not_left_out_of_a_view() {
    run(async {
        let store = Arc::new(Flickering::default());
        // the second frame is there before the first
        for replica in [&store.ahead, &store.behind] {
            replica.apply(&frame("s", 2).head("a", 2)).await.unwrap();
        }
        *store.late.lock().unwrap() = Some((frame("s", 1).row("a", "", Some("1")).head("a", 1), mark("s", 2, 0)));
        let view = StateReader::new(store).subject(&shard("s", 0), "a", within(5_000)).await.unwrap();
        assert_eq!((view.seq, view.rows.len()), (2, 1));
    });
}

#[async_trait]
impl StateStore for Flickering {
    fn kind(&self) -> &'static str {
        "flickering"
    }

    async fn open_stream(&self, _: &str, _: i32, _: i32) -> Result<(), Error> {
        Ok(())
    }

    async fn apply(&self, frame: &Frame) -> Result<(), Error> {
        self.ahead.apply(frame).await
    }

    async fn set_marks(&self, marks: &[(Shard, Mark)]) -> Result<(), Error> {
        self.ahead.set_marks(marks).await
    }

    async fn mark(&self, shard: &Shard) -> Result<Option<Mark>, Error> {
        self.ahead.mark(shard).await
    }

    async fn rows(&self, shard: &Shard, keys: &[RowKey]) -> Result<Vec<Option<Cell>>, Error> {
        self.pick().rows(shard, keys).await
    }

    async fn range(&self, shard: &Shard, range: &RowRange) -> Result<Vec<(RowKey, Cell)>, Error> {
        self.pick().range(shard, range).await
    }

    async fn subject(&self, shard: &Shard, subject: &str) -> Result<Vec<(RowKey, Cell)>, Error> {
        let rows = self.pick().subject(shard, subject).await;
        let late = self.late.lock().unwrap().take();
        if let Some((frame, mark)) = late {
            for replica in [&self.ahead, &self.behind] {
                replica.apply(&frame).await?;
                replica.set_marks(&[(shard.clone(), mark.clone())]).await?;
            }
        }
        rows
    }

    async fn subjects(
        &self,
        shard: &Shard,
        prefix: &str,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<String>, Option<Vec<u8>>), Error> {
        self.pick().subjects(shard, prefix, cursor, limit).await
    }

    async fn agenda(&self, shard: &Shard, from: &AgendaKey, to: &AgendaKey, limit: usize) -> Result<Vec<AgendaItem>, Error> {
        self.pick().agenda(shard, from, to, limit).await
    }

    async fn agenda_item(&self, shard: &Shard, key: &AgendaKey) -> Result<Option<AgendaItem>, Error> {
        self.pick().agenda_item(shard, key).await
    }

    async fn dedupe(&self, shard: &Shard, minute: i64) -> Result<Vec<DedupeRow>, Error> {
        self.pick().dedupe(shard, minute).await
    }

    async fn status(&self, events: &[[u8; 16]]) -> Result<Vec<Vec<StatusCell>>, Error> {
        self.pick().status(events).await
    }

    async fn ping(&self, within: Duration) -> Result<(), Error> {
        self.ahead.ping(within).await
    }
}
