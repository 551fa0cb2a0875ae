//! What a subject may look like. A subject is the Kafka key and the live channel's name, so its form is narrow.

/// Longest subject, bytes: with its stream's name a channel has at most 512.
pub(crate) const BYTES_MAX: usize = 448;
/// Most segments.
pub(crate) const SEGMENTS_MAX: usize = 15;

/// What is wrong with `subject`, as a sentence, if anything is.
#[must_use]
pub(crate) fn fault(subject: &str) -> Option<&'static str> {
    if subject.is_empty() {
        return Some("the subject is empty");
    }
    if subject.len() > BYTES_MAX {
        return Some("a subject has at most 448 bytes");
    }
    if subject.chars().any(char::is_control) {
        return Some("a subject has no control characters");
    }
    if subject.contains('*') {
        return Some("a subject has no *, which is for patterns");
    }
    if subject.starts_with('~') {
        return Some("subjects that start with ~ belong to the engine");
    }
    if subject.split('/').any(str::is_empty) {
        return Some("a subject has no empty segments");
    }
    if subject.split('/').count() > SEGMENTS_MAX {
        return Some("a subject has at most 15 segments");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_plain_segments_are_subjects() {
        for fine in ["ATL", "acme/order/42", "ä/ö", "a/~b", &"x".repeat(448), &vec!["a"; 15].join("/")] {
            assert_eq!(fault(fine), None, "{fine}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in ["", "/a", "a/", "a//b", "~shard/1", "a/*", "a\nb", &"x".repeat(449), &vec!["a"; 16].join("/")] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }
}
