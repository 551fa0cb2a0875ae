use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// All channels of 2 to `most` segments over `alphabet`.
fn channels(alphabet: &[&str], most: usize) -> Vec<String> {
    texts(alphabet, most).into_iter().filter(|text| text.contains('/')).collect()
}

/// All texts of 1 to `most` segments over `alphabet`.
fn texts(alphabet: &[&str], most: usize) -> Vec<String> {
    let mut all: Vec<String> = alphabet.iter().map(|&s| s.to_owned()).collect();
    let mut last = all.clone();
    for _ in 1..most {
        last = last.iter().flat_map(|head| alphabet.iter().map(move |tail| format!("{head}/{tail}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

/// The definition, written down without any cleverness.
fn naive(pattern: &[&str], channel: &[&str]) -> bool {
    match (pattern.split_first(), channel.split_first()) {
        (None, None) => true,
        (Some((&"**", _)), _) => true,
        (Some((&"*", p)), Some((_, c))) => naive(p, c),
        (Some((a, p)), Some((b, c))) => a == b && naive(p, c),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn naive_matches(pattern: &str, channel: &str) -> bool {
    naive(&pattern.split('/').collect::<Vec<_>>(), &channel.split('/').collect::<Vec<_>>())
}

fn all_patterns() -> Vec<Pattern> {
    texts(&["a", "b", "*", "**"], 3).iter().filter_map(|text| Pattern::parse(text).ok()).collect()
}

#[test]
fn matching_equals_the_brute_force_matcher() {
    let channels = channels(&["a", "b", "c"], 5);
    for pattern in all_patterns() {
        for channel in &channels {
            assert_eq!(pattern.matches(channel), naive_matches(pattern.as_str(), channel), "{pattern} on {channel}");
        }
    }
}

#[test]
fn what_access_calls_covered_is_covered_channel_by_channel() {
    let channels = channels(&["a", "b", "c"], 5);
    let patterns: Vec<(Pattern, chassis::auth::Pattern)> =
        all_patterns().into_iter().map(|pattern| (pattern.clone(), pattern.as_str().parse().unwrap())).collect();
    for (outer, granted) in &patterns {
        for (inner, asked) in &patterns {
            let exact = channels.iter().all(|c| !naive_matches(inner.as_str(), c) || naive_matches(outer.as_str(), c));
            assert!(exact || !granted.covers(asked), "{outer} does not cover {inner}");
            // it may refuse only where the two differ in how many segments `**` stands for at least
            assert!(granted.covers(asked) || !exact || inner.as_str().ends_with("**"), "{outer} covers {inner}");
        }
    }
}

#[test]
fn the_trie_finds_what_matching_finds_and_forgets_what_is_removed() {
    let patterns = all_patterns();
    let mut trie = Trie::default();
    for (index, pattern) in patterns.iter().enumerate() {
        trie.insert(pattern, index);
    }
    let compare = |trie: &Trie<usize>, live: &dyn Fn(usize) -> bool| {
        for channel in channels(&["a", "b", "c"], 4) {
            let mut found = Vec::new();
            trie.matching(&channel, &mut |index| found.push(index));
            found.sort_unstable();
            let expected: Vec<usize> = (0..patterns.len()).filter(|&i| live(i) && patterns[i].matches(&channel)).collect();
            assert_eq!(found, expected, "{channel}");
        }
    };
    compare(&trie, &|_| true);
    for (index, pattern) in patterns.iter().enumerate().filter(|(index, _)| index % 3 != 0) {
        trie.remove(pattern, index);
    }
    compare(&trie, &|index| index % 3 == 0);
    for (index, pattern) in patterns.iter().enumerate() {
        trie.remove(pattern, index);
    }
    assert!(trie.is_empty());
}

#[test]
fn a_rest_also_matches_its_root() {
    assert!(pattern("orders/acme/**").matches("orders/acme"));
    assert!(pattern("orders/acme/**").matches("orders/acme/order/42"));
    assert!(!pattern("orders/acme/**").matches("orders/acmee/order/42"));
    assert!(pattern("**").matches("orders/x"));
    assert!(pattern("flights/*").matches("flights/ATL") && !pattern("flights/*").matches("flights/ATL/gate"));
}

#[test]
fn bad_names_are_refused_with_their_reason() {
    let long = format!("a/{}", "x".repeat(511));
    let deep = vec!["a"; 17].join("/");
    for bad in ["", "a//b", "/a", "a/", "a/**/b", "**/a", "a/\u{7}", "orders", "*", long.as_str(), deep.as_str()] {
        assert!(matches!(Pattern::parse(bad), Err(Error::Syntax(_))), "{bad}");
    }
    for reserved in ["$presence/a", "$inbox/b", "a/~shard/1", "a/~head"] {
        assert_eq!(Pattern::parse(reserved), Err(Error::Reserved), "{reserved}");
    }
    assert!(Pattern::parse(&format!("a/{}", "x".repeat(510))).is_ok());
    assert!(parse_exact("a/*").is_err() && parse_exact("a/**").is_err() && parse_exact("a/b").is_ok());
}

#[test]
fn stream_and_subject_are_told() {
    assert_eq!(pattern("orders/acme/*").stream(), Some("orders"));
    assert_eq!(pattern("*/acme").stream(), None);
    assert_eq!(pattern("orders/acme/1").subject(), Some("acme/1"));
    assert_eq!(pattern("orders/**").subject(), None);
    assert!(pattern("**").touches("orders") && !pattern("flights/*").touches("orders"));
}
