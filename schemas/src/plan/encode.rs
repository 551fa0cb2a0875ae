//! The one walk from JSON to Avro: values, arrays and maps. Records and unions have their own files.

use super::binary::close_block;
use super::errors::{FieldError, FieldErrors, code, push_segment};
use super::node::Node;
use super::number::Refusal;
use super::scratch::{Captures, Scratch, Segment};
use super::{DEPTH_MAX, EncodeError, EncodeOptions, Plan, scalar};
use crate::datum::write_bytes;
use crate::json::{Reader, Text, Token};

/// Encodes one value; see [`Plan::encode`].
pub(super) fn encode(
    plan: &Plan,
    json: &str,
    options: &EncodeOptions<'_>,
    out: &mut Vec<u8>,
    captures: &mut Captures,
    errors: &mut FieldErrors,
) -> Result<(), EncodeError> {
    let (start, faults) = (out.len(), errors.count());
    captures.clear();
    let walked = encode_as(plan, plan.root, json, options, out, captures, errors);
    if walked.is_err() {
        out.truncate(start);
    } else if errors.count() > faults {
        out.truncate(start);
        plan.capture_from_json(json, options, captures);
    } else {
        plan.capture(&out[start..], captures);
    }
    walked
}

/// Encodes one value as a `root`, without captures.
pub(super) fn encode_as(
    plan: &Plan,
    root: Node,
    json: &str,
    options: &EncodeOptions<'_>,
    out: &mut Vec<u8>,
    captures: &mut Captures,
    errors: &mut FieldErrors,
) -> Result<(), EncodeError> {
    let mut walk = Walk {
        plan,
        options,
        json,
        reader: Reader::new(json),
        start: out.len(),
        items: 0,
        unknown_fields: 0,
        out,
        scratch: &mut captures.scratch,
        errors,
    };
    let walked = walk.whole(root);
    captures.unknown_fields = walk.unknown_fields;
    walked
}

/// One walk over one value.
pub(super) struct Walk<'a, 'p> {
    pub(super) plan: &'p Plan,
    pub(super) options: &'a EncodeOptions<'a>,
    json: &'a str,
    pub(super) reader: Reader<'a>,
    start: usize,
    /// Array and map entries so far.
    items: usize,
    pub(super) unknown_fields: usize,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) scratch: &'a mut Scratch,
    errors: &'a mut FieldErrors,
}

