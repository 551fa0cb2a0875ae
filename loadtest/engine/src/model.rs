//! The measured processor: one stateful aggregate per key, as small as it can be, so that the engine's own work is what is measured.

use runtime::{Context, Decision, Processor, Reads, Rejection, Rows};
use schemas::datum::{Cursor, Datum, DecodeError, Union, write_bytes, write_long};
use schemas::frame;

/// The stream.
pub(crate) const STREAM: &str = "aggregate";
/// Its event type.
pub(crate) const EVENT: &str = "reading.taken";
/// Its result type.
pub(crate) const RESULT: &str = "reading.counted";

/// What a record has in common: two numbers, a value, and padding up to the wanted size.
const FIELDS: &str = r#"{"name":"seq","type":"long"},{"name":"value","type":"double"},{"name":"padding","type":"bytes"}"#;

/// The three records as Avro schemas: path below `avro/` and text.
pub(crate) fn avro() -> [(&'static str, String); 3] {
    let record = |name: &str, first: &str| {
        format!(r#"{{"type":"record","name":"{name}","namespace":"forebay.aggregate","fields":[{first}{FIELDS}]}}"#)
    };
    let count = r#"{"name":"count","type":"long"},"#;
    [
        ("aggregate/reading.avsc", record("Reading", "")),
        ("aggregate/counted.avsc", record("Counted", count)),
        ("aggregate/total.avsc", record("Total", count)),
    ]
}

/// An event.
pub(crate) struct Reading {
    seq: i64,
    value: f64,
    padding: Vec<u8>,
}

impl Reading {
    /// Event `number` (from 1) whose framed value has `size` bytes, or the least it can have.
    pub(crate) fn new(number: u64, size: usize) -> Self {
        let seq = i64::try_from(number).unwrap_or(i64::MAX);
        let mut bare = Vec::with_capacity(32);
        write_long(seq, &mut bare);
        let used = frame::HEAD + bare.len() + size_of::<f64>();
        Self { seq, value: 100.0 + (number % 1000) as f64 / 10.0, padding: padding(size.saturating_sub(used)) }
    }
}

/// Text-like bytes that take `size` bytes with their length in front, so that compression finds about what it finds in the peer's.
fn padding(size: usize) -> Vec<u8> {
    let mut length = size.saturating_sub(1);
    let mut prefix = Vec::with_capacity(8);
    while length > 0 {
        prefix.clear();
        write_long(length as i64, &mut prefix);
        if prefix.len() + length <= size {
            break;
        }
        length -= 1;
    }
    (0..length).map(|at| b'a' + (at * 7919 / 8 % 26) as u8).collect()
}

impl Datum for Reading {
    const RECORD: &'static str = "forebay.aggregate.Reading";

    fn encode(&self, out: &mut Vec<u8>) {
        write_long(self.seq, out);
        out.extend_from_slice(&self.value.to_le_bytes());
        write_bytes(&self.padding, out);
    }

    fn decode(datum: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(datum);
        let reading = Self { seq: cursor.long()?, value: cursor.double()?, padding: cursor.bytes()?.to_vec() };
        cursor.finish()?;
        Ok(reading)
    }
}

/// Both the row and the result: the state of a key after an event.
pub(crate) struct Total {
    /// Events of the key so far.
    pub(crate) count: i64,
    weighted: f64,
    seq: i64,
    padding: Vec<u8>,
}

impl Total {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(self.count, out);
        write_long(self.seq, out);
        out.extend_from_slice(&self.weighted.to_le_bytes());
        write_bytes(&self.padding, out);
    }

    fn read(datum: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(datum);
        let count = cursor.long()?;
        let seq = cursor.long()?;
        let total = Self { count, weighted: cursor.double()?, seq, padding: cursor.bytes()?.to_vec() };
        cursor.finish()?;
        Ok(total)
    }

    /// The count in a framed result, without reading the rest.
    pub(crate) fn count_of(framed: &[u8]) -> Option<i64> {
        let (_, datum) = frame::split(framed).ok()?;
        Cursor::new(datum).long().ok()
    }
}

/// What arrives.
pub(crate) struct Input(Reading);

impl Union for Input {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        if name == EVENT { Reading::decode(datum).map(Self) } else { Err(DecodeError::UnknownType(name.to_owned())) }
    }

    fn name(&self) -> &str {
        EVENT
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

/// The row.
pub(crate) struct Row(Total);

impl Union for Row {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        if name == "forebay.aggregate.Total" {
            Total::read(datum).map(Self)
        } else {
            Err(DecodeError::UnknownType(name.to_owned()))
        }
    }

    fn name(&self) -> &str {
        "forebay.aggregate.Total"
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

/// The result.
pub(crate) struct Counted(Total);

impl Union for Counted {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        if name == RESULT { Total::read(datum).map(Self) } else { Err(DecodeError::UnknownType(name.to_owned())) }
    }

    fn name(&self) -> &str {
        RESULT
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

/// It sends nothing to anybody.
pub(crate) enum Nothing {}

impl Union for Nothing {
    fn decode(name: &str, _: &[u8]) -> Result<Self, DecodeError> {
        Err(DecodeError::UnknownType(name.to_owned()))
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn encode(&self, _: &mut Vec<u8>) {
        match *self {}
    }
}

/// Counts the events of a key and keeps an exponentially weighted value.
pub(crate) struct Aggregate {
    /// Bytes of a row's datum, at least what the numbers take.
    pub(crate) row_bytes: usize,
}

impl Processor for Aggregate {
    const NAME: &'static str = STREAM;
    type Input = Input;
    type Row = Row;
    type ResultEvent = Counted;
    type SendEvent = Nothing;

    fn reads(&self, _: &Input) -> Reads {
        Reads::root()
    }

    fn decide(&self, Input(event): Input, rows: &Rows<Row>, _: &Context) -> Result<Decision<Self>, Rejection> {
        let (count, weighted) = match rows.get("") {
            Some(Row(total)) => (total.count + 1, total.weighted * 0.95 + event.value * 0.05),
            None => (1, event.value),
        };
        let seq = event.seq;
        let mut numbers = Vec::with_capacity(32);
        write_long(count, &mut numbers);
        let row = numbers.len() + 3 + size_of::<f64>();
        let row = Total { count, weighted, seq, padding: padding(self.row_bytes.saturating_sub(row)) };
        // the result has the input's size: the count takes from the padding what it needs
        let mut rest = event.padding;
        rest.truncate(rest.len().saturating_sub(numbers.len()));
        let result = Total { count, weighted, seq, padding: rest };
        Ok(Decision::new().put("", Row(row)).emit(Counted(result)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_wanted_size() {
        for (number, size) in [(1, 200), (1_000_000, 200), (5, 100_000), (5, 1)] {
            let mut datum = Vec::new();
            Reading::new(number, size).encode(&mut datum);
            let framed = frame::HEAD + datum.len();
            assert!(framed == size || size < 20, "{framed} of {size}");
            assert_eq!(Reading::decode(&datum).unwrap().seq, number as i64);
        }
    }

    #[test]
    fn a_result_gives_its_count() {
        let total = Total { count: 300, weighted: 1.0, seq: 7, padding: vec![0; 9] };
        let mut framed = Vec::new();
        frame::begin(1, &mut framed);
        total.write(&mut framed);
        assert_eq!(Total::count_of(&framed), Some(300));
    }
}
