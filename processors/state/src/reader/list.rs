//! Listing the subjects of a stream, page by page.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt, TryStreamExt, stream};

use super::{StateReader, Within};
use crate::store::Error;
use crate::types::{Shard, SubjectRows};

/// Subjects on one page at the most.
pub const LIST_MAX: usize = 1_000;
/// Row bytes behind which a page ends early.
pub const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Subjects looked at for one page; a page of mostly deleted subjects ends early.
const LOOKED_AT_MAX: usize = 10_000;
/// Subjects taken from the store at once.
const CHUNK: usize = 64;
/// Subjects read at the same time.
const READS: usize = 16;
const CURSOR_VERSION: u8 = 1;

/// One page of subjects with their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Subjects that have visible rows, in the store's order.
    pub items: Vec<(String, SubjectRows)>,
    /// Where the next page begins; `None` at the end. A page may be short, even empty, and still have one.
    pub cursor: Option<String>,
}

impl StateReader {
    /// Subjects of a stream of `partitions` shards that start with `prefix`, each read by the final-view rule, at most
    /// `limit` (cut to [`LIST_MAX`]). Order is the store's and stable under a cursor: what stays in the state is met
    /// exactly once, what comes or goes meanwhile at most once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] past the deadline, [`Error::Refused`] for a cursor that is none.
    pub async fn list(
        &self,
        stream: &str,
        partitions: i32,
        prefix: &str,
        cursor: Option<&str>,
        limit: usize,
        within: Within,
    ) -> Result<Page, Error> {
        let stream: Arc<str> = stream.into();
        let mut place = cursor.map_or(Ok(Place::default()), Place::read)?;
        let limit = limit.min(LIST_MAX);
        let (mut page, mut bytes, mut looked_at) = (Page::default(), 0, 0);
        while place.shard < partitions {
            if page.items.len() >= limit || bytes >= LIST_BYTES_MAX || looked_at >= LOOKED_AT_MAX {
                page.cursor = Some(place.write());
                break;
            }
            let shard = Shard { stream: stream.clone(), number: place.shard };
            let want = CHUNK.min(limit - page.items.len());
            let found = self.store.subjects(&shard, prefix, place.inside.as_deref(), want);
            let (subjects, next) = within.hold(found).await?;
            looked_at += subjects.len();
            for (subject, rows) in self.read_all(&shard, subjects, within).await? {
                bytes += rows.rows.values().filter_map(|cell| cell.val.as_ref()).map(bytes::Bytes::len).sum::<usize>();
                if !rows.rows.is_empty() {
                    page.items.push((subject, rows));
                }
            }
            place = Place { shard: place.shard + i32::from(next.is_none()), inside: next };
        }
        Ok(page)
    }

    async fn read_all(&self, shard: &Shard, subjects: Vec<String>, within: Within) -> Result<Vec<(String, SubjectRows)>, Error> {
        let reads = subjects.into_iter().filter(|subject| !subject.starts_with('~')).map(|subject| async move {
            let rows = self.subject(shard, &subject, within).await?;
            Ok((subject, rows))
        });
        stream::iter(reads).buffered(READS).try_collect().await
    }
}

/// Where a listing stands: a shard and the store's own cursor inside it.
#[derive(Default)]
struct Place {
    shard: i32,
    inside: Option<Vec<u8>>,
}

impl Place {
    fn write(&self) -> String {
        let mut out = vec![CURSOR_VERSION];
        out.extend_from_slice(&self.shard.to_be_bytes());
        out.push(u8::from(self.inside.is_some()));
        out.extend_from_slice(self.inside.as_deref().unwrap_or_default());
        URL_SAFE_NO_PAD.encode(out)
    }

    fn read(cursor: &str) -> Result<Self, Error> {
        let parse = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (head, inside) = bytes.split_at_checked(6)?;
            let shard = i32::from_be_bytes(head[1..5].try_into().ok()?);
            let inside = (head[5] == 1).then(|| inside.to_vec());
            (head[0] == CURSOR_VERSION && shard >= 0).then_some(Self { shard, inside })
        };
        parse().ok_or_else(|| Error::Refused("the cursor is none of this listing; begin again without one".to_owned()))
    }
}
