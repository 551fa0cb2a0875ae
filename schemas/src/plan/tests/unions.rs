use super::*;

#[test]
fn a_branch_is_found_by_the_kind_of_value() {
    let schema = r#"["null","boolean","long","string",{"type":"array","items":"int"},{"type":"map","values":"int"}]"#;
    for (json, branch) in
        [("null", 0), ("true", 2), ("7", 4), (r#""7""#, 6), ("[7]", 8), (r#"{"a":7}"#, 10), (r#"{"long":7}"#, 10)]
    {
        assert_eq!(one_value(schema, &[json])[0], branch, "{json}");
    }
    assert_eq!(refused(r#"["null","int"]"#, r#""7""#), code::NO_BRANCH);
    assert_eq!(refused(r#"["null","int"]"#, "7.5"), code::PRECISION);
    assert_eq!(refused(r#"["null","int"]"#, "[]"), code::NO_BRANCH);
}

#[test]
fn numbers_take_the_first_branch_that_fits() {
    let schema = r#"["int","long","double"]"#;
    assert_eq!(one_value(schema, &["7", "7.0", r#"{"int":7}"#])[0], 0);
    assert_eq!(one_value(schema, &["2147483648", r#"{"long":2147483648}"#])[0], 2);
    assert_eq!(one_value(schema, &["7.5"])[0], 4);
    assert_eq!(one_value(schema, &["1e300"])[0], 4);
    assert_eq!(one_value(schema, &[r#"{"long":7}"#])[0], 2);
    assert_eq!(one_value(schema, &[r#"{"double":7.0}"#, r#"{"double":7}"#])[0], 4);
    assert_eq!(one_value(schema, &[r#""9007199254740993""#])[0], 2);
    assert_eq!(one_value(schema, &[r#""NaN""#])[0], 4);
    assert_eq!(refused(schema, "1e400"), code::OUT_OF_RANGE);
    assert_eq!(refused(schema, r#""x""#), code::NO_BRANCH);
}

#[test]
fn two_branches_written_as_strings_must_be_tagged() {
    let schema = r#"["null","string","bytes",{"type":"enum","name":"a.E","symbols":["X"]}]"#;
    assert_eq!(refused(schema, r#""X""#), code::AMBIGUOUS_UNION);
    assert_eq!(one_value(schema, &[r#"{"string":"X"}"#])[0], 2);
    assert_eq!(one_value(schema, &[r#"{"bytes":"AAAA"}"#])[0], 4);
    assert_eq!(one_value(schema, &[r#"{"a.E":"X"}"#])[0], 6);
    assert_eq!(encode(schema, r#"{"a.E":"Y"}"#), Err(vec![("/a.E".to_owned(), code::UNKNOWN_SYMBOL)]));
    assert_eq!(refused(schema, r#"{"a.E":"X","b":1}"#), code::NO_BRANCH);
    assert_eq!(one_value(r#"["long","string"]"#, &[r#"{"long":"9007199254740993"}"#])[0], 0);
    assert_eq!(one_value(r#"["double","string"]"#, &[r#"{"double":"NaN"}"#])[0], 0);
}

#[test]
fn two_records_must_be_tagged_and_one_need_not() {
    let record =
        |name: &str, field: &str| format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"{field}","type":"int"}}]}}"#);
    let two = format!("[{},{}]", record("n.A", "x"), record("n.B", "x"));
    assert_eq!(refused(&two, r#"{"x":1}"#), code::AMBIGUOUS_UNION);
    assert_eq!(one_value(&two, &[r#"{"n.B":{"x":1}}"#]), [2, 2]);
    let one = format!(r#"["null",{}]"#, record("A", "x"));
    assert_eq!(one_value(&one, &[r#"{"x":1}"#, r#"{"A":{"x":1}}"#]), [2, 2]);
    // the record has a field that is called like a branch
    let same = format!(r#"["null","string",{}]"#, record("A", "string"));
    assert_eq!(one_value(&same, &[r#"{"string":1}"#]), [4, 2]);
    let map_and_record = format!(r#"[{},{{"type":"map","values":"int"}}]"#, record("A", "x"));
    assert_eq!(one_value(&map_and_record, &[r#"{"map":{"A":1}}"#])[0], 2);
    assert_eq!(one_value(&map_and_record, &[r#"{"A":{"x":1}}"#]), [0, 2]);
}

#[test]
fn a_recursive_record_is_an_index() {
    let schema = r#"{"type":"record","name":"n.Node","fields":[
        {"name":"value","type":"int"},{"name":"next","type":["null","Node"],"default":null}]}"#;
    assert_eq!(
        one_value(schema, &[r#"{"value":1,"next":{"value":2,"next":null}}"#, r#"{"next":{"value":2},"value":1}"#]),
        [2, 2, 4, 0]
    );
}
