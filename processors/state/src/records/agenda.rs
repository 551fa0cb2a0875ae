//! Agenda items and parked inputs: what waits for its time.

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{Error, HISTORY_MAX, State, Step};

/// Layout of [`Item`] and [`Parked`].
const VERSION: u8 = 1;
/// Bytes of an input that is kept, with its headers, at the most.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// What an agenda item is, by its id: `t/<subject>/<name>`, `r/<event key>`, `h/<subject>`,
/// `e/<effect id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A timer of the subject.
    Timer {
        /// Its name.
        name: String,
        /// What the processor gave along.
        payload: Bytes,
    },
    /// An input that is tried again; later ones pass it.
    Retry(Parked),
    /// The subject is held: its parked inputs are tried again.
    Held,
    /// Work outside that was started.
    Effect(Effect),
}

/// An effect that has no outcome yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// Its name.
    pub name: String,
    /// What the processor gave along.
    pub argument: Bytes,
    /// Effects of one target with the same key share a bound; empty = none.
    pub key: String,
    /// Attempts made, one that is under way included.
    pub attempts: i32,
    /// An attempt is under way; the item is due when its lease ends.
    pub processing: bool,
    /// Key and offset of the event whose status shows it.
    pub event: Option<([u8; 16], i64)>,
    /// Steps so far.
    pub history: Vec<Step>,
}

/// An input that waits, in an item or in a row `~park/<n>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The input.
    pub input: Input,
    /// Attempts made; 0 for one that waits behind another.
    pub attempts: i32,
    /// When it may be tried again, µs.
    pub next_attempt: i64,
    /// Steps of its lifecycle so far.
    pub history: Vec<Step>,
}

/// An input as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where from.
    pub source: Source,
    /// When it was appended, as the shard counts it, ms; of a timer its due time.
    pub appended_ms: i64,
    /// Value of the record, or payload of the timer.
    pub value: Bytes,
}

/// Where an input came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A record of an input topic (name without prefix); its partition is the shard.
    Record {
        /// Topic.
        topic: String,
        /// Offset.
        offset: i64,
        /// Headers, in the engine's flat form.
        headers: Bytes,
    },
    /// A timer of this name, which was due then (µs).
    Timer {
        /// Name.
        name: String,
        /// µs.
        due: i64,
    },
    /// The outcome of an effect; its value is what it brought, or why it brought nothing.
    Outcome {
        /// The effect.
        id: String,
        /// Its name.
        name: String,
        /// Attempts made.
        attempts: i32,
        /// Whether it succeeded.
        ok: bool,
    },
}

impl Item {
    /// The item's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION, 64);
        match self {
            Self::Timer { name, payload } => {
                out.long(0);
                out.string(name);
                out.bytes(payload);
            }
            Self::Retry(parked) => {
                out.long(1);
                parked.write(&mut out);
            }
            Self::Held => out.long(2),
            Self::Effect(effect) if effect.key.is_empty() => {
                out.long(3);
                effect.write(&mut out);
            }
            Self::Effect(effect) => {
                out.long(4);
                out.string(&effect.key);
                effect.write(&mut out);
            }
        }
        out.finish()
    }

    /// Reads the item's bytes.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn decode(item: &[u8]) -> Result<Self, Error> {
        let mut item = Reader::new(item, VERSION)?;
        let decoded = match item.long()? {
            0 => Self::Timer { name: item.string()?, payload: item.bytes(INPUT_BYTES_MAX)? },
            1 => Self::Retry(Parked::read(&mut item)?),
            2 => Self::Held,
            3 => Self::Effect(Effect::read(&mut item)?),
            4 => {
                let key = item.string()?;
                Self::Effect(Effect { key, ..Effect::read(&mut item)? })
            }
            _ => return Err(item.invalid("an unknown kind of item")),
        };
        item.end()?;
        Ok(decoded)
    }
}

impl Effect {
    fn write(&self, out: &mut Writer) {
        out.string(&self.name);
        out.bytes(&self.argument);
        out.long(i64::from(self.attempts));
        out.long(i64::from(self.processing));
        out.optional(self.event, |out, (key, offset)| {
            out.fixed(&key);
            out.long(offset);
        });
        write_history(out, &self.history);
    }

