use super::*;

const ORDER: &str = r#"{"type":"record","name":"shop.Order","fields":[
    {"name":"id","type":"string"},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"sku","type":"string"},{"name":"qty","type":"int","default":1}]}},"default":[]},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"version","type":["null","long"],"default":null},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","DONE"]},"default":"NEW"}]}"#;

#[test]
fn the_order_of_members_does_not_matter() {
    let whole = r#"{"id":"a","lines":[{"sku":"s","qty":2}],"note":"n","version":3,"state":"DONE"}"#;
    let turned = r#"{"state":"DONE","version":3,"lines":[{"qty":2,"sku":"s"}],"note":"n","id":"a"}"#;
    assert_eq!(one_value(ORDER, &[whole, turned]), b"\x02a\x02\x02s\x04\x00\x02\x02n\x02\x06\x02");
}

#[test]
fn absent_fields_take_their_defaults_and_null_is_not_absent() {
    assert_eq!(encode(ORDER, r#"{"id":"a"}"#), Ok(b"\x02a\x00\x00\x00\x00".to_vec()));
    assert_eq!(encode(ORDER, r#"{"state":"DONE","id":"a"}"#), Ok(b"\x02a\x00\x00\x00\x02".to_vec()));
    let errors = encode(ORDER, r#"{"id":null,"state":null}"#).expect_err("nulls");
    assert_eq!(errors, [("/id".to_owned(), code::WRONG_TYPE), ("/state".to_owned(), code::WRONG_TYPE)]);
}

#[test]
fn defaults_follow_the_rules_of_schemas() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"b","type":"bytes","default":"\u00ff"},
        {"name":"f","type":{"type":"fixed","name":"F","size":2},"default":"ab"},
        {"name":"d","type":"double","default":1},
        {"name":"l","type":{"type":"long","logicalType":"timestamp-millis"},"default":5},
        {"name":"m","type":{"type":"map","values":"int"},"default":{"k":1}},
        {"name":"u","type":["string","null"],"default":"s"},
        {"name":"r","type":{"type":"record","name":"S","fields":[{"name":"x","type":"int","default":3}]},"default":{}}]}"#;
    let mut expected = b"\x02\xffab".to_vec();
    expected.extend(1.0_f64.to_le_bytes());
    expected.extend(b"\x0a\x02\x02k\x02\x00\x00\x02s\x06");
    assert_eq!(encode(schema, "{}"), Ok(expected));
}

#[test]
fn all_faults_are_told_with_their_pointers() {
    let json = r#"{"lines":[{"sku":1},{"qty":3000000000,"a~/b":1}],"note":5,"id":"a","id":"b","state":"OLD","x":{}}"#;
    let mut errors = encode(ORDER, json).expect_err("faults");
    errors.sort();
    let mut expected = [
        ("/lines/0/sku", code::WRONG_TYPE),
        ("/lines/1/qty", code::OUT_OF_RANGE),
        ("/lines/1/a~0~1b", code::UNKNOWN_FIELD),
        ("/lines/1/sku", code::MISSING),
        ("/note", code::NO_BRANCH),
        ("/id", code::DUPLICATE_KEY),
        ("/state", code::UNKNOWN_SYMBOL),
        ("/x", code::UNKNOWN_FIELD),
    ]
    .map(|(pointer, code)| (pointer.to_owned(), code));
    expected.sort();
    assert_eq!(errors, expected);
}

#[test]
fn an_error_says_what_was_expected_and_what_was_there() {
    let (mut out, mut errors) = (Vec::new(), FieldErrors::new());
    let options = EncodeOptions { prefix: "/data", ..EncodeOptions::default() };
    let json = format!(r#"{{"id":"a","lines":[{{"sku":"s","qty":3000000000}}],"version":"{}"}}"#, "é".repeat(100));
    plan(ORDER).encode(&json, &options, &mut out, &mut Captures::new(), &mut errors).expect("json");
    assert_eq!(
        errors.kept()[0],
        FieldError {
            pointer: "/data/lines/0/qty".to_owned(),
            code: code::OUT_OF_RANGE,
            expected: Some("int".to_owned()),
            actual: Some("3000000000".to_owned()),
            message: "the number does not fit the type".to_owned(),
            byte: None,
        }
    );
    assert_eq!(errors.kept()[1].expected.as_deref(), Some("long"));
    assert_eq!(errors.kept()[1].actual.as_ref().map(|actual| actual.chars().count()), Some(64));
}

#[test]
fn unknown_fields_may_be_ignored() {
    let options = EncodeOptions { unknown_fields: UnknownFields::Ignore, ..EncodeOptions::default() };
    let (mut out, mut errors, mut captures) = (Vec::new(), FieldErrors::new(), Captures::new());
    let json = r#"{"x":{"y":1,"y":2},"id":"a","lines":[{"sku":"s","z":[]}]}"#;
    plan(ORDER).encode(json, &options, &mut out, &mut captures, &mut errors).expect("json");
    assert!(errors.is_empty());
    assert_eq!(captures.unknown_fields(), 2);
    assert_eq!(out, b"\x02a\x02\x02s\x02\x00\x00\x00\x00");
}

#[test]
fn what_the_path_says_fills_and_binds() {
    let plan = plan(ORDER);
    let options = EncodeOptions { fill: &[("id", "a"), ("version", "3"), ("other", "x")], ..EncodeOptions::default() };
    let filled = b"\x02a\x00\x00\x02\x06\x00".to_vec();
    for json in ["{}", r#"{"id":"a"}"#, r#"{"version":"3","id":"a"}"#, r#"{"version":3.0}"#] {
        assert_eq!(encode_with(&plan, json, &options).as_deref(), Ok(filled.as_slice()), "{json}");
    }
    let errors = encode_with(&plan, r#"{"version":null,"id":"b"}"#, &options).expect_err("other values");
    assert_eq!(errors, [("/version".to_owned(), code::BAD_FORMAT), ("/id".to_owned(), code::BAD_FORMAT)]);
    assert_eq!(encode_with(&plan, r#"{"id":1}"#, &options), Err(vec![("/id".to_owned(), code::WRONG_TYPE)]));
    let bad = EncodeOptions { fill: &[("version", "x")], ..EncodeOptions::default() };
    assert_eq!(encode_with(&plan, r#"{"id":"a"}"#, &bad), Err(vec![("/version".to_owned(), code::BAD_FORMAT)]));
}

#[test]
fn pointers_capture_from_both_kinds_of_body() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"pad","type":{"type":"array","items":"string"}},
        {"name":"in","type":{"type":"record","name":"S","fields":[
            {"name":"n","type":"long"},{"name":"u","type":[{"type":"string","logicalType":"uuid"},"null"]},
            {"name":"e","type":{"type":"enum","name":"E","symbols":["X"]}}]}},
        {"name":"s","type":["null","string"],"default":null}]}"#;
    let plan = plan(schema).with_captures(&["/in/n", "/in/u", "/in/e", "/s"]).expect("pointers");
    let (mut datum, mut captures) = (Vec::new(), Captures::new());
    let json = r#"{"s":"t","in":{"e":"X","u":"550E8400-E29B-41D4-A716-446655440000","n":"-7"},"pad":["a","b"]}"#;
    plan.encode(json, &EncodeOptions::default(), &mut datum, &mut captures, &mut FieldErrors::new()).expect("json");
    let expected = [Some("-7"), Some("550e8400-e29b-41d4-a716-446655440000"), Some("X"), Some("t"), None];
    assert_eq!([0, 1, 2, 3, 4].map(|index| captures.get(index)), expected);
    let mut again = Captures::new();
    plan.check(&datum, &Limits::default(), &mut again).expect("a datum");
    assert_eq!([0, 1, 2, 3, 4].map(|index| again.get(index)), expected);
    let json = r#"{"in":{"e":"X","u":null,"n":1},"pad":[]}"#;
    plan.encode(json, &EncodeOptions::default(), &mut datum, &mut captures, &mut FieldErrors::new()).expect("json");
    assert_eq!([0, 1, 3].map(|index| captures.get(index)), [Some("1"), None, None]);
}

#[test]
fn an_event_with_faults_is_named_by_what_is_right() {
    let plan = plan(ORDER).with_captures(&["/id", "/version", "/state"]).expect("pointers");
    let (mut out, mut captures, mut errors) = (Vec::new(), Captures::new(), FieldErrors::new());
    let json = r#"{"version":"x","lines":[1],"\u0069d":"a","id":"b"}"#;
    plan.encode(json, &EncodeOptions::default(), &mut out, &mut captures, &mut errors).expect("json");
    assert_eq!(errors.count(), 3);
    assert_eq!([0, 1, 2].map(|index| captures.get(index)), [Some("a"), None, None]);
}

#[test]
fn pointers_that_lead_nowhere_are_refused_early() {
    for pointer in ["", "/", "/lines", "/lines/0", "/nothing", "/id/x", "id"] {
        assert!(matches!(plan(ORDER).with_captures(&[pointer]), Err(Error::Pointer { .. })), "{pointer}");
    }
    assert!(plan(ORDER).with_captures(&["/id", "/version", "/state"]).is_ok());
}

#[test]
fn fields_are_slices_of_the_datum() {
    let datum = encode(ORDER, r#"{"id":"a","note":"n"}"#).expect("a datum");
    let plan = plan(ORDER);
    let fields = plan.fields(&datum).expect("a datum");
    let expected: [(&str, &[u8]); 5] =
        [("id", b"\x02a"), ("lines", b"\x00"), ("note", b"\x02\x02n"), ("version", b"\x00"), ("state", b"\x00")];
    assert_eq!(fields, expected);
    assert_eq!(plan.fields(&datum[..3]), Err(DecodeError::Truncated { at: 3 }));
    assert_eq!(plan.field_names().collect::<Vec<_>>(), ["id", "lines", "note", "version", "state"]);
}
