use super::*;

fn decoded(json: &str) -> Result<String, LoneSurrogate> {
    let text = Reader::new(json).string().expect("a string");
    text.decode(&mut String::new()).map(str::to_owned)
}

#[test]
fn members_are_found_without_reading_their_values() {
    let found: Vec<_> = members(r#" {"a":{"x":[1,2]} , "b\u0063":"q" } "#)
        .expect("an object")
        .map(|m| m.map(|(key, value)| (key.raw(), value)))
        .collect::<Result<_, _>>()
        .expect("json");
    assert_eq!(found, [("a", r#"{"x":[1,2]}"#), ("b\\u0063", r#""q""#)]);
    assert!(members("[1]").is_none());
}

#[test]
fn elements_stop_at_the_first_error_and_say_where() {
    let mut elements = elements("[1, {}, x]").expect("an array");
    assert_eq!(elements.next(), Some(Ok("1")));
    assert_eq!(elements.next(), Some(Ok("{}")));
    assert_eq!(elements.next(), Some(Err(SyntaxError { at: 8, what: "expected a value" })));
    assert_eq!(elements.next(), None);
}

#[test]
fn text_behind_the_value_is_an_error() {
    assert!(skip("{} {}").is_err());
    let mut trailing = members("{} 1").expect("an object");
    assert!(matches!(trailing.next(), Some(Err(SyntaxError { at: 3, .. }))));
}

#[test]
fn escapes_are_resolved_and_lone_surrogates_refused() {
    assert_eq!(decoded(r#""\u0041\n\"\/\ud83d\ude00\u0000é""#), Ok("A\n\"/😀\0é".to_owned()));
    for lone in [r#""\ud83d""#, r#""\ud83d\n""#, r#""\ud83dxx""#, r#""\ud83d\u0041""#, r#""\ude00""#] {
        assert_eq!(decoded(lone), Err(LoneSurrogate), "{lone}");
    }
    let key = Reader::new(r#""a\u0062""#).string().expect("a string");
    assert!(key.is("ab") && !key.is("a\\u0062"));
}

#[test]
fn a_written_string_reads_back() {
    let text = "q\"b\\s/\u{1}\u{1f}\n\r\té😀";
    let mut json = String::new();
    write_string(text, &mut json);
    assert_eq!(decoded(&json), Ok(text.to_owned()));
    assert_eq!(serde_json::from_str::<String>(&json).expect("json"), text);
}

#[test]
fn deep_nesting_needs_no_stack() {
    let deep = format!("{}{}", "[{\"a\":".repeat(100_000), "1");
    let closed = format!("{deep}{}", "}]".repeat(100_000));
    assert_eq!(skip(&closed), Ok(200_000));
    assert!(skip(&deep).is_err());
    let crossed = format!("{}{}", "[".repeat(130), "}".repeat(130));
    assert_eq!(skip(&crossed).map_err(|e| e.at), Err(130));
}

#[test]
fn a_position_counts_lines_and_characters() {
    let text = "{\n \"é\": x}";
    let error = skip(text).expect_err("no json");
    assert_eq!(Position::of(text, error.at), Position { line: 2, column: 7, byte: 9 });
}
