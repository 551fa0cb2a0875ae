//! A processor behind bytes: what the engine drives, whatever the types of the processor are.

use std::sync::Arc;

use bytes::Bytes;
use schemas::datum::{DecodeError, Union};

use crate::effects::{Effects, Start};
use crate::processor::{Context, Decision, Outcome, Processor, Reads, Refusal, Rejection, Rows, Timer};

/// A processor as the engine sees it. Every [`Processor`] is one through [`of`].
pub trait Logic: Send + Sync + 'static {
    /// Stream it owns.
    fn name(&self) -> &'static str;

    /// Decodes an input.
    ///
    /// # Errors
    /// What is wrong with the bytes, or that the type is unknown.
    fn open(&self, event_type: &str, datum: &[u8]) -> Result<Box<dyn Opened>, DecodeError>;

    /// A timer that fires.
    fn timer(&self, timer: Timer) -> Box<dyn Opened>;

    /// The outcome of an effect.
    fn outcome(&self, outcome: Outcome) -> Box<dyn Opened>;

    /// The effects it may start.
    fn effects(&self) -> Effects;
}

/// A decoded input, ready to be decided.
pub trait Opened: Send {
    /// Rows it needs.
    fn reads(&self) -> Reads;

    /// Decides it over raw rows.
    ///
    /// # Errors
    /// The processor's rejection.
    fn decide(self: Box<Self>, rows: &RawRows, ctx: &Context) -> Result<RawDecision, Rejection>;
}

/// The rows an input asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRows {
    /// Those of its subject.
    pub own: Vec<RawRow>,
    /// Those of its shard.
    pub shard: Vec<RawRow>,
}

/// A row's image without its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRow {
    /// Sort.
    pub sort: Arc<str>,
    /// Full name of its record.
    pub record: Arc<str>,
    /// Avro datum.
    pub datum: Bytes,
}

/// A row change without types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawChange {
    /// Sort.
    pub sort: Arc<str>,
    /// Full record name and datum; `None` deletes.
    pub row: Option<(String, Bytes)>,
    /// µs.
    pub expire_at: Option<i64>,
}

/// An event for another subject, without types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSend {
    /// Subject in the stream that has the type.
    pub subject: String,
    /// Event type.
    pub event_type: String,
    /// Avro datum.
    pub datum: Bytes,
}

/// Timers by name: due (µs) and payload, or `None` to clear.
pub type RawTimers = Vec<(String, Option<(i64, Bytes)>)>;

/// A decision without types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawDecision {
    /// Row changes.
    pub rows: Vec<RawChange>,
    /// Results: type and datum.
    pub results: Vec<(String, Bytes)>,
    /// Events for other subjects, in order.
    pub sends: Vec<RawSend>,
    /// Events for every shard of a stream: type and datum.
    pub broadcasts: Vec<(String, Bytes)>,
    /// Timers of the subject.
    pub timers: RawTimers,
    /// Changes of the shard's rows.
    pub shard_rows: Vec<RawChange>,
    /// Timers of the shard.
    pub shard_timers: RawTimers,
    /// Effects to start.
    pub effects: Vec<Start>,
    /// Effects to cancel, by id.
    pub cancels: Vec<String>,
    /// See [`crate::Decision::unchanged`].
    pub unchanged: bool,
    /// See [`crate::Decision::left_open`].
    pub open: bool,
    /// See [`crate::Decision::settle`].
    pub settles: Option<(Bytes, Result<(), Refusal>)>,
}

/// The logic of a typed processor.
pub fn of<P: Processor>(processor: P) -> Arc<dyn Logic> {
    Arc::new(Typed(Arc::new(processor)))
}

struct Typed<P>(Arc<P>);

