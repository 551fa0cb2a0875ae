//! What must hold for the records of a topic, whatever happened to the processes that wrote them.

use std::collections::BTreeMap;

use schemas::names::{HEADER_CAUSE, HEADER_SEQ};

use crate::kafka::Record;

/// What results of one topic say.
#[derive(Debug, Default)]
pub struct Results {
    /// The last `seq` of each subject.
    pub last_seq: BTreeMap<String, u64>,
    /// How many results each (subject, cause) has.
    pub causes: BTreeMap<(String, String), usize>,
}

/// Checks that `seq` of every subject is dense from 1 in the order of the records, and that every result names its cause.
///
/// # Panics
/// At the first record that breaks it, telling which.
pub fn results(records: &[Record]) -> Results {
    let mut found = Results::default();
    for record in records {
        let subject = record.subject();
        let place = format!("{subject} at {}/{}", record.partition, record.offset);
        let seq = record.header(HEADER_SEQ).and_then(|seq| seq.parse::<u64>().ok());
        let seq = seq.unwrap_or_else(|| panic!("{place}: no header `{HEADER_SEQ}` with a number"));
        let last = found.last_seq.entry(subject.clone()).or_default();
        assert_eq!(seq, *last + 1, "{place}: seq {seq} follows {last}");
        *last = seq;
        let cause = record.header(HEADER_CAUSE).unwrap_or_else(|| panic!("{place}: no header `{HEADER_CAUSE}`"));
        *found.causes.entry((subject, cause.to_owned())).or_default() += 1;
    }
    found
}

impl Results {
    /// Checks that `inputs` inputs caused exactly `each` results each: none was lost, none had its effect twice.
    ///
    /// # Panics
    /// When it was otherwise, telling the first few.
    pub fn exactly_once(&self, inputs: usize, each: usize) {
        let wrong: Vec<_> = self.causes.iter().filter(|(_, count)| **count != each).take(5).collect();
        assert!(wrong.is_empty(), "results per cause should be {each}, but are {wrong:?}");
        assert_eq!(self.causes.len(), inputs, "inputs with results, of those sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(subject: &str, seq: u64, cause: &str) -> Record {
        let headers = [(HEADER_SEQ, seq.to_string()), (HEADER_CAUSE, cause.to_owned())];
        let headers = headers.map(|(key, value)| (key.to_owned(), value.into_bytes())).to_vec();
        Record { partition: 0, offset: 0, timestamp_ms: -1, key: subject.as_bytes().to_vec(), value: None, headers }
    }

    #[test]
    fn dense_results_with_one_cause_each_pass() {
        let found = results(&[result("a", 1, "x"), result("b", 1, "y"), result("a", 2, "z")]);
        found.exactly_once(3, 1);
        assert_eq!(found.last_seq["a"], 2);
    }

    #[test]
    #[should_panic(expected = "seq 3 follows 1")]
    fn a_lost_result_is_found() {
        results(&[result("a", 1, "x"), result("a", 3, "y")]);
    }

    #[test]
    #[should_panic(expected = "results per cause should be 1")]
    fn an_input_processed_twice_is_found() {
        results(&[result("a", 1, "x"), result("a", 2, "x")]).exactly_once(1, 1);
    }
}
