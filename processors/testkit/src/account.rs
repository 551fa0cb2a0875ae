//! What a scenario did and found, told in one line that a person and a program can read.

use std::collections::BTreeMap;
use std::fmt;

/// First word of the line.
const MARK: &str = "chaos-account";

/// Figures of one scenario. Printed, it is `chaos-account NAME figure=number …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Which scenario.
    pub name: String,
    /// What was counted, e.g. `events`, `kills`, `violations`.
    pub figures: BTreeMap<String, u64>,
}

impl Account {
    /// An account without figures.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), figures: BTreeMap::new() }
    }

    /// The same with one more figure.
    #[must_use]
    pub fn with(mut self, figure: &str, count: impl TryInto<u64>) -> Self {
        // counts are not negative
        self.figures.insert(figure.to_owned(), count.try_into().unwrap_or_default());
        self
    }

    /// The account in a line of output, if there is one.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_once(MARK)?.1.split_ascii_whitespace();
        let mut account = Self::new(words.next()?);
        for word in words {
            let (figure, count) = word.split_once('=')?;
            account.figures.insert(figure.to_owned(), count.parse().ok()?);
        }
        Some(account)
    }

    /// Adds the figures of another one.
    pub fn add(&mut self, other: &Self) {
        for (figure, count) in &other.figures {
            *self.figures.entry(figure.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK} {}", self.name)?;
        self.figures.iter().try_for_each(|(figure, count)| write!(f, " {figure}={count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_the_account_that_it_was_made_of() {
        let account = Account::new("kills").with("events", 1_220_usize).with("violations", 0_u64);
        assert_eq!(account.to_string(), "chaos-account kills events=1220 violations=0");
        assert_eq!(Account::parse(&format!("test kills ... {account}")), Some(account));
        assert_eq!(Account::parse("another line"), None);
    }

    #[test]
    fn figures_add_up() {
        let mut all = Account::new("all").with("events", 1_u64);
        all.add(&Account::new("kills").with("events", 2_u64).with("kills", 3_u64));
        assert_eq!(all, Account::new("all").with("events", 3_u64).with("kills", 3_u64));
    }
}
