//! What a pointer of the catalog leads to: found in the datum, so that JSON and Avro bodies take the same way.

use std::fmt::Write as _;

use uuid::Uuid;

use super::binary::{Fault, Input};
use super::check::Walk;
use super::encode::encode_as;
use super::errors::FieldErrors;
use super::node::{Node, UuidForm};
use super::scratch::Captures;
use super::{DEPTH_MAX, EncodeOptions, Error, Plan};
use crate::json::members;

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

    /// Captures from an event that was refused for other fields: its answer names it all the same.
    pub(super) fn capture_from_json(&self, json: &str, options: &EncodeOptions<'_>, captures: &mut Captures) {
        let unknown_fields = captures.unknown_fields;
        captures.texts.resize_with(self.captures.len(), Default::default);
        for (index, path) in self.captures.iter().enumerate() {
            let mut datum = Vec::new();
            let Some((node, value)) = self.member_at(json, path) else { continue };
            let mut errors = FieldErrors::new();
            let options = EncodeOptions { fill: &[], ..*options };
            let encoded = encode_as(self, node, value, &options, &mut datum, captures, &mut errors);
            if encoded.is_ok() && errors.is_empty() {
                let (there, text) = &mut captures.texts[index];
                text.clear();
                *there = self.write_captured(node, &mut Input::new(&datum, 0), text).unwrap_or(false);
            }
        }
        captures.unknown_fields = unknown_fields;
    }

    /// The value in `json` that `path` leads to; of a repeated key, the first.
    fn member_at<'j>(&self, json: &'j str, path: &[usize]) -> Option<(Node, &'j str)> {
        let (mut node, mut value) = (self.root, json);
        for position in path {
            let Node::Record(index) = node else { return None };
            let field = &self.records[index].fields[*position];
            let mut members = members(value)?.filter_map(Result::ok);
            value = members.find(|(key, _)| key.is(&field.name))?.1;
            node = field.node;
        }
        Some((node, value))
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
