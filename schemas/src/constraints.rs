//! Rules of a record's fields beyond their types: declared in the catalog, run by the edge and again by processors,
//! which cannot know that an event came through the edge.

use std::collections::BTreeMap;

use apache_avro::Schema;
use regex_lite::Regex;
use serde::Deserialize;

use crate::datum::DecodeError;
use crate::plan::{FieldErrors, Plan};

mod test;

#[cfg(test)]
mod tests;

/// Longest piece of a value that a violation repeats, characters.
const ACTUAL_MAX: usize = 64;

/// Rules of one field. A null value passes all of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Smallest number.
    pub min: Option<Bound>,
    /// Largest number.
    pub max: Option<Bound>,
    /// Least length: characters of a string, bytes, items of an array, entries of a map.
    pub min_len: Option<usize>,
    /// Greatest length, counted likewise.
    pub max_len: Option<usize>,
    /// Regular expression that the whole string must match.
    pub pattern: Option<String>,
    /// Well-known form of a string.
    pub format: Option<Format>,
    /// The strings allowed.
    pub one_of: Option<Vec<String>>,
}

/// A bound of numbers; fields of whole numbers take whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Whole.
    Integer(i64),
    /// Any.
    Float(f64),
}

/// Well-known forms of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `local@domain`: one `@` with something before it, a domain of labels with a dot, no white space, ≤ 254 bytes.
    Email,
    /// The 36-character form of a UUID.
    Uuid,
}

/// A rule that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The record has no such field.
    #[error("there are rules for a field {0}, which the record does not have")]
    UnknownField(String),
    /// The rule does not fit the field's type.
    #[error("field {field}: {rule} does not fit its type; it fits {fits}")]
    Unfit {
        /// Field.
        field: String,
        /// Rule.
        rule: &'static str,
        /// Types it fits.
        fits: &'static str,
    },
    /// Not a regular expression.
    #[error("field {field}: the pattern is not a regular expression: {problem}")]
    Pattern {
        /// Field.
        field: String,
        /// What is wrong.
        problem: String,
    },
}

/// The rules of a record, compiled.
#[derive(Debug, Default)]
pub struct Constraints {
    rules: BTreeMap<String, Rules>,
    tests: Vec<FieldTests>,
}

/// The tests of one field, with where it stands in the record.
#[derive(Debug)]
struct FieldTests {
    at: usize,
    field: String,
    value: test::Value,
    tests: Vec<test::Test>,
}

impl Constraints {
    /// Compiles the rules by field name; only fields of the record itself can have rules.
    ///
    /// # Errors
    /// [`Error`] when a rule names no field or does not fit it.
    pub fn compile(schema: &Schema, rules: &BTreeMap<String, Rules>) -> Result<Self, Error> {
        let fields = if let Schema::Record(record) = schema { record.fields.as_slice() } else { &[] };
        let mut tests = Vec::with_capacity(rules.len());
        for (name, rules) in rules {
            let found = fields.iter().enumerate().find(|(_, field)| field.name == *name);
            let (at, field) = found.ok_or_else(|| Error::UnknownField(name.clone()))?;
            let value = test::Value::of(&field.schema);
            tests.push(FieldTests { at, field: name.clone(), tests: test::compile(name, &value, rules)?, value });
        }
        tests.sort_by_key(|test| test.at);
        Ok(Self { rules: rules.clone(), tests })
    }

    /// The rules as declared, by field: for documents.
    #[must_use]
    pub fn rules(&self) -> &BTreeMap<String, Rules> {
        &self.rules
    }

    /// Whether there is nothing to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Adds every violation of a record to `errors`, pointers behind `prefix` (`/data` inside events).
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no datum of `plan`, which is that of the record the rules were compiled for.
    pub fn check(&self, plan: &Plan, datum: &[u8], prefix: &str, errors: &mut FieldErrors) -> Result<(), DecodeError> {
        if self.is_empty() {
            return Ok(());
        }
        let fields = plan.fields(datum)?;
        for field in &self.tests {
            let Some((_, bytes)) = fields.get(field.at) else {
                return Err(DecodeError::Invalid { what: "a field is missing", at: 0 });
            };
            if let Some(value) = field.value.read(bytes)? {
                for broken in field.tests.iter().filter_map(|test| test.broken_by(&value)) {
                    errors.push(broken.at(prefix, &field.field));
                }
            }
        }
        Ok(())
    }
}

/// A whole-string regular expression.
fn whole(pattern: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(&format!("^(?:{pattern})$"))
}
