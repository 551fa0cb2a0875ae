//! What a pointer of the catalog leads to: found in the datum, so that JSON and Avro bodies take the same way.

use std::fmt::Write as _;

use uuid::Uuid;

use super::binary::{Fault, Input};
use super::check::Walk;
use super::node::{Node, UuidForm};
use super::scratch::Captures;
use super::{DEPTH_MAX, Error, Plan};

impl Plan {
    /// Field positions from the root record to what `pointer` names.
    pub(super) fn capture_path(&self, pointer: &str) -> Result<Vec<usize>, Error> {
        self.find_path(pointer).ok_or_else(|| Error::Pointer { pointer: pointer.to_owned(), record: self.name.clone() })
    }

    fn find_path(&self, pointer: &str) -> Option<Vec<usize>> {
        let mut node = self.root;
        let mut path = Vec::new();
        for segment in pointer.strip_prefix('/')?.split('/') {
            let Node::Record(index) = node else { return None };
            let position = self.records[index].lookup.find(&segment.replace("~1", "/").replace("~0", "~"))?;
            node = self.records[index].fields[position].node;
            path.push(position);
        }
        self.is_capturable(node).then_some(path)
    }

    /// Whether values of the type name something: a text or a whole number, or null for nothing.
    fn is_capturable(&self, node: Node) -> bool {
        match node {
            Node::String | Node::Uuid(_) | Node::Enum(_) | Node::Int | Node::Long => true,
            Node::Union(index) => {
                let branches = &self.unions[index].branches;
                branches.len() > 1 && branches.iter().all(|branch| branch.node == Node::Null || self.is_capturable(branch.node))
            }
            _ => false,
        }
    }

    /// Captures from a datum that a walk has found good.
    pub(super) fn capture(&self, datum: &[u8], captures: &mut Captures) {
        captures.texts.resize_with(self.captures.len(), Default::default);
        for (path, (there, text)) in self.captures.iter().zip(&mut captures.texts) {
            text.clear();
            // a datum that was walked before has no faults
            *there = self.capture_one(datum, path, text).unwrap_or(false);
        }
    }

    fn capture_one(&self, datum: &[u8], path: &[usize], text: &mut String) -> Result<bool, Fault> {
        let mut walk = Walk::new(self, datum, usize::MAX, DEPTH_MAX);
        let mut node = self.root;
        for position in path {
            let Node::Record(index) = node else { return Ok(false) };
            for field in &self.records[index].fields[..*position] {
                walk.value(field.node, 1)?;
            }
            node = self.records[index].fields[*position].node;
        }
        self.write_captured(node, &mut walk.input, text)
    }

    fn write_captured(&self, node: Node, input: &mut Input<'_>, text: &mut String) -> Result<bool, Fault> {
        match node {
            Node::String => text.push_str(input.string()?),
            Node::Enum(index) => text.push_str(&self.enums[index].symbols[input.symbol(self.enums[index].symbols.len())?]),
            Node::Int | Node::Long => {
                let _ = write!(text, "{}", input.long()?);
            }
            Node::Uuid(form) => {
                let uuid = read_uuid(form, input)?;
                text.push_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
            }
            Node::Union(index) => {
                let branches = &self.unions[index].branches;
                return self.write_captured(branches[input.branch(branches.len())?].node, input, text);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads a uuid in any of its forms.
pub(super) fn read_uuid(form: UuidForm, input: &mut Input<'_>) -> Result<Uuid, Fault> {
    let bad = input.invalid(super::code::BAD_FORMAT, "a uuid is not in its form");
    let uuid = match form {
        UuidForm::String => Some(input.string()?).filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok()),
        UuidForm::Bytes => Uuid::from_slice(input.bytes()?).ok(),
        UuidForm::Fixed => Uuid::from_slice(input.take(16)?).ok(),
    };
    uuid.ok_or(bad)
}
