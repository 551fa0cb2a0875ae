//! Which branch of a union a JSON value is.

use super::binary::write_length;
use super::encode::Walk;
use super::errors::code;
use super::node::{Node, Union};
use super::number::Refusal;
use super::scratch::Segment;
use super::{EncodeError, Plan, scalar};
use crate::json::{Reader, SyntaxError, Token};

const NO_BRANCH: Refusal = Refusal { code: code::NO_BRANCH, message: "no branch of the union takes this value" };
const AMBIGUOUS: Refusal =
    Refusal { code: code::AMBIGUOUS_UNION, message: "several branches could be meant, write {\"<branch>\": value}" };

impl Walk<'_, '_> {
    /// Encodes what stands next as one of the branches.
    pub(super) fn union(&mut self, index: usize, token: Token, depth: usize) -> Result<(), EncodeError> {
        let union = &self.plan.unions[index];
        match token {
            Token::Null => self.only(union, union.null, depth),
            Token::Boolean => self.only(union, union.boolean, depth),
            Token::Array => self.only(union, union.array, depth),
            Token::Object => self.object(union, depth),
            Token::Number => match union.numbers.as_slice() {
                [] => self.nothing(union, NO_BRANCH),
                [one] => self.only(union, Some(*one), depth),
                _ => {
                    let start = self.reader.at();
                    let raw = self.reader.number()?;
                    let refusal =
                        first_that_fits(union, &union.numbers, self.out, |node, out| scalar::number(node, raw, out)).err();
                    self.refuse_branches(union, refusal, start);
                    Ok(())
                }
            },
            Token::String => match (union.strings.as_slice(), union.number_strings.as_slice()) {
                ([], []) => self.nothing(union, NO_BRANCH),
                ([one], _) | ([], [one]) => self.only(union, Some(*one), depth),
                ([], numbers) => {
                    let start = self.reader.at();
                    let text = self.reader.string()?;
                    let plan = self.plan;
                    let refusal = match text.decode(&mut self.scratch.text) {
                        Ok(text) => {
                            first_that_fits(union, numbers, self.out, |node, out| scalar::text(plan, node, text, out)).err()
                        }
                        Err(_) => Some(NO_BRANCH),
                    };
                    self.refuse_branches(union, refusal, start);
                    Ok(())
                }
                _ => self.nothing(union, AMBIGUOUS),
            },
        }
    }

    fn only(&mut self, union: &Union, position: Option<usize>, depth: usize) -> Result<(), EncodeError> {
        let Some(position) = position else { return self.nothing(union, NO_BRANCH) };
        write_length(position, self.out);
        self.value(union.branches[position].node, depth)
    }

    fn object(&mut self, union: &Union, depth: usize) -> Result<(), EncodeError> {
        if let Some(position) = tag(self.plan, union, &self.reader)? {
            self.reader.open();
            if let Some(key) = self.reader.key(true)? {
                self.scratch.path.push(Segment::of(key));
                self.only(union, Some(position), depth)?;
                self.scratch.path.pop();
            }
            self.reader.key(false)?;
            return Ok(());
        }
        match union.objects.as_slice() {
            [] => self.nothing(union, NO_BRANCH),
            [one] => self.only(union, Some(*one), depth),
            _ => self.nothing(union, AMBIGUOUS),
        }
    }

    fn nothing(&mut self, union: &Union, refusal: Refusal) -> Result<(), EncodeError> {
        let start = self.reader.at();
        self.reader.skip()?;
        self.refuse_branches(union, Some(refusal), start);
        Ok(())
    }

    fn refuse_branches(&mut self, union: &Union, refusal: Option<Refusal>, start: usize) {
        if let Some(refusal) = refusal {
            self.refuse_value(refusal, start, || union.label());
        }
    }
}

/// Writes the value as the first candidate that takes it, and says which; if none does, why: what all say, else `no_branch`.
fn first_that_fits(
    union: &Union,
    candidates: &[usize],
    out: &mut Vec<u8>,
    mut write: impl FnMut(Node, &mut Vec<u8>) -> Result<(), Refusal>,
) -> Result<usize, Refusal> {
    let start = out.len();
    let mut refusal: Option<Refusal> = None;
    for position in candidates {
        write_length(*position, out);
        match write(union.branches[*position].node, out) {
            Ok(()) => return Ok(*position),
            Err(next) => refusal = Some(refusal.filter(|last| last.code != next.code).map_or(next, |_| NO_BRANCH)),
        }
        out.truncate(start);
    }
    Err(refusal.unwrap_or(NO_BRANCH))
}

/// The branch that the object next in `reader` names, if it is a tag: exactly one member, whose key is a branch's name.
///
/// In a union with one branch written as an object, a member that branch can have is no tag.
fn tag(plan: &Plan, union: &Union, reader: &Reader<'_>) -> Result<Option<usize>, SyntaxError> {
    let mut ahead = reader.clone();
    ahead.open();
    let Some(key) = ahead.key(true)? else { return Ok(None) };
    let Some(position) = union.branches.iter().position(|branch| key.is(&branch.name)) else { return Ok(None) };
    if let [object] = union.objects.as_slice() {
        let is_member = match union.branches[*object].node {
            Node::Record(record) => plan.records[record].lookup.find(&union.branches[position].name).is_some(),
            _ => true,
        };
        if is_member {
            return Ok(None);
        }
    }
    ahead.skip()?;
    Ok(ahead.key(false)?.is_none().then_some(position))
}

/// Whether `json`, a branch's value in its plain form, is read back as that branch.
pub(super) fn reads_back(plan: &Plan, union: &Union, position: usize, json: &str) -> bool {
    let mut reader = Reader::new(json);
    let mut bytes = Vec::new();
    match reader.peek() {
        Ok(Token::Null | Token::Boolean | Token::Array) => true,
        Ok(Token::Number) => match union.numbers.as_slice() {
            [one] => *one == position,
            several => first_that_fits(union, several, &mut bytes, |node, out| scalar::number(node, json, out)) == Ok(position),
        },
        Ok(Token::String) => match union.strings.as_slice() {
            [] => {
                let write = |node, out: &mut Vec<u8>| scalar::text(plan, node, json.trim_matches('"'), out);
                first_that_fits(union, &union.number_strings, &mut bytes, write) == Ok(position)
            }
            [one] => *one == position,
            _ => false,
        },
        Ok(Token::Object) => union.objects == [position] && tag(plan, union, &reader) == Ok(None),
        Err(_) => false,
    }
}
