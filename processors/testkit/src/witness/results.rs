//! Results as a reader was shown them, and as they stand in the topic.

use std::collections::BTreeMap;

use schemas::names::HEADER_SEQ;

use crate::kafka::Record;

/// What a reader of one partition has seen, as a hash over all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) hash: [u8; 16],
}

/// Results as they were read.
#[derive(Default)]
pub(super) struct Told {
    pub(super) partitions: BTreeMap<i32, Seen>,
    last_seq: BTreeMap<Vec<u8>, u64>,
    /// A second reading stops at these counts.
    until: BTreeMap<i32, Seen>,
}

impl Told {
    /// For a second reading, up to where the first one came.
    pub(super) fn again(until: BTreeMap<i32, Seen>) -> Self {
        Self { until, ..Self::default() }
    }

    pub(super) fn take(&mut self, record: &Record) {
        let seen = self.partitions.entry(record.partition).or_default();
        if self.until.get(&record.partition).is_some_and(|until| seen.count == until.count) {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seen.hash).update(&record.offset.to_be_bytes()).update(&record.key);
        for bytes in record.value.iter().chain(record.headers.iter().map(|(_, value)| value)) {
            hasher.update(&bytes.len().to_be_bytes()).update(bytes);
        }
        seen.hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        seen.count += 1;
        let seq: u64 = record.header(HEADER_SEQ).and_then(|seq| seq.parse().ok()).expect("a result has a seq");
        let last = self.last_seq.insert(record.key.clone(), seq).unwrap_or_default();
        assert_eq!(seq, last + 1, "a reader was shown seq {seq} of {} after {last}", record.subject());
    }

    pub(super) fn check_repeated(&self, first: &Self) {
        for (partition, seen) in &first.partitions {
            let again = self.partitions.get(partition).copied().unwrap_or_default();
            assert_eq!(*seen, again, "results of partition {partition} as they were shown, and as they stand in the topic");
        }
    }
}