    fn read(row: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            name: row.string()?,
            argument: row.bytes(INPUT_BYTES_MAX)?,
            key: String::new(),
            attempts: row.int()?,
            processing: row.long()? != 0,
            event: row.optional(|row| {
                let key = row.fixed(16)?.try_into().map_err(|_| row.invalid("an event key"))?;
                Ok((key, row.long()?))
            })?,
            history: read_history(row)?,
        })
    }
}

fn write_history(out: &mut Writer, history: &[Step]) {
    out.block(history.iter(), |out, step| {
        out.long(step.state as i64);
        out.long(step.at);
    });
}

fn read_history(row: &mut Reader<'_>) -> Result<Vec<Step>, Error> {
    row.blocks(HISTORY_MAX, |row| Ok(Step { state: State::read(row)?, at: row.long()? }))
}

impl Parked {
    /// The row's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::new(VERSION, 96 + self.input.value.len());
        self.write(&mut out);
        out.finish()
    }

    /// Reads the row's bytes.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn decode(row: &[u8]) -> Result<Self, Error> {
        let mut row = Reader::new(row, VERSION)?;
        let parked = Self::read(&mut row)?;
        row.end()?;
        Ok(parked)
    }

    fn write(&self, out: &mut Writer) {
        match &self.input.source {
            Source::Record { topic, offset, headers } => {
                out.long(0);
                out.string(topic);
                out.long(*offset);
                out.bytes(headers);
            }
            Source::Timer { name, due } => {
                out.long(1);
                out.string(name);
                out.long(*due);
            }
            Source::Outcome { id, name, attempts, ok } => {
                out.long(2);
                out.string(id);
                out.string(name);
                out.long(i64::from(*attempts));
                out.long(i64::from(*ok));
            }
        }
        out.long(self.input.appended_ms);
        out.bytes(&self.input.value);
        out.long(i64::from(self.attempts));
        out.long(self.next_attempt);
        write_history(out, &self.history);
    }

    fn read(row: &mut Reader<'_>) -> Result<Self, Error> {
        let source = match row.long()? {
            0 => Source::Record { topic: row.string()?, offset: row.long()?, headers: row.bytes(INPUT_BYTES_MAX)? },
            1 => Source::Timer { name: row.string()?, due: row.long()? },
            2 => Source::Outcome { id: row.string()?, name: row.string()?, attempts: row.int()?, ok: row.long()? != 0 },
            _ => return Err(row.invalid("an unknown source of an input")),
        };
        Ok(Self {
            input: Input { source, appended_ms: row.long()?, value: row.bytes(INPUT_BYTES_MAX)? },
            attempts: row.int()?,
            next_attempt: row.long()?,
            history: read_history(row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_back_as_it_was() {
        let record = Source::Record { topic: "orders.events".into(), offset: 7, headers: Bytes::from_static(b"headers") };
        let timer = Source::Timer { name: "hold".into(), due: 5 };
        let outcome = Source::Outcome { id: "ab".into(), name: "mail".into(), attempts: 3, ok: true };
        for source in [record, timer, outcome] {
            let parked = Parked {
                input: Input { source, appended_ms: 1, value: vec![3; 100_000].into() },
                attempts: 2,
                next_attempt: 9,
                history: vec![Step { state: State::Queued, at: 1 }],
            };
            assert_eq!(Parked::decode(&parked.encode()).unwrap(), parked);
            let item = Item::Retry(parked);
            assert_eq!(Item::decode(&item.encode()).unwrap(), item);
        }
        let timer = Item::Timer { name: "hold".into(), payload: Bytes::from_static(b"x") };
        assert_eq!(Item::decode(&timer.encode()).unwrap(), timer);
        assert_eq!(Item::decode(&Item::Held.encode()).unwrap(), Item::Held);
        for key in ["", "to@example.com"] {
            let effect = Item::Effect(Effect {
                name: "mail".into(),
                argument: Bytes::from_static(b"to"),
                key: key.into(),
                attempts: 1,
                processing: true,
                event: Some(([7; 16], 40)),
                history: vec![Step { state: State::Queued, at: 1 }],
            });
            assert_eq!(Item::decode(&effect.encode()).unwrap(), effect);
        }
        assert!(Item::decode(&[VERSION, 40]).is_err());
        assert!(Item::decode(&timer.encode()[..4]).is_err());
    }
}
