//! Patterns over channels: `*` is exactly one segment, `**` zero or more and only at the end.

use std::fmt;
use std::str::FromStr;

/// Most segments of a pattern.
const SEGMENTS_MAX: usize = 16;
/// Most bytes of a pattern.
const BYTES_MAX: usize = 512;

/// A glob over channels `<stream>/<subject>`, e.g. `orders/acme/**`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    segments: Vec<Segment>,
    /// Ends in `**`.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    Exact(String),
    One,
}

/// Why a text is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a channel pattern: 1 to 16 segments between slashes, at most 512 bytes, no empty segment, no control character, \
     * for one segment, ** for the rest at the end only"
)]
pub struct InvalidPattern(String);

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(text.chars().take(BYTES_MAX).collect());
        if text.len() > BYTES_MAX || text.chars().any(char::is_control) {
            return Err(invalid());
        }
        // sources may begin with a slash; channels never do, and the two are not mixed
        let mut parts: Vec<&str> = text.split('/').collect();
        let rest = parts.last() == Some(&"**");
        if rest {
            parts.pop();
        }
        let leading_slash = usize::from(text.starts_with('/'));
        let bad = |part: &&str| part.is_empty() || (part.contains('*') && *part != "*");
        if parts.len() > SEGMENTS_MAX || (parts.is_empty() && !rest) || parts.iter().skip(leading_slash).any(bad) {
            return Err(invalid());
        }
        let segment = |part: &str| if part == "*" { Segment::One } else { Segment::Exact(part.to_owned()) };
        Ok(Self { segments: parts.into_iter().map(segment).collect(), rest })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Exact(text) => text.as_str(),
            Segment::One => "*",
        });
        for (i, segment) in segments.chain(self.rest.then_some("**")).enumerate() {
            write!(f, "{}{segment}", if i > 0 { "/" } else { "" })?;
        }
        Ok(())
    }
}

impl Pattern {
    /// `**`
    pub fn everything() -> Self {
        Self { segments: Vec::new(), rest: true }
    }

    /// Whether it has no wildcard and so names one channel.
    pub fn is_exact(&self) -> bool {
        !self.rest && self.segments.iter().all(|segment| matches!(segment, Segment::Exact(_)))
    }

    /// Whether it matches the channel `<stream>/<subject>`; an empty subject is the stream alone.
    pub fn matches(&self, stream: &str, subject: &str) -> bool {
        let subject = (!subject.is_empty()).then(|| subject.split('/')).into_iter().flatten();
        self.matches_parts(std::iter::once(stream).chain(subject))
    }

    /// Whether it matches anything of `stream`.
    pub fn reaches(&self, stream: &str) -> bool {
        match self.segments.first() {
            None => true,
            Some(Segment::One) => true,
            Some(Segment::Exact(text)) => text == stream,
        }
    }

    /// Whether every channel that `other` matches is matched by this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        if other.rest && !self.rest {
            return false;
        }
        let enough =
            if self.rest { other.segments.len() >= self.segments.len() } else { other.segments.len() == self.segments.len() };
        enough
            && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| match (mine, theirs) {
                (Segment::One, _) => true,
                (Segment::Exact(mine), Segment::Exact(theirs)) => mine == theirs,
                (Segment::Exact(_), Segment::One) => false,
            })
    }

    /// Whether it matches a CloudEvents source, which is a path too.
    pub(super) fn matches_source(&self, source: &str) -> bool {
        self.matches_parts(source.split('/'))
    }

    fn matches_parts<'a>(&self, mut parts: impl Iterator<Item = &'a str>) -> bool {
        for segment in &self.segments {
            match (segment, parts.next()) {
                (_, None) => return false,
                (Segment::Exact(text), Some(part)) if text != part => return false,
                (Segment::Exact(_) | Segment::One, Some(_)) => {}
            }
        }
        self.rest || parts.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn one_star_is_one_segment_and_two_are_any_rest() {
        assert!(pattern("orders/*").matches("orders", "a") && !pattern("orders/*").matches("orders", "a/b"));
        assert!(!pattern("orders/*").matches("orders", ""));
        assert!(pattern("orders/acme/**").matches("orders", "acme") && pattern("orders/acme/**").matches("orders", "acme/1/2"));
        assert!(!pattern("orders/acme/**").matches("orders", "acmex"));
        assert!(pattern("**").matches("anything", "at/all"));
        assert!(pattern("orders/42").is_exact() && !pattern("orders/*").is_exact());
    }

    #[test]
    fn covering_is_decided_on_patterns() {
        for (wide, narrow, covers) in [
            ("**", "orders/**", true),
            ("orders/**", "orders/*", true),
            ("orders/**", "orders", true),
            ("orders/*", "orders/**", false),
            ("orders/*", "orders/a", true),
            ("orders/a", "orders/*", false),
            ("orders/*/b", "orders/a/b", true),
            ("orders/*/b", "orders/*/*", false),
            ("*/a/**", "orders/a/b/**", true),
            ("orders/a/**", "orders/**", false),
        ] {
            assert_eq!(pattern(wide).covers(&pattern(narrow)), covers, "{wide} over {narrow}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a//b", "a/", "a/**/b", "a/b*", "a/***", "a/\u{7}", &"a/".repeat(20), &"x".repeat(600)] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
        for text in ["**", "*", "a/*/b/**", "/accounts/acme/**"] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }
}
