//! The interest index of a lane: which of many patterns match a channel, found in one walk over its segments.

use std::collections::HashMap;

use super::{Pattern, Segment};

/// Patterns with a value each; the same pattern may be inserted with several values.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<str>, Node<T>>,
    one: Option<Box<Node<T>>>,
    /// Values of patterns that end here.
    ends: Vec<T>,
    /// Values of patterns whose `**` stands here.
    rests: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), one: None, ends: Vec::new(), rests: Vec::new() }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T: Copy + PartialEq> Trie<T> {
    /// Adds `value` under `pattern`.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = &mut self.root;
        for segment in pattern.segments.iter() {
            node = match segment {
                Segment::Literal(name) => node.literals.entry(name.clone()).or_default(),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Rest => {
                    node.rests.push(value);
                    return;
                }
            };
        }
        node.ends.push(value);
    }

    /// Takes one `value` away from `pattern`; branches that hold nothing any more are freed.
    pub fn remove(&mut self, pattern: &Pattern, value: T) {
        self.root.remove(&pattern.segments, value);
    }

    /// Calls `found` for every value whose pattern matches; a value under several matching patterns is found several times.
    pub fn matching(&self, channel: &str, found: &mut impl FnMut(T)) {
        self.root.matching(Some(channel), found);
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<T: Copy + PartialEq> Node<T> {
    fn remove(&mut self, segments: &[Segment], value: T) {
        match segments.split_first() {
            None => take(&mut self.ends, &value),
            Some((Segment::Rest, _)) => take(&mut self.rests, &value),
            Some((Segment::One, rest)) => {
                if let Some(next) = &mut self.one {
                    next.remove(rest, value);
                    if next.is_empty() {
                        self.one = None;
                    }
                }
            }
            Some((Segment::Literal(name), rest)) => {
                if let Some(next) = self.literals.get_mut(name) {
                    next.remove(rest, value);
                    if next.is_empty() {
                        self.literals.remove(name);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.ends.is_empty() && self.rests.is_empty()
    }

    fn matching(&self, rest: Option<&str>, found: &mut impl FnMut(T)) {
        self.rests.iter().copied().for_each(&mut *found);
        let Some(rest) = rest else {
            self.ends.iter().copied().for_each(found);
            return;
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        if let Some(next) = self.literals.get(segment) {
            next.matching(after, found);
        }
        if let Some(next) = &self.one {
            next.matching(after, found);
        }
    }
}

fn take<T: PartialEq>(values: &mut Vec<T>, value: &T) {
    if let Some(index) = values.iter().position(|held| held == value) {
        values.swap_remove(index);
    }
}
