//! The contract of a processor: pure logic from (rows, input) to a decision.

mod reads;

use std::sync::Arc;

use bytes::Bytes;
use schemas::datum::Union;
use schemas::key::EventKey;

use crate::effects::{Effects, Start};
use crate::ticket::Ticket;

pub use self::reads::{RANGE_MAX, RangeRead, Reads, Rows};

/// A pure function over the rows of one subject. `decide` does no I/O, reads no clock and draws no random numbers:
/// time and fresh ids come from [`Context`].
pub trait Processor: Send + Sync + Sized + 'static {
    /// Stream it owns.
    const NAME: &'static str;
    /// What arrives: generated from the catalog, `schemas::<stream>::Input`.
    type Input: Union;
    /// Its rows: `schemas::<stream>::Row`.
    type Row: Union;
    /// What it tells: `schemas::<stream>::ResultEvent`.
    type ResultEvent: Union;
    /// What it sends to the streams that its catalog file names in `sends`: `schemas::<stream>::SendEvent`.
    type SendEvent: Union;

    /// The rows of the input's subject that [`Processor::decide`] will look at.
    fn reads(&self, input: &Self::Input) -> Reads;

    /// What the input does. A panic dead-letters the input.
    ///
    /// # Errors
    /// [`Rejection`] when the input is refused, must be tried again later, or can never be processed.
    fn decide(&self, input: Self::Input, rows: &Rows<Self::Row>, ctx: &Context) -> Result<Decision<Self>, Rejection>;

    /// The rows of the subject that [`Processor::timer`] will look at.
    fn timer_reads(&self, _timer: &Timer) -> Reads {
        Reads::root()
    }

    /// What a timer does that was set with [`Decision::set_timer`] and is due.
    ///
    /// # Errors
    /// As of [`Processor::decide`]. A refusal tells nobody: nobody asked.
    fn timer(&self, timer: Timer, _rows: &Rows<Self::Row>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        Err(Rejection::Terminal(format!("{} has no code for its timer {:?}", Self::NAME, timer.name)))
    }

    /// Effects it may start.
    fn effects(&self) -> Effects {
        Effects::default()
    }

    /// The rows of the subject that [`Processor::outcome`] will look at.
    fn outcome_reads(&self, _outcome: &Outcome) -> Reads {
        Reads::root()
    }

    /// What the outcome of an effect does.
    ///
    /// # Errors
    /// As of [`Processor::timer`].
    fn outcome(&self, outcome: Outcome, _rows: &Rows<Self::Row>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        Err(Rejection::Terminal(format!("{} has no code for outcomes of {:?}", Self::NAME, outcome.name)))
    }
}

/// How an effect ended that was started with [`Decision::effect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// [`Context::effect_id`] of the input that started it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Attempts recorded; the target may have been called for each.
    pub attempts: i32,
    /// What it brought, or why it brought nothing after all attempts.
    pub result: Result<Bytes, String>,
}

/// A timer that has fired. It is gone; whoever wants it again sets it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its name.
    pub name: String,
    /// When it was due, µs; [`Context::now`] is not before.
    pub due: i64,
    /// What was given along.
    pub payload: Bytes,
}

/// Timers of one subject at the most.
pub const TIMERS_MAX: usize = 64;
/// Bytes of a timer's payload at the most.
pub const TIMER_PAYLOAD_MAX: usize = 4 << 10;
/// Rows that a shard itself has at the most.
pub const SHARD_ROWS_MAX: usize = 10_000;
/// Bytes of these rows, with their sorts, at the most.
pub const SHARD_BYTES_MAX: usize = 16 << 20;
/// Bytes of a timer's name at the most.
pub const TIMER_NAME_MAX: usize = 128;

/// Who sent the event, as the edge wrote it; absent on records of Kafka-native producers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Account.
    pub account: String,
    /// User id, `key:<id>` or `cert:<san>`.
    pub id: String,
    /// Holds `admin` on the subject.
    pub admin: bool,
}

/// Everything about the input that is not its data.
#[derive(Clone, Debug)]
pub struct Context {
    /// Entity key.
    pub subject: Arc<str>,
    /// `ce_type` of the input.
    pub event_type: Arc<str>,
    /// Sender, when the edge told it.
    pub principal: Option<Principal>,
    /// `ce_time`, or the record's timestamp, µs.
    pub event_time: i64,
    /// When the broker appended the event, µs.
    pub append_time: i64,
    /// The frame's time, µs: `now` for every purpose.
    pub now: i64,
    /// Names the input: seeds [`Context::fresh_id`].
    pub cause: [u8; 16],
    /// Where the input stands in its topic; −1 when it came from none.
    pub offset: i64,
}

