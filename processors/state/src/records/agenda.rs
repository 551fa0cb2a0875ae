//! Agenda items and parked inputs: what waits for its time.

use bytes::Bytes;

use super::wire::{Reader, Writer};
use super::{Error, HISTORY_MAX, State, Step};

/// Layout of [`Item`] and [`Parked`].
const VERSION: u8 = 1;
/// Bytes of an input that is kept, with its headers, at the most.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// What an agenda item is, by its id: `t/<subject>/<name>`, `r/<event key>`, `h/<subject>`.
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
            _ => return Err(item.invalid("an unknown kind of item")),
        };
        item.end()?;
        Ok(decoded)
    }
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
        }
        out.long(self.input.appended_ms);
        out.bytes(&self.input.value);
        out.long(i64::from(self.attempts));
        out.long(self.next_attempt);
        out.block(self.history.iter(), |out, step| {
            out.long(step.state as i64);
            out.long(step.at);
        });
    }

    fn read(row: &mut Reader<'_>) -> Result<Self, Error> {
        let source = match row.long()? {
            0 => Source::Record { topic: row.string()?, offset: row.long()?, headers: row.bytes(INPUT_BYTES_MAX)? },
            1 => Source::Timer { name: row.string()?, due: row.long()? },
            _ => return Err(row.invalid("an unknown source of an input")),
        };
        Ok(Self {
            input: Input { source, appended_ms: row.long()?, value: row.bytes(INPUT_BYTES_MAX)? },
            attempts: row.int()?,
            next_attempt: row.long()?,
            history: row.blocks(HISTORY_MAX, |row| Ok(Step { state: State::read(row)?, at: row.long()? }))?,
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
        for source in [record, timer] {
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
        assert!(Item::decode(&[VERSION, 40]).is_err());
        assert!(Item::decode(&timer.encode()[..4]).is_err());
    }
}
