//! Records on the way from JSON to Avro: members in any order, fields in the schema's.
//!
//! A member that is next in the schema is written where it belongs. Any other is written at the end of the output all the same, then
//! moved to the spill, to be put in its place when the fields before it are there or the record closes.

use super::binary::write_length;
use super::encode::{DUPLICATE_KEY, TOO_DEEP, Walk};
use super::errors::code;
use super::node::{Field, Node, Record};
use super::number::{Refusal, integer_in_string};
use super::scratch::{Segment, Slot};
use super::{EncodeError, UnknownFields, scalar};
use crate::json::Text;

const UNKNOWN_FIELD: Refusal = Refusal { code: code::UNKNOWN_FIELD, message: "the schema has no such field" };
const MISSING: Refusal = Refusal { code: code::MISSING, message: "the field is required" };
const OTHER_THAN_KNOWN: Refusal =
    Refusal { code: code::BAD_FORMAT, message: "the field says something else than the path or header" };

/// Where one open record keeps its things.
struct Open {
    /// Its first slot in the scratch.
    slots: usize,
    /// The scratch's spill below belongs to others.
    spill: usize,
    /// The first field whose bytes are not in the output yet.
    next: usize,
}

impl<'a> Walk<'a, '_> {
    /// Encodes the record that stands next as an object.
    pub(super) fn record(&mut self, index: usize, depth: usize) -> Result<(), EncodeError> {
        let record = &self.plan.records[index];
        let is_root = self.scratch.path.is_empty();
        let mut open = Open { slots: self.scratch.slots.len(), spill: self.scratch.spill.len(), next: 0 };
        self.scratch.slots.resize(open.slots + record.fields.len(), Slot::Absent);
        self.reader.open();
        let mut first = true;
        while let Some(key) = self.reader.key(first)? {
            first = false;
            self.scratch.path.push(Segment::of(key));
            match self.field_of(record, key, open.next) {
                Some(position) => self.member(record, position, &mut open, is_root, depth)?,
                None => self.unknown(depth)?,
            }
            self.scratch.path.pop();
        }
        self.close(record, &mut open, is_root);
        self.scratch.slots.truncate(open.slots);
        self.scratch.spill.truncate(open.spill);
        self.bounded()
    }

    fn field_of(&mut self, record: &Record, key: Text<'_>, guess: usize) -> Option<usize> {
        record.find(key.decode(&mut self.scratch.text).ok()?, guess)
    }

    fn member(
        &mut self,
        record: &Record,
        position: usize,
        open: &mut Open,
        is_root: bool,
        depth: usize,
    ) -> Result<(), EncodeError> {
        let slot = open.slots + position;
        if self.scratch.slots[slot] != Slot::Absent {
            self.reader.skip()?;
            self.refuse(DUPLICATE_KEY, || None, None);
            return Ok(());
        }
        let field = &record.fields[position];
        let start = self.out.len();
        self.reader.peek()?;
        let value_start = self.reader.at();
        let faults = self.faults();
        self.value(field.node, depth)?;
        if self.faults() == faults {
            self.compare_with_known(field, is_root, start, value_start);
        }
        if position == open.next {
            self.scratch.slots[slot] = Slot::Written;
            open.next += 1;
            self.unspill(open, record.fields.len());
        } else {
            let spilled = self.scratch.spill.len();
            self.scratch.spill.extend_from_slice(&self.out[start..]);
            self.out.truncate(start);
            self.scratch.slots[slot] = Slot::Spilled(spilled, self.scratch.spill.len());
        }
        Ok(())
    }

    /// Moves what has waited for the field just written.
    fn unspill(&mut self, open: &mut Open, fields: usize) {
        while open.next < fields
            && let Slot::Spilled(start, end) = self.scratch.slots[open.slots + open.next]
        {
            self.out.extend_from_slice(&self.scratch.spill[start..end]);
            open.next += 1;
        }
    }

    fn unknown(&mut self, depth: usize) -> Result<(), EncodeError> {
        self.reader.peek()?;
        let start = self.reader.at();
        match self.options.unknown_fields {
            UnknownFields::Ignore => {
                let nested = self.reader.skip()?;
                self.unknown_fields += 1;
                if depth + nested > self.options.limits.depth {
                    self.refuse(TOO_DEEP, || None, None);
                }
            }
            UnknownFields::Reject => {
                self.reader.skip()?;
                let actual = self.reader.since(start);
                self.refuse(UNKNOWN_FIELD, || None, Some(actual));
            }
        }
        Ok(())
    }

    /// Writes the fields that were not next when they came, and those that never came.
    fn close(&mut self, record: &Record, open: &mut Open, is_root: bool) {
        while let Some(field) = record.fields.get(open.next) {
            if let Slot::Spilled(start, end) = self.scratch.slots[open.slots + open.next] {
                self.out.extend_from_slice(&self.scratch.spill[start..end]);
            } else {
                self.absent(field, is_root);
            }
            open.next += 1;
        }
    }

    /// Writes a field that was not sent: what is known from elsewhere, else its default.
    fn absent(&mut self, field: &Field, is_root: bool) {
        if let Some(known) = self.known(field, is_root)
            && let Some(written) = self.write_known(field.node, known)
        {
            if let Err(refusal) = written {
                self.refuse_absent(refusal, &field.name, field.node, Some(known));
            }
        } else if let Some(default) = &field.default {
            self.out.extend_from_slice(default);
        } else {
            self.refuse_absent(MISSING, &field.name, field.node, None);
        }
    }

    /// Makes sure that a field that was sent says what is known from elsewhere.
    fn compare_with_known(&mut self, field: &Field, is_root: bool, start: usize, value_start: usize) {
        let Some(known) = self.known(field, is_root) else { return };
        let end = self.out.len();
        let written = self.write_known(field.node, known);
        let same = self.out[start..end] == self.out[end..];
        self.out.truncate(end);
        match written {
            None => {}
            Some(Ok(())) if same => {}
            Some(_) => self.refuse_value(OTHER_THAN_KNOWN, value_start, || known.to_owned()),
        }
    }

    fn known(&self, field: &Field, is_root: bool) -> Option<&'a str> {
        let fill = if is_root { self.options.fill } else { &[] };
        fill.iter().find(|(name, _)| *name == field.name).map(|(_, known)| *known)
    }

    /// Appends the text `known` as a `node`; `None` for types that take no part.
    fn write_known(&mut self, node: Node, known: &str) -> Option<Result<(), Refusal>> {
        match node {
            Node::String | Node::Uuid(_) | Node::Long => Some(scalar::text(self.plan, node, known, self.out)),
            Node::Int => Some(integer_in_string(known).and_then(|_| scalar::number(node, known, self.out))),
            Node::Union(index) => {
                let branches = &self.plan.unions[index].branches;
                let (position, branch) = branches.iter().enumerate().find(|(_, branch)| takes_known(branch.node))?;
                write_length(position, self.out);
                self.write_known(branch.node, known)
            }
            _ => None,
        }
    }
}

fn takes_known(node: Node) -> bool {
    matches!(node, Node::String | Node::Uuid(_) | Node::Int | Node::Long)
}
