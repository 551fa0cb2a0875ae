//! What only the embedded store promises.

use std::path::Path;

use state::{Embedded, Error, StateStore};

use crate::build::{Builds, frame, key, mark, shard};
use crate::stores::run;

#[test]
fn a_frame_and_its_watermark_are_there_after_a_reopen() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path()).await.unwrap();
        store.open_stream("s", 1, 1).await.unwrap();
        store.apply(&frame("s", 1).row("a", "", Some("v"))).await.unwrap();
        store.set_marks(&[(shard("s", 0), mark("s", 1, 5))]).await.unwrap();
        drop(store);
        let store = reopened(folder.path()).await;
        assert_eq!(store.mark(&shard("s", 0)).await.unwrap(), Some(mark("s", 1, 5)));
        assert!(store.rows(&shard("s", 0), &[key("a", "")]).await.unwrap()[0].is_some());
        assert!(store.open_stream("s", 2, 1).await.is_err());
    });
}

/// The files as a killed process leaves them: copied while the store is open and has not synced.
#[test]
fn an_applied_frame_survives_the_death_of_the_process() {
    run(async {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Embedded::open(folder.path()).await.unwrap();
        for n in 1..50 {
            store.apply(&frame("s", n).row(&format!("subject-{n}"), "", Some("v"))).await.unwrap();
        }
        copy_tree(folder.path(), copy.path());
        let after = Embedded::open(copy.path()).await.unwrap();
        for n in 1..50 {
            assert!(after.rows(&shard("s", 0), &[key(&format!("subject-{n}"), "")]).await.unwrap()[0].is_some());
        }
    });
}

#[test]
fn a_folder_that_is_open_already_is_refused_with_a_sentence() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let _store = Embedded::open(folder.path()).await.unwrap();
        let second = Embedded::open(folder.path()).await;
        assert!(matches!(&second, Err(Error::Refused(text)) if text.contains("another process")), "{:?}", second.err());
    });
}

/// The folder's background threads end a moment after the last clone is dropped.
async fn reopened(path: &Path) -> Embedded {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match Embedded::open(path).await {
            Err(Error::Refused(_)) if tokio::time::Instant::now() < deadline => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
