//! The check every subscriber can make: per channel, `seq` rises by one, nothing twice, nothing missing.

use std::collections::HashMap;

/// What one result says about its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The first of its channel, or the next one.
    Next,
    /// At or below the last one: to be dropped.
    Again,
    /// Some before it did not come; the number of them.
    Hole(u64),
}

/// The last `seq` of each channel. Holds as many channels as the caller subscribed to.
#[derive(Debug, Default)]
pub struct SeqLines {
    last: HashMap<String, u64>,
    /// Results that came again.
    pub duplicates: u64,
    /// Results that did not come, as far as later ones show.
    pub missing: u64,
}

impl SeqLines {
    /// Notes one result.
    pub fn note(&mut self, channel: &str, seq: u64) -> Step {
        let Some(last) = self.last.get_mut(channel) else {
            self.last.insert(channel.to_owned(), seq);
            return Step::Next;
        };
        if seq <= *last {
            self.duplicates += 1;
            return Step::Again;
        }
        let missing = seq - *last - 1;
        *last = seq;
        self.missing += missing;
        if missing == 0 { Step::Next } else { Step::Hole(missing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_repeats_are_told_and_counted() {
        let mut lines = SeqLines::default();
        assert_eq!(lines.note("flights/ATL", 7), Step::Next);
        assert_eq!(lines.note("flights/ATL", 8), Step::Next);
        assert_eq!(lines.note("flights/ATL", 8), Step::Again);
        assert_eq!(lines.note("flights/ATL", 11), Step::Hole(2));
        assert_eq!(lines.note("flights/ORD", 1), Step::Next);
        assert_eq!((lines.duplicates, lines.missing), (1, 2));
    }
}
