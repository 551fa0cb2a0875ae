//! The reader accepts what `serde_json` accepts.

use proptest::prelude::*;
use schemas::json;
use serde::de::IgnoredAny;

fn agrees(text: &str) -> Result<(), TestCaseError> {
    let reference = serde_json::from_str::<IgnoredAny>(text);
    let ours = json::skip(text);
    prop_assert_eq!(ours.is_ok(), reference.is_ok(), "{:?}: {:?} {:?}", text, ours, reference);
    let members: Option<Result<Vec<_>, _>> = json::members(text).map(Iterator::collect);
    let elements: Option<Result<Vec<_>, _>> = json::elements(text).map(Iterator::collect);
    match (members, elements) {
        (Some(members), _) => prop_assert_eq!(members.is_ok(), reference.is_ok(), "{:?}", text),
        (_, Some(elements)) => prop_assert_eq!(elements.is_ok(), reference.is_ok(), "{:?}", text),
        (None, None) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_of_json_characters_are_accepted_alike(text in r#"[\[\]{}",:0-9eE.+\-\\u tfnralse\n\té]{0,12}"#) {
        agrees(&text)?;
    }

    #[test]
    fn texts_of_json_tokens_are_accepted_alike(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u12aF\"", "\"\\ud800\"", "\"\u{7f}é\"", "\"\\x\"", "\"\n\"", "0", "-0", "-",
            "01", "1.5", "1.", ".5", "1e5", "1E+5", "1e", "-1.0e-9", "true", "false", "null", "nul", " ", "\t", "\u{a0}", "\u{feff}", "1e999",
        ]), 0..10),
    ) {
        agrees(&tokens.concat())?;
    }

    #[test]
    fn strings_are_decoded_alike(text in r#"([a/é😀]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|\\u[dD][89a-fA-F][0-9a-f]{2}){0,8}"#) {
        let quoted = format!("\"{text}\"");
        let parsed = json::Reader::new(&quoted).string().expect("a string");
        let ours = parsed.decode(&mut String::new()).map(str::to_owned).ok();
        prop_assert_eq!(ours, serde_json::from_str::<String>(&quoted).ok(), "{}", quoted);
    }
}