impl Context {
    /// What [`Decision::settle`] needs to tell the outcome of this event later. Keep it in a row.
    #[must_use]
    pub fn ticket(&self) -> Bytes {
        Ticket {
            key: EventKey(self.cause),
            offset: self.offset,
            appended: self.append_time,
            taken_up: self.now,
            event_type: self.event_type.to_string(),
        }
        .encode()
    }

    /// Id of the effect that this input starts as its `index`th, from 0.
    #[must_use]
    pub fn effect_id(&self, index: u32) -> String {
        effect_id_of(self.cause, index)
    }

    /// A UUID (version 8) made from the cause and `index`: the same again when the input is redone.
    #[must_use]
    pub fn fresh_id(&self, index: u32) -> uuid::Uuid {
        let mut hasher = blake3::Hasher::new_derive_key("forebay fresh id v1");
        hasher.update(&self.cause).update(&index.to_be_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        uuid::Uuid::new_v8(bytes)
    }
}

/// Id of an effect: the same in every attempt, and when its input is redone.
pub(crate) fn effect_id_of(cause: [u8; 16], index: u32) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("forebay effect v1");
    hasher.update(&cause).update(&index.to_be_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// What an input does, all of it or nothing.
pub struct Decision<P: Processor> {
    /// Row changes by sort: `None` deletes. The last change of a sort wins. The third part is `expire_at` (µs).
    pub rows: Vec<(String, Option<P::Row>, Option<i64>)>,
    /// Results in the order they are told.
    pub results: Vec<P::ResultEvent>,
    /// Events for other subjects, and the subject of each in the stream that has its type. Sends from one subject to
    /// another keep their order.
    pub sends: Vec<(String, P::SendEvent)>,
    /// Events for every shard of the stream that has the type.
    pub broadcasts: Vec<P::SendEvent>,
    /// Changes of the shard's own rows, as `rows`.
    pub shard_rows: Vec<(String, Option<P::Row>, Option<i64>)>,
    /// Timers of the shard's own subject, as `timers`.
    pub shard_timers: Vec<(String, Option<(i64, Bytes)>)>,
    /// Timers by name: due (µs) and payload, or `None` to clear. The last change of a name wins.
    pub timers: Vec<(String, Option<(i64, Bytes)>)>,
    /// Effects to start.
    pub effects: Vec<Start>,
    /// Ids of effects to cancel.
    pub cancels: Vec<String>,
    /// True when the input was fine and changed nothing (`unchanged`): no result is expected.
    pub unchanged: bool,
    /// True when the event is taken up and its outcome not known yet: its status stays PROCESSING until a later input of
    /// its subject settles it.
    pub open: bool,
    /// Outcome of an earlier event of this subject that was left open, by its [`Context::ticket`].
    pub settles: Option<(Bytes, Result<(), Refusal>)>,
}

impl<P: Processor> Default for Decision<P> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            results: Vec::new(),
            sends: Vec::new(),
            broadcasts: Vec::new(),
            shard_rows: Vec::new(),
            shard_timers: Vec::new(),
            timers: Vec::new(),
            effects: Vec::new(),
            cancels: Vec::new(),
            unchanged: false,
            open: false,
            settles: None,
        }
    }
}

