//! The checker: walks every byte of a datum and keeps nothing.

use super::binary::{Blocks, Fault, Input};
use super::capture::read_uuid;
use super::errors::{CheckError, code, push_segment};
use super::node::{Node, Record};
use super::{DEPTH_MAX, Limits, Plan};
use crate::datum::DecodeError;

/// Walks all of `datum`.
pub(super) fn check(plan: &Plan, datum: &[u8], limits: &Limits) -> Result<(), CheckError> {
    if datum.len() > limits.bytes {
        let fault = Fault { code: code::TOO_MANY, what: "more bytes than allowed", at: limits.bytes };
        return Err(fault.within(String::new()));
    }
    let mut walk = Walk::new(plan, datum, limits.items, limits.depth.min(DEPTH_MAX));
    let walked = walk.value(plan.root, 0).and_then(|()| walk.input.end());
    walked.map_err(|fault| fault.within(walk.pointer()))
}

/// The fields of the root record as slices.
pub(super) fn fields<'p, 'a>(plan: &'p Plan, datum: &'a [u8]) -> Result<Vec<(&'p str, &'a [u8])>, DecodeError> {
    let mut walk = Walk::new(plan, datum, items_in(datum), DEPTH_MAX);
    let mut slices = Vec::new();
    for field in plan.root_record().into_iter().flat_map(|record| &record.fields) {
        let start = walk.input.at();
        walk.value(field.node, 1)?;
        slices.push((field.name.as_str(), walk.input.since(start)));
    }
    walk.input.end()?;
    Ok(slices)
}

/// Entries that a datum of ours may have: as many as it has bytes, or the edge's limit where they take no bytes.
pub(super) fn items_in(datum: &[u8]) -> usize {
    datum.len().max(Limits::default().items)
}

/// One walk over one datum.
pub(super) struct Walk<'p, 'a> {
    plan: &'p Plan,
    pub(super) input: Input<'a>,
    depth_max: usize,
    /// Where a fault was found, innermost first.
    trail: Vec<String>,
}

impl<'p, 'a> Walk<'p, 'a> {
    pub(super) fn new(plan: &'p Plan, datum: &'a [u8], items: usize, depth_max: usize) -> Self {
        Walk { plan, input: Input::new(datum, items), depth_max, trail: Vec::new() }
    }

    /// Passes one value, inside `depth` containers.
    pub(super) fn value(&mut self, node: Node, depth: usize) -> Result<(), Fault> {
        let input = &mut self.input;
        match node {
            Node::Null => Ok(()),
            Node::Boolean => input.boolean().map(drop),
            Node::Int | Node::Date | Node::TimeMillis => input.int().map(drop),
            Node::Long | Node::TimeMicros | Node::Timestamp { .. } => input.long().map(drop),
            Node::Float | Node::Unsigned => input.take(4).map(drop),
            Node::Double => input.take(8).map(drop),
            Node::Bytes => input.bytes().map(drop),
            Node::String => input.string().map(drop),
            Node::Fixed(size) => input.take(size).map(drop),
            Node::Enum(index) => input.symbol(self.plan.enums[index].symbols.len()).map(drop),
            Node::Uuid(form) => read_uuid(form, input).map(drop),
            Node::Decimal { precision, fixed, .. } => input.decimal(fixed, precision).map(drop),
            Node::Array(items) => self.array(self.plan.nodes[items], self.inside(depth)?),
            Node::Map(values) => self.map(self.plan.nodes[values], self.inside(depth)?),
            Node::Record(index) => self.record(&self.plan.records[index], self.inside(depth)?),
            Node::Union(index) => {
                let branches = &self.plan.unions[index].branches;
                let position = input.branch(branches.len())?;
                self.value(branches[position].node, depth)
            }
        }
    }

    fn inside(&self, depth: usize) -> Result<usize, Fault> {
        if depth < self.depth_max {
            return Ok(depth + 1);
        }
        Err(self.input.invalid(code::TOO_DEEP, "nested deeper than allowed"))
    }

    fn record(&mut self, record: &Record, depth: usize) -> Result<(), Fault> {
        for field in &record.fields {
            self.value(field.node, depth).inspect_err(|_| self.trail.push(field.name.clone()))?;
        }
        Ok(())
    }

    fn array(&mut self, items: Node, depth: usize) -> Result<(), Fault> {
        let (mut blocks, mut index) = (Blocks::default(), 0_usize);
        while self.input.entry(&mut blocks)? {
            self.value(items, depth).inspect_err(|_| self.trail.push(index.to_string()))?;
            index += 1;
        }
        Ok(())
    }

    fn map(&mut self, values: Node, depth: usize) -> Result<(), Fault> {
        let mut blocks = Blocks::default();
        while self.input.entry(&mut blocks)? {
            let key = self.input.string()?;
            self.value(values, depth).inspect_err(|_| self.trail.push(key.to_owned()))?;
        }
        Ok(())
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for segment in self.trail.iter().rev() {
            push_segment(&mut pointer, segment);
        }
        pointer
    }
}
