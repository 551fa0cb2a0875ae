use super::*;

const TREE: &str = r#"{"type":"array","items":["int",{"type":"record","name":"T","fields":[
    {"name":"t","type":{"type":"array","items":["int","T"]}}]}]}"#;

fn limited(limits: Limits) -> EncodeOptions<'static> {
    EncodeOptions { limits, ..EncodeOptions::default() }
}

#[test]
fn broken_json_ends_the_walk_and_leaves_nothing() {
    let plan = plan(r#"{"type":"array","items":"int"}"#);
    for (json, at) in [("[1,2", 4), ("[1,,2]", 3), ("[1] 2", 4), ("", 0), ("[01]", 2), ("[1}", 2), ("[nul]", 1)] {
        let (mut out, mut errors) = (vec![9], FieldErrors::new());
        let ended = plan.encode(json, &EncodeOptions::default(), &mut out, &mut Captures::new(), &mut errors);
        assert!(matches!(ended, Err(EncodeError::Syntax(SyntaxError { at: found, .. })) if found == at), "{json}: {ended:?}");
        assert_eq!(out, [9]);
    }
}

#[test]
fn deep_values_are_refused_and_the_rest_is_read() {
    let options = limited(Limits { depth: 3, ..Limits::default() });
    let plan = plan(TREE);
    assert!(encode_with(&plan, r#"[{"t":[1]}]"#, &options).is_ok());
    let errors = encode_with(&plan, r#"[{"t":[{"t":[]}]},"x"]"#, &options).expect_err("deep");
    assert_eq!(errors, [("/0/t/0".to_owned(), code::TOO_DEEP), ("/1".to_owned(), code::NO_BRANCH)]);
    let abyss = format!("{}1{}", r#"[{"t":"#.repeat(100_000), "}]".repeat(100_000));
    let errors = encode_with(&plan, &abyss, &limited(Limits { depth: usize::MAX, ..Limits::default() })).expect_err("deep");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].1, code::TOO_DEEP);
}

#[test]
fn ignored_values_may_not_be_deep_either() {
    let limits = Limits { depth: 3, ..Limits::default() };
    let options = EncodeOptions { unknown_fields: UnknownFields::Ignore, limits, ..EncodeOptions::default() };
    let plan = plan(r#"{"type":"record","name":"R","fields":[]}"#);
    assert!(encode_with(&plan, r#"{"x":[[1]]}"#, &options).is_ok());
    assert_eq!(encode_with(&plan, r#"{"x":[[[1]]]}"#, &options), Err(vec![("/x".to_owned(), code::TOO_DEEP)]));
}

#[test]
fn too_many_entries_are_one_error() {
    let schema = r#"{"type":"array","items":{"type":"map","values":"null"}}"#;
    let options = limited(Limits { items: 4, ..Limits::default() });
    assert!(encode_with(&plan(schema), r#"[{"a":null,"b":null},{}]"#, &options).is_ok());
    let errors = encode_with(&plan(schema), r#"[{"a":null,"b":null},{"a":null,"b":null},{},{}]"#, &options).expect_err("many");
    assert_eq!(errors, [("/1/a".to_owned(), code::TOO_MANY)]);
    let nulls = plan(r#"{"type":"array","items":"null"}"#);
    let bomb = [0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0];
    let refused = nulls.check(&bomb, &Limits::default(), &mut Captures::new()).expect_err("a bomb");
    assert_eq!(refused.code, code::TOO_MANY);
    assert!(nulls.render(&bomb, &mut String::new()).is_err());
}

#[test]
fn a_datum_over_the_limit_ends_the_walk() {
    let plan = plan(r#"{"type":"array","items":"string"}"#);
    let options = limited(Limits { bytes: 8, ..Limits::default() });
    let (mut out, mut errors, mut captures) = (Vec::new(), FieldErrors::new(), Captures::new());
    assert_eq!(plan.encode(r#"["123","1"]"#, &options, &mut out, &mut captures, &mut errors), Ok(()));
    assert_eq!(out.len(), 8);
    let ended = plan.encode(r#"["123","12"]"#, &options, &mut out, &mut captures, &mut errors);
    assert_eq!(ended, Err(EncodeError::TooLarge { limit: 8 }));
    assert_eq!(out.len(), 8);
}

#[test]
fn errors_beyond_the_first_twenty_are_counted() {
    let json = format!("[{}true]", "true,".repeat(99));
    let (mut out, mut errors) = (Vec::new(), FieldErrors::new());
    plan(r#"{"type":"array","items":"int"}"#)
        .encode(&json, &EncodeOptions::default(), &mut out, &mut Captures::new(), &mut errors)
        .expect("json");
    assert_eq!((errors.kept().len(), errors.omitted(), errors.count()), (FIELD_ERRORS_MAX, 80, 100));
}

#[test]
fn a_bad_datum_is_refused_at_its_place() {
    let schema = plan(
        r#"{"type":"record","name":"R","fields":[{"name":"m","type":{"type":"map","values":["null","string"]}},
        {"name":"b","type":"boolean"},{"name":"i","type":"int"}]}"#,
    );
    for (datum, pointer, code, byte) in [
        (&[2, 2, b'k', 4, 0, 1, 2][..], "/m/k", code::OUT_OF_RANGE, Some(3)),
        (&[2, 2, b'k', 2, 2, 0xFF, 0, 1, 2], "/m/k", code::BAD_UTF8, Some(4)),
        (&[0, 2, 2], "/b", code::BAD_FORMAT, Some(1)),
        (&[0, 1], "/i", code::TRUNCATED, Some(2)),
        (&[0, 1, 2, 3], "", code::TRAILING_BYTES, None),
        (&[0, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0], "/i", code::OUT_OF_RANGE, Some(2)),
        (&[0, 1, 0x80, 0x80, 0x80, 0x80, 0x10], "/i", code::OUT_OF_RANGE, Some(2)),
        (&[1, 8, 2, b'k', 0, 0, 1, 2], "/m", code::BAD_LENGTH, Some(5)),
        (&[2, 3, 0, 1, 2], "/m", code::BAD_LENGTH, Some(1)),
    ] {
        let checked = schema.check(datum, &Limits::default(), &mut Captures::new());
        let error = FieldError::from(checked.expect_err("bad"));
        assert_eq!((error.pointer.as_str(), error.code, error.byte), (pointer, code, byte), "{datum:?}");
    }
    // a block that tells its size, truly
    assert_eq!(schema.check(&[1, 6, 2, b'k', 0, 0, 1, 2], &Limits::default(), &mut Captures::new()), Ok(()));
}

#[test]
fn a_walk_that_failed_leaves_no_trace_in_the_next() {
    let plan = plan(
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":{"type":"map","values":"int"}}]}"#,
    );
    let (mut out, mut captures, mut errors) = (Vec::new(), Captures::new(), FieldErrors::new());
    for bad in [r#"{"b":{"x":1,"#, r#"{"b":{"x":1},"a":"#, r#"{"b":{"x":true}}"#] {
        let _ = plan.encode(bad, &EncodeOptions::default(), &mut out, &mut captures, &mut errors);
        errors.clear();
        plan.encode(r#"{"b":{"x":1},"a":2}"#, &EncodeOptions::default(), &mut out, &mut captures, &mut errors).expect("json");
        assert!(errors.is_empty());
        assert_eq!(out, [4, 2, 2, b'x', 2, 0]);
        out.clear();
    }
}