impl<'a> Walk<'a, '_> {
    fn whole(&mut self, root: Node) -> Result<(), EncodeError> {
        self.value(root, 0)?;
        self.reader.end()?;
        self.bounded()
    }

    /// Encodes the value that stands next, inside `depth` containers.
    pub(super) fn value(&mut self, node: Node, depth: usize) -> Result<(), EncodeError> {
        match (node, self.reader.peek()?) {
            (Node::Union(union), token) => self.union(union, token, depth),
            (Node::Record(record), Token::Object) if self.may_enter(depth)? => self.record(record, depth + 1),
            (Node::Array(items), Token::Array) if self.may_enter(depth)? => self.array(self.plan.nodes[items], depth + 1),
            (Node::Map(values), Token::Object) if self.may_enter(depth)? => self.map(self.plan.nodes[values], depth + 1),
            (Node::Record(_) | Node::Map(_), Token::Object) | (Node::Array(_), Token::Array) => Ok(()),
            (node, token) => self.scalar(node, token),
        }
    }

    fn scalar(&mut self, node: Node, token: Token) -> Result<(), EncodeError> {
        let start = self.reader.at();
        let written = match token {
            Token::Null => {
                self.reader.null()?;
                if node == Node::Null { Ok(()) } else { Err(Refusal::WRONG_TYPE) }
            }
            Token::Boolean => {
                let value = self.reader.boolean()?;
                self.out.push(u8::from(value));
                if node == Node::Boolean { Ok(()) } else { Err(Refusal::WRONG_TYPE) }
            }
            Token::Number => scalar::number(node, self.reader.number()?, self.out),
            Token::String => {
                let text = self.reader.string()?;
                self.string(node, text)
            }
            Token::Array | Token::Object => {
                self.reader.skip()?;
                Err(Refusal::WRONG_TYPE)
            }
        };
        if let Err(refusal) = written {
            self.refuse_value(refusal, start, || self.plan.label(node));
        }
        Ok(())
    }

    /// Appends what the string `text` is as a `node`.
    pub(super) fn string(&mut self, node: Node, text: Text<'_>) -> Result<(), Refusal> {
        match text.decode(&mut self.scratch.text) {
            Ok(text) => scalar::text(self.plan, node, text, self.out),
            Err(_) => Err(LONE_SURROGATE),
        }
    }

    fn array(&mut self, items: Node, depth: usize) -> Result<(), EncodeError> {
        let (start, mut count) = (self.out.len(), 0);
        self.out.push(0);
        self.reader.open();
        while self.reader.item(count == 0)? {
            self.scratch.path.push(Segment::Index(count));
            if self.may_add()? {
                self.value(items, depth)?;
            }
            self.scratch.path.pop();
            count += 1;
            self.bounded()?;
        }
        close_block(start, count, self.out);
        Ok(())
    }

    fn map(&mut self, values: Node, depth: usize) -> Result<(), EncodeError> {
        let (start, mut count) = (self.out.len(), 0);
        let first_key = self.scratch.keys.len();
        self.out.push(0);
        self.reader.open();
        while let Some(key) = self.reader.key(count == 0)? {
            self.scratch.path.push(Segment::of(key));
            if self.may_add()? {
                self.map_key(key, start);
                self.value(values, depth)?;
            }
            self.scratch.path.pop();
            count += 1;
            self.bounded()?;
        }
        self.find_repeated_keys(first_key, start);
        close_block(start, count, self.out);
        Ok(())
    }

    fn map_key(&mut self, key: Text<'_>, map_start: usize) {
        match key.decode(&mut self.scratch.text) {
            Ok(key) => {
                write_bytes(key.as_bytes(), self.out);
                let end = self.out.len() - map_start;
                self.scratch.keys.push((end - key.len(), end));
            }
            Err(_) => self.refuse(LONE_SURROGATE, || None, None),
        }
    }

    /// Keys of a map may be many and come from outside: sorting bounds the work.
    fn find_repeated_keys(&mut self, first: usize, map_start: usize) {
        let bytes = &self.out[map_start..];
        self.scratch.keys[first..].sort_unstable_by_key(|(start, end)| &bytes[*start..*end]);
        for pair in self.scratch.keys[first..].windows(2) {
            let [earlier, later] = [pair[0], pair[1]].map(|(start, end)| &bytes[start..end]);
            if earlier == later {
                self.errors.push_with(|| {
                    let mut pointer = pointer(self.options.prefix, self.json, &self.scratch.path);
                    push_segment(&mut pointer, &String::from_utf8_lossy(later));
                    FieldError::new(pointer, DUPLICATE_KEY, None, None)
                });
            }
        }
        self.scratch.keys.truncate(first);
    }

    /// Whether one more container may be opened; if not, it is passed over with an error.
    pub(super) fn may_enter(&mut self, depth: usize) -> Result<bool, EncodeError> {
        let allowed = depth < self.options.limits.depth.min(DEPTH_MAX);
        if !allowed {
            self.reader.skip()?;
            self.refuse(TOO_DEEP, || None, None);
        }
        Ok(allowed)
    }

    /// Counts an array or map entry; beyond the limit it is passed over, with one error for all.
    fn may_add(&mut self) -> Result<bool, EncodeError> {
        let limit = self.options.limits.items;
        self.items += 1;
        if self.items == limit.saturating_add(1) {
            self.refuse(TOO_MANY, || None, None);
        }
        if self.items > limit {
            self.reader.skip()?;
        }
        Ok(self.items <= limit)
    }

    /// Stops the walk when the datum has outgrown its limit.
    pub(super) fn bounded(&self) -> Result<(), EncodeError> {
        let limit = self.options.limits.bytes;
        if self.out.len() - self.start > limit { Err(EncodeError::TooLarge { limit }) } else { Ok(()) }
    }

    /// Records that the value just read, from `start`, is refused.
    pub(super) fn refuse_value(&mut self, refusal: Refusal, start: usize, expected: impl FnOnce() -> String) {
        let actual = self.reader.since(start);
        self.refuse(refusal, || Some(expected()), Some(actual));
    }

    /// Records a fault at the path reached.
    pub(super) fn refuse(&mut self, refusal: Refusal, expected: impl FnOnce() -> Option<String>, actual: Option<&str>) {
        self.errors.push_with(|| {
            let pointer = pointer(self.options.prefix, self.json, &self.scratch.path);
            FieldError::new(pointer, refusal, expected(), actual)
        });
    }

    /// Records a fault of field `name`, which was not sent, of the record reached.
    pub(super) fn refuse_absent(&mut self, refusal: Refusal, name: &str, node: Node, actual: Option<&str>) {
        self.errors.push_with(|| {
            let mut pointer = pointer(self.options.prefix, self.json, &self.scratch.path);
            push_segment(&mut pointer, name);
            FieldError::new(pointer, refusal, Some(self.plan.label(node)), actual)
        });
    }

    /// How many faults were found so far.
    pub(super) fn faults(&self) -> usize {
        self.errors.count()
    }
}

pub(super) const DUPLICATE_KEY: Refusal =
    Refusal { code: code::DUPLICATE_KEY, message: "the key stands in this object more than once" };
pub(super) const TOO_DEEP: Refusal = Refusal { code: code::TOO_DEEP, message: "nested deeper than the limit" };
const LONE_SURROGATE: Refusal = Refusal { code: code::BAD_UTF8, message: "the string has a lone surrogate escape" };
const TOO_MANY: Refusal = Refusal { code: code::TOO_MANY, message: "more array and map entries than the limit" };

impl Segment {
    pub(super) fn of(key: Text<'_>) -> Segment {
        Segment::Key { start: key.start(), end: key.start() + key.raw().len(), escaped: key.is_escaped() }
    }
}

fn pointer(prefix: &str, json: &str, path: &[Segment]) -> String {
    let mut pointer = prefix.to_owned();
    for segment in path {
        match *segment {
            Segment::Index(index) => push_segment(&mut pointer, &index.to_string()),
            Segment::Key { start, end, escaped } => {
                let key = Text::new(&json[start..end], start, escaped);
                push_segment(&mut pointer, key.decode(&mut String::new()).unwrap_or(key.raw()));
            }
        }
    }
    pointer
}