impl<P: Processor> Decision<P> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepted, no effect, no result.
    #[must_use]
    pub fn unchanged() -> Self {
        Self { unchanged: true, ..Self::default() }
    }

    /// The outcome of this event is not known yet: a later input of its subject tells it with [`Decision::settle`].
    #[must_use]
    pub fn left_open(mut self) -> Self {
        self.open = true;
        self
    }

    /// Tells the outcome of an event that was left open. What this decision emits is told in its name; a refusal is told
    /// as its `<noun>.rejected`.
    #[must_use]
    pub fn settle(mut self, ticket: Bytes, outcome: Result<(), Refusal>) -> Self {
        self.settles = Some((ticket, outcome));
        self
    }

    /// Writes a row.
    #[must_use]
    pub fn put(mut self, sort: &str, row: P::Row) -> Self {
        self.rows.push((sort.to_owned(), Some(row), None));
        self
    }

    /// Writes a row that reads as absent from `expire_at` (µs) on.
    #[must_use]
    pub fn put_until(mut self, sort: &str, row: P::Row, expire_at: i64) -> Self {
        self.rows.push((sort.to_owned(), Some(row), Some(expire_at)));
        self
    }

    /// Deletes a row.
    #[must_use]
    pub fn delete(mut self, sort: &str) -> Self {
        self.rows.push((sort.to_owned(), None, None));
        self
    }

    /// Sets the subject's timer `name`, in the place of one that is set: at `due` (µs; a past time is now)
    /// [`Processor::timer`] gets `payload`. At most [`TIMERS_MAX`] per subject and [`TIMER_PAYLOAD_MAX`] bytes; a name
    /// is 1–[`TIMER_NAME_MAX`] bytes without `/`, and does not start with `~`.
    #[must_use]
    pub fn set_timer(mut self, name: &str, due: i64, payload: impl Into<Bytes>) -> Self {
        self.timers.push((name.to_owned(), Some((due, payload.into()))));
        self
    }

    /// Clears the subject's timer `name`, if it is set.
    #[must_use]
    pub fn clear_timer(mut self, name: &str) -> Self {
        self.timers.push((name.to_owned(), None));
        self
    }

    /// Starts the effect `name` of [`Processor::effects`], after the commit. At most
    /// [`crate::effects::EFFECT_BYTES_MAX`] bytes of argument and [`crate::effects::EFFECTS_PER_SUBJECT_MAX`] open ones.
    #[must_use]
    pub fn effect(self, name: &str, argument: impl Into<Bytes>) -> Self {
        self.effect_for(name, "", argument)
    }

    /// The same with a concurrency key of at most [`crate::effects::EFFECT_KEY_MAX`] bytes, say the account that is billed: `per_key` of the effect's
    /// [`crate::effects::Policy`] bounds attempts with the same key.
    #[must_use]
    pub fn effect_for(mut self, name: &str, key: &str, argument: impl Into<Bytes>) -> Self {
        self.effects.push(Start { name: name.to_owned(), argument: argument.into(), key: key.to_owned() });
        self
    }

    /// Cancels an effect that has no outcome yet: none will come. Its target may have been called.
    #[must_use]
    pub fn cancel_effect(mut self, id: &str) -> Self {
        self.cancels.push(id.to_owned());
        self
    }

    /// Tells a result.
    #[must_use]
    pub fn emit(mut self, result: P::ResultEvent) -> Self {
        self.results.push(result);
        self
    }

    /// Sends an event to `subject` of the stream that has its type. The receiver sees the principal of this input.
    #[must_use]
    pub fn send(mut self, subject: &str, event: P::SendEvent) -> Self {
        self.sends.push((subject.to_owned(), event));
        self
    }

    /// Sends an event to every shard of the stream that has its type and says `shard_rows = true`. Each decides it under
    /// the subject `~shard/<n>`, and so over the shard's own rows.
    #[must_use]
    pub fn broadcast(mut self, event: P::SendEvent) -> Self {
        self.broadcasts.push(event);
        self
    }

    /// Writes a row of the shard, which every input of the shard sees from then on. The catalog must say
    /// `shard_rows = true`; at most [`SHARD_ROWS_MAX`] rows and [`SHARD_BYTES_MAX`] bytes per shard.
    #[must_use]
    pub fn put_in_shard(mut self, sort: &str, row: P::Row) -> Self {
        self.shard_rows.push((sort.to_owned(), Some(row), None));
        self
    }

    /// Writes a row of the shard that reads as absent from `expire_at` (µs) on.
    #[must_use]
    pub fn put_in_shard_until(mut self, sort: &str, row: P::Row, expire_at: i64) -> Self {
        self.shard_rows.push((sort.to_owned(), Some(row), Some(expire_at)));
        self
    }

    /// Deletes a row of the shard.
    #[must_use]
    pub fn delete_in_shard(mut self, sort: &str) -> Self {
        self.shard_rows.push((sort.to_owned(), None, None));
        self
    }

    /// Sets a timer of the shard; it fires with the subject `~shard/<n>`. Bounds are those of [`Decision::set_timer`].
    #[must_use]
    pub fn set_shard_timer(mut self, name: &str, due: i64, payload: impl Into<Bytes>) -> Self {
        self.shard_timers.push((name.to_owned(), Some((due, payload.into()))));
        self
    }

    /// Clears a timer of the shard, if it is set.
    #[must_use]
    pub fn clear_shard_timer(mut self, name: &str) -> Self {
        self.shard_timers.push((name.to_owned(), None));
        self
    }
}

/// Why an input is not simply done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A business refusal: told as the result `<noun>.rejected`; the event has SUCCEEDED with outcome `rejected`.
    Refused(Refusal),
    /// Not now: again after a backoff, as the event type's `retry` and `ordering` say.
    Retry(String),
    /// Never: a dead letter with reason `terminal` and this detail.
    Terminal(String),
}

/// The body of `<noun>.rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// `invalid`, `not_found`, `gone`, `forbidden`, `exists`, `taken`, `wrong_state`, `version_conflict` or `too_many`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// JSON pointer to the field at fault.
    pub pointer: Option<String>,
    /// What would have been right.
    pub expected: Option<String>,
    /// What was found.
    pub actual: Option<String>,
}