impl<P: Processor> Logic for Typed<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn open(&self, event_type: &str, datum: &[u8]) -> Result<Box<dyn Opened>, DecodeError> {
        let input = P::Input::decode(event_type, datum)?;
        Ok(Box::new(TypedInput { processor: self.0.clone(), input }))
    }

    fn timer(&self, timer: Timer) -> Box<dyn Opened> {
        Box::new(TypedTimer { processor: self.0.clone(), timer })
    }

    fn outcome(&self, outcome: Outcome) -> Box<dyn Opened> {
        Box::new(TypedOutcome { processor: self.0.clone(), outcome })
    }

    fn effects(&self) -> Effects {
        self.0.effects()
    }
}

struct TypedInput<P: Processor> {
    processor: Arc<P>,
    input: P::Input,
}

impl<P: Processor> Opened for TypedInput<P> {
    fn reads(&self) -> Reads {
        self.processor.reads(&self.input)
    }

    fn decide(self: Box<Self>, rows: &RawRows, ctx: &Context) -> Result<RawDecision, Rejection> {
        Ok(raw(self.processor.decide(self.input, &typed::<P>(rows)?, ctx)?))
    }
}

struct TypedTimer<P: Processor> {
    processor: Arc<P>,
    timer: Timer,
}

impl<P: Processor> Opened for TypedTimer<P> {
    fn reads(&self) -> Reads {
        self.processor.timer_reads(&self.timer)
    }

    fn decide(self: Box<Self>, rows: &RawRows, ctx: &Context) -> Result<RawDecision, Rejection> {
        Ok(raw(self.processor.timer(self.timer, &typed::<P>(rows)?, ctx)?))
    }
}

struct TypedOutcome<P: Processor> {
    processor: Arc<P>,
    outcome: Outcome,
}

impl<P: Processor> Opened for TypedOutcome<P> {
    fn reads(&self) -> Reads {
        self.processor.outcome_reads(&self.outcome)
    }

    fn decide(self: Box<Self>, rows: &RawRows, ctx: &Context) -> Result<RawDecision, Rejection> {
        Ok(raw(self.processor.outcome(self.outcome, &typed::<P>(rows)?, ctx)?))
    }
}

fn typed<P: Processor>(rows: &RawRows) -> Result<Rows<P::Row>, Rejection> {
    let typed = |row: &RawRow| {
        let decoded = P::Row::decode(&row.record, &row.datum)
            .map_err(|error| Rejection::Terminal(format!("row {:?} of record {}: {error}", row.sort, row.record)))?;
        Ok((row.sort.clone(), decoded))
    };
    let own: Vec<_> = rows.own.iter().map(typed).collect::<Result<_, Rejection>>()?;
    let shard: Vec<_> = rows.shard.iter().map(typed).collect::<Result<_, Rejection>>()?;
    Ok(Rows::new(own).with_shard(shard))
}

fn raw<P: Processor>(decision: Decision<P>) -> RawDecision {
    let change = |(sort, row, expire_at): (String, Option<P::Row>, Option<i64>)| RawChange {
        sort: sort.into(),
        row: row.map(|row| (row.name().to_owned(), bytes_of(&row))),
        expire_at,
    };
    let results = decision.results.iter().map(|result| (result.name().to_owned(), bytes_of(result)));
    let sends = decision.sends.iter().map(|(subject, event)| RawSend {
        subject: subject.clone(),
        event_type: event.name().to_owned(),
        datum: bytes_of(event),
    });
    let broadcasts = decision.broadcasts.iter().map(|event| (event.name().to_owned(), bytes_of(event)));
    RawDecision {
        rows: decision.rows.into_iter().map(change).collect(),
        results: results.collect(),
        sends: sends.collect(),
        broadcasts: broadcasts.collect(),
        timers: decision.timers,
        shard_rows: decision.shard_rows.into_iter().map(change).collect(),
        shard_timers: decision.shard_timers,
        effects: decision.effects,
        cancels: decision.cancels,
        unchanged: decision.unchanged,
        open: decision.open,
        settles: decision.settles,
    }
}

fn bytes_of(value: &impl Union) -> Bytes {
    let mut out = Vec::with_capacity(64);
    value.encode(&mut out);
    out.into()
}
