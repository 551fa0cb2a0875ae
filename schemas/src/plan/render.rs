//! From a datum to JSON, such that reading it back gives the same datum.

use std::fmt::{Debug, Write as _};
use std::num::FpCategory;

use base64::Engine as _;

use super::binary::{Blocks, Fault, Input};
use super::capture::read_uuid;
use super::check::items_in;
use super::errors::code;
use super::node::{Node, Record, Union, Unit};
use super::scalar::BASE64;
use super::{DEPTH_MAX, Plan, civil, decimal, unions};
use crate::datum::DecodeError;
use crate::json::write_string;

/// The largest long that every JSON reader keeps exact.
const EXACT_MAX: u64 = 1 << 53;

/// Appends all of `datum` as JSON.
pub(super) fn render(plan: &Plan, datum: &[u8], out: &mut String) -> Result<(), DecodeError> {
    let mut walk = Walk { plan, input: Input::new(datum, items_in(datum)), out };
    walk.value(plan.root, 0)?;
    Ok(walk.input.end()?)
}

struct Walk<'p, 'a, 'o> {
    plan: &'p Plan,
    input: Input<'a>,
    out: &'o mut String,
}

impl Walk<'_, '_, '_> {
    fn value(&mut self, node: Node, depth: usize) -> Result<(), Fault> {
        match node {
            Node::Array(items) => self.array(self.plan.nodes[items], self.inside(depth)?),
            Node::Map(values) => self.map(self.plan.nodes[values], self.inside(depth)?),
            Node::Record(index) => self.record(&self.plan.records[index], self.inside(depth)?),
            Node::Union(index) => self.union(&self.plan.unions[index], depth),
            _ => self.scalar(node),
        }
    }

    fn scalar(&mut self, node: Node) -> Result<(), Fault> {
        let Walk { plan, input, out } = self;
        match node {
            Node::Null => out.push_str("null"),
            Node::Boolean => out.push_str(if input.boolean()? { "true" } else { "false" }),
            Node::Int => display(input.int()?, out),
            Node::Long => match input.long()? {
                exact if exact.unsigned_abs() <= EXACT_MAX => display(exact, out),
                long => quoted(out, |out| display(long, out)),
            },
            Node::Unsigned => display(input.unsigned()?, out),
            Node::Float => {
                let float = input.float()?;
                write_float(float, float.classify(), float < 0.0, out);
            }
            Node::Double => {
                let double = input.double()?;
                write_float(double, double.classify(), double < 0.0, out);
            }
            Node::String => write_string(input.string()?, out),
            Node::Bytes => {
                let bytes = input.bytes()?;
                quoted(out, |out| BASE64.encode_string(bytes, out));
            }
            Node::Fixed(size) => {
                let bytes = input.take(size)?;
                quoted(out, |out| BASE64.encode_string(bytes, out));
            }
            Node::Enum(index) => {
                let symbols = &plan.enums[index].symbols;
                write_string(&symbols[input.symbol(symbols.len())?], out);
            }
            Node::Uuid(form) => {
                let uuid = read_uuid(form, input)?;
                quoted(out, |out| display(uuid.hyphenated(), out));
            }
            Node::Decimal { precision, scale, fixed } => {
                let bytes = input.decimal(fixed, precision)?;
                quoted(out, |out| decimal::render(bytes, scale, out));
            }
            Node::Date => {
                let days = input.int()?.into();
                time(days, out, |out| civil::write_date(days, out));
            }
            Node::TimeMillis => {
                let millis = input.int()?.into();
                time(millis, out, |out| civil::write_time(millis, Unit::Millis, out));
            }
            Node::TimeMicros => {
                let micros = input.long()?;
                time(micros, out, |out| civil::write_time(micros, Unit::Micros, out));
            }
            Node::Timestamp { unit, local } => {
                let units = input.long()?;
                time(units, out, |out| civil::write_timestamp(units, unit, local, out));
            }
            Node::Array(_) | Node::Map(_) | Node::Record(_) | Node::Union(_) => {}
        }
        Ok(())
    }

    fn inside(&self, depth: usize) -> Result<usize, Fault> {
        if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(self.input.invalid(code::TOO_DEEP, "nested deeper than allowed")) }
    }

    fn array(&mut self, items: Node, depth: usize) -> Result<(), Fault> {
        let mut blocks = Blocks::default();
        let mut separator = '[';
        while self.input.entry(&mut blocks)? {
            self.out.push(separator);
            separator = ',';
            self.value(items, depth)?;
        }
        self.out.push_str(if separator == '[' { "[]" } else { "]" });
        Ok(())
    }

    fn map(&mut self, values: Node, depth: usize) -> Result<(), Fault> {
        let mut blocks = Blocks::default();
        let mut separator = '{';
        while self.input.entry(&mut blocks)? {
            self.out.push(separator);
            separator = ',';
            write_string(self.input.string()?, self.out);
            self.out.push(':');
            self.value(values, depth)?;
        }
        self.out.push_str(if separator == '{' { "{}" } else { "}" });
        Ok(())
    }

    fn record(&mut self, record: &Record, depth: usize) -> Result<(), Fault> {
        self.out.push('{');
        for (position, field) in record.fields.iter().enumerate() {
            if position > 0 {
                self.out.push(',');
            }
            write_string(&field.name, self.out);
            self.out.push(':');
            self.value(field.node, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn union(&mut self, union: &Union, depth: usize) -> Result<(), Fault> {
        let position = self.input.branch(union.branches.len())?;
        let branch = &union.branches[position];
        let start = self.out.len();
        self.value(branch.node, depth)?;
        if !unions::reads_back(self.plan, union, position, &self.out[start..]) {
            let mut tag = String::from("{");
            write_string(&branch.name, &mut tag);
            tag.push(':');
            self.out.insert_str(start, &tag);
            self.out.push('}');
        }
        Ok(())
    }
}

fn display(value: impl std::fmt::Display, out: &mut String) {
    // writing to a string cannot fail
    let _ = write!(out, "{value}");
}

fn quoted(out: &mut String, content: impl FnOnce(&mut String)) {
    out.push('"');
    content(out);
    out.push('"');
}

/// A date or time in its text, or where it has none, as the number it is.
fn time(number: i64, out: &mut String, text: impl FnOnce(&mut String) -> bool) {
    let start = out.len();
    out.push('"');
    if text(out) {
        out.push('"');
    } else {
        out.truncate(start);
        display(number, out);
    }
}

/// Shortest digits that read back as the same float; names for those that are no JSON numbers.
fn write_float(float: impl Debug, kind: FpCategory, is_negative: bool, out: &mut String) {
    match kind {
        FpCategory::Nan => out.push_str("\"NaN\""),
        FpCategory::Infinite => out.push_str(if is_negative { "\"-Infinity\"" } else { "\"Infinity\"" }),
        FpCategory::Zero | FpCategory::Subnormal | FpCategory::Normal => {
            let _ = write!(out, "{float:?}");
        }
    }
}
