//! What the log of one shard says, as far as an audit needs it: images by their digests, accepted keys, frame times.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::key::EventKey;
use state::AgendaKey;
use state::records::{CANCELLED, EventStatus, HEAD_SORT, Head, State};

use super::effects::Effect;
use super::stripe::Stripe;

/// Where the chain stands behind a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset after its trailer.
    pub(crate) applied: i64,
    pub(crate) n: i64,
    /// µs.
    pub(crate) ts: i64,
    pub(crate) positions: BTreeMap<String, i64>,
    /// ms.
    pub(crate) horizon: i64,
}

/// The last image of a row, item or status entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// Frame time, µs.
    pub(crate) ts: i64,
    /// Digest of the value; `None` = deleted.
    pub(crate) digest: Option<[u8; 16]>,
    pub(crate) expire_at: Option<i64>,
    /// Offset of its DATA record.
    pub(crate) offset: i64,
}

impl Image {
    pub(crate) fn of(ts: i64, offset: i64, val: Option<&[u8]>, expire_at: Option<i64>) -> Self {
        Self { ts, digest: val.map(digest), expire_at, offset }
    }
}

/// First 16 bytes of BLAKE3.
pub(crate) fn digest(val: &[u8]) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(val).as_bytes()[..16]);
    digest
}

/// True when an event was taken up and settled by the frame of time `ts`.
fn at_once(status: &EventStatus, ts: i64) -> bool {
    let taken_up = status.history.iter().find(|step| step.state == State::Processing);
    taken_up.is_some_and(|step| step.at == ts)
}

/// What is known of one subject.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    pub(crate) rows: BTreeMap<Arc<str>, Image>,
    /// Its last head.
    pub(crate) head: Option<Head>,
    /// `seq` of the last result seen, 0 before the first.
    pub(crate) told: i64,
}

/// Last image of an agenda item.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) image: Image,
    pub(crate) subject: Arc<str>,
}

/// Last image of a status entry, and what an event's status says.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) image: Image,
    /// Of part `""` only: what it tells.
    pub(crate) told: Option<Told>,
    /// Of an effect: where it is, and attempts on record; none of one that was cancelled.
    pub(crate) effect: Option<(State, i32)>,
}

/// What an event's status tells, as far as it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) state: State,
    pub(crate) offset: i64,
    /// Results, where all of it happened in one frame; a later input may tell of results of its own.
    pub(crate) results: Option<usize>,
}

/// An event key the log says was taken up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    /// Minute of its append time.
    pub(crate) minute: i64,
    /// Offset of the trailer that says so.
    pub(crate) offset: i64,
    /// An event with this key was found for it.
    pub(crate) found: bool,
    /// Frame (ms) that told its results; 0 = none seen.
    pub(crate) told_ms: i64,
    /// Results seen with it as cause.
    pub(crate) results: u32,
}

/// The shard's log, folded.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) shard: i32,
    pub(crate) stripe: Stripe,
    /// The log begins with its first frame: what it does not name was never written.
    pub(crate) complete: bool,
    /// So do results and dead letters.
    pub(crate) whole: bool,
    /// After the first frame that is still there.
    pub(crate) first: Option<Place>,
    /// After the last frame.
    pub(crate) tip: Place,
    /// Times of all frames, ms, rising.
    pub(crate) frames_ms: Vec<i64>,
    pub(crate) frames: u64,
    pub(crate) subjects: HashMap<Arc<str>, Subject>,
    pub(crate) items: BTreeMap<AgendaKey, Item>,
    pub(crate) status: HashMap<([u8; 16], Arc<str>), Status>,
    pub(crate) accepted: HashMap<EventKey, Accepted>,
    /// Further acceptances of a key, in log order: legitimate only outside the window.
    pub(crate) again: HashMap<EventKey, Vec<Accepted>>,
    /// Effects by the id of their item.
    pub(crate) effects: HashMap<Arc<str>, Effect>,
    /// Offset of the dead letter of each event, by the event's offset.
    pub(crate) dead: HashMap<i64, i64>,
    rows: u64,
}

impl Book {
    pub(crate) fn new(shard: i32, stripe: Stripe, complete: bool) -> Self {
        Self {
            shard,
            stripe,
            complete,
            whole: false,
            first: None,
            tip: Place::default(),
            frames_ms: Vec::new(),
            frames: 0,
            subjects: HashMap::new(),
            items: BTreeMap::new(),
            status: HashMap::new(),
            accepted: HashMap::new(),
            again: HashMap::new(),
            effects: HashMap::new(),
            dead: HashMap::new(),
            rows: 0,
        }
    }

    pub(crate) fn put_row(&mut self, subject: &Arc<str>, sort: &str, image: Image, val: Option<&[u8]>) {
        if !self.stripe.takes_subject(subject) {
            return;
        }
        let known = self.subjects.entry(subject.clone()).or_default();
        if sort == HEAD_SORT {
            known.head = val.and_then(|val| Head::decode(val).ok());
        }
        self.rows += u64::from(known.rows.insert(sort.into(), image).is_none());
    }

    pub(crate) fn put_item(&mut self, key: AgendaKey, subject: &Arc<str>, image: Image) {
        if self.stripe.takes_subject(subject) {
            self.items.insert(key, Item { image, subject: subject.clone() });
        }
    }

    pub(crate) fn put_status(&mut self, event: [u8; 16], part: &str, image: Image, val: &[u8]) {
        if !self.stripe.takes_key(&EventKey(event)) {
            return;
        }
        let status = EventStatus::decode(val).ok();
        let open_or_ended = status.as_ref().filter(|status| status.outcome.as_deref() != Some(CANCELLED));
        let effect = open_or_ended.filter(|_| part.starts_with("e/")).map(|status| (status.state, status.attempts));
        let told = status.filter(|_| part.is_empty()).map(|status| Told {
            state: status.state,
            offset: status.offset,
            results: at_once(&status, image.ts)
                .then(|| status.products.iter().filter(|product| product.kind == "result").count()),
        });
        self.status.insert((event, part.into()), Status { image, told, effect });
    }

    pub(crate) fn accept(&mut self, key: EventKey, minute: i64, offset: i64) {
        if !self.stripe.takes_key(&key) {
            return;
        }
        let accepted = Accepted { minute, offset, found: false, told_ms: 0, results: 0 };
        match self.accepted.entry(key) {
            Entry::Vacant(place) => {
                place.insert(accepted);
            }
            Entry::Occupied(_) => self.again.entry(key).or_default().push(accepted),
        }
    }

    /// Keys held: rows, items, status entries, event keys, frame times.
    pub(crate) fn keys(&self) -> u64 {
        let maps = self.items.len()
            + self.status.len()
            + self.accepted.len()
            + self.again.len()
            + self.frames_ms.len()
            + self.effects.len()
            + self.dead.len();
        self.rows + maps as u64
    }

    /// True when a frame of the log has this time (ms).
    pub(crate) fn has_frame_ms(&self, ms: i64) -> bool {
        self.frames_ms.binary_search(&ms).is_ok()
    }
}
