//! The mapping, row by row: what is accepted, what its bytes are, what is refused and how.

use apache_avro::Schema;

use super::*;

mod limits;
mod records;
mod unions;

fn plan(schema: &str) -> Plan {
    Plan::compile(&Schema::parse_str(schema).expect("a schema")).expect("a plan")
}

fn encode_with(plan: &Plan, json: &str, options: &EncodeOptions<'_>) -> Result<Vec<u8>, Vec<(String, &'static str)>> {
    let (mut out, mut errors) = (b"before".to_vec(), FieldErrors::new());
    plan.encode(json, options, &mut out, &mut Captures::new(), &mut errors).expect("json");
    let datum = out.strip_prefix(b"before").expect("what was there stays").to_vec();
    if errors.is_empty() {
        return Ok(datum);
    }
    assert!(datum.is_empty(), "with errors nothing is written");
    Err(errors.take().into_iter().map(|error| (error.pointer, error.code)).collect())
}

fn encode(schema: &str, json: &str) -> Result<Vec<u8>, Vec<(String, &'static str)>> {
    encode_with(&plan(schema), json, &EncodeOptions::default())
}

/// The code of the one error that `json` is refused with.
fn refused(schema: &str, json: &str) -> &'static str {
    match encode(schema, json).expect_err(json).as_slice() {
        [(pointer, code)] if pointer.is_empty() => code,
        other => panic!("{json}: {other:?}"),
    }
}

/// Each JSON is accepted and rendered back as its first form.
fn one_value(schema: &str, forms: &[&str]) -> Vec<u8> {
    let plan = plan(schema);
    let datum = encode(schema, forms[0]).expect(forms[0]);
    for form in forms {
        assert_eq!(encode(schema, form).as_deref(), Ok(datum.as_slice()), "{form}");
    }
    let mut json = String::new();
    plan.render(&datum, &mut json).expect("a datum");
    assert_eq!(json, forms[0]);
    assert_eq!(plan.check(&datum, &Limits::default(), &mut Captures::new()), Ok(()));
    datum
}

#[test]
fn null_and_booleans_are_themselves() {
    assert_eq!(one_value(r#""null""#, &["null", " null "]), b"");
    assert_eq!(one_value(r#""boolean""#, &["true"]), [1]);
    assert_eq!(one_value(r#""boolean""#, &["false"]), [0]);
    assert_eq!(refused(r#""boolean""#, "null"), code::WRONG_TYPE);
    assert_eq!(refused(r#""null""#, "0"), code::WRONG_TYPE);
    assert_eq!(refused(r#""boolean""#, r#""true""#), code::WRONG_TYPE);
}

#[test]
fn whole_numbers_may_be_written_in_any_way() {
    assert_eq!(one_value(r#""int""#, &["3", "3.0", "3e0", "0.3e1", "30e-1", "300.00E-2"]), [6]);
    assert_eq!(one_value(r#""int""#, &["0", "-0", "0.0", "0e99999999999999999999", "-0.000e-5"]), [0]);
    one_value(r#""int""#, &["-2147483648", "-2147483648.0"]);
    one_value(r#""int""#, &["2147483647", "2.147483647e9"]);
    one_value(r#""long""#, &["300", "3e2", r#""300""#]);
    one_value(r#""long""#, &[r#""9223372036854775807""#, "9223372036854775807", "9223372036854775807.0"]);
    one_value(r#""long""#, &[r#""-9223372036854775808""#, "-9223372036854775808"]);
    one_value(r#""long""#, &["9007199254740992", r#""9007199254740992""#]);
    one_value(r#""long""#, &[r#""9007199254740993""#]);
}

#[test]
fn numbers_that_lose_something_are_refused() {
    for (schema, json, expected) in [
        (r#""int""#, "2147483648", code::OUT_OF_RANGE),
        (r#""int""#, "-2147483649", code::OUT_OF_RANGE),
        (r#""int""#, "3.5", code::PRECISION),
        (r#""int""#, "1e-1", code::PRECISION),
        (r#""int""#, r#""3""#, code::WRONG_TYPE),
        (r#""long""#, "9223372036854775808", code::OUT_OF_RANGE),
        (r#""long""#, "1e19", code::OUT_OF_RANGE),
        (r#""long""#, "1e99999999999999999999", code::OUT_OF_RANGE),
        (r#""long""#, "1e-99999999999999999999", code::PRECISION),
        (r#""long""#, r#""9223372036854775808""#, code::OUT_OF_RANGE),
        (r#""long""#, r#""3.0""#, code::BAD_FORMAT),
        (r#""long""#, r#""03""#, code::BAD_FORMAT),
        (r#""long""#, r#""-""#, code::BAD_FORMAT),
        (r#""long""#, "true", code::WRONG_TYPE),
        (r#""double""#, "1e400", code::OUT_OF_RANGE),
        (r#""float""#, "1e39", code::OUT_OF_RANGE),
        (r#""double""#, r#""nan""#, code::WRONG_TYPE),
    ] {
        assert_eq!(refused(schema, json), expected, "{schema} {json}");
    }
    assert_eq!(refused(r#""double""#, &format!("1.{}", "0".repeat(1_030))), code::BAD_FORMAT);
}

#[test]
fn floats_are_the_nearest_and_the_unwritable_have_names() {
    assert_eq!(one_value(r#""double""#, &["1.5", "15e-1"]), 1.5_f64.to_le_bytes());
    assert_eq!(one_value(r#""double""#, &["0.1"]), 0.1_f64.to_le_bytes());
    assert_eq!(one_value(r#""float""#, &["0.1"]), 0.1_f32.to_le_bytes());
    assert_eq!(one_value(r#""double""#, &["1e300"]), 1e300_f64.to_le_bytes());
    assert_eq!(one_value(r#""double""#, &["-0.0", "-0"]), (-0.0_f64).to_le_bytes());
    // rounds differently when it goes through a double
    assert_eq!(encode(r#""float""#, "1.00000017881393432617187499"), Ok(1.000_000_1_f32.to_le_bytes().to_vec()));
    assert_eq!(one_value(r#""double""#, &[r#""NaN""#]), f64::NAN.to_le_bytes());
    assert_eq!(one_value(r#""float""#, &[r#""-Infinity""#]), f32::NEG_INFINITY.to_le_bytes());
    assert_eq!(one_value(r#""float""#, &[r#""Infinity""#]), f32::INFINITY.to_le_bytes());
}

#[test]
fn strings_are_unicode_text() {
    assert_eq!(one_value(r#""string""#, &[r#""aé""#, r#""\u0061\u00e9""#]), "\u{6}aé".as_bytes());
    assert_eq!(refused(r#""string""#, r#""\ud800""#), code::BAD_UTF8);
    assert_eq!(refused(r#""string""#, "1"), code::WRONG_TYPE);
}

#[test]
fn bytes_are_base64_with_or_without_padding() {
    assert_eq!(one_value(r#""bytes""#, &[r#""+/8=""#, r#""+\/8=""#, r#""+/8""#]), [4, 0xFB, 0xFF]);
    assert_eq!(one_value(r#""bytes""#, &[r#""""#]), [0]);
    for bad in [r#""+/9""#, r#""A""#, r#""-_8=""#, r#""AA==A""#, r#""====""#, r#""é""#] {
        assert_eq!(refused(r#""bytes""#, bad), code::BAD_BASE64, "{bad}");
    }
    let fixed = r#"{"type":"fixed","name":"F","size":2}"#;
    assert_eq!(one_value(fixed, &[r#""+/8=""#, r#""+/8""#]), [0xFB, 0xFF]);
    assert_eq!(refused(fixed, r#""AAAA""#), code::BAD_LENGTH);
}

#[test]
fn enums_take_their_symbols_and_no_default() {
    let schema = r#"{"type":"enum","name":"E","symbols":["B","A"],"default":"A"}"#;
    assert_eq!(one_value(schema, &[r#""A""#, r#""\u0041""#]), [2]);
    assert_eq!(refused(schema, r#""C""#), code::UNKNOWN_SYMBOL);
    assert_eq!(refused(schema, "0"), code::WRONG_TYPE);
}

#[test]
fn decimals_come_from_their_digits() {
    let schema = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
    assert_eq!(one_value(schema, &[r#""12.50""#, "12.5", r#""12.5""#, "1250e-2", "12.5000", "0.125e2"]), [4, 0x04, 0xE2]);
    assert_eq!(one_value(schema, &[r#""-1.28""#]), [2, 0x80]);
    assert_eq!(one_value(schema, &[r#""1.28""#]), [4, 0x00, 0x80]);
    assert_eq!(one_value(schema, &[r#""-2.56""#]), [4, 0xFF, 0x00]);
    assert_eq!(one_value(schema, &[r#""0.00""#, "0", "-0.0", "0e9999999"]), [2, 0]);
    assert_eq!(one_value(schema, &[r#""-0.05""#]), [2, 0xFB]);
    one_value(schema, &[r#""99.99""#]);
    for (json, expected) in [
        ("12.505", code::PRECISION),
        ("100", code::OUT_OF_RANGE),
        ("1e99999999999999999999", code::OUT_OF_RANGE),
        ("1e-99999999999999999999", code::PRECISION),
        (r#"" 1""#, code::BAD_FORMAT),
        (r#""1,5""#, code::BAD_FORMAT),
        (r#""""#, code::BAD_FORMAT),
        ("null", code::WRONG_TYPE),
    ] {
        assert_eq!(refused(schema, json), expected, "{json}");
    }
    let fixed = r#"{"type":{"type":"fixed","name":"D","size":4},"logicalType":"decimal","precision":9,"scale":0}"#;
    assert_eq!(one_value(fixed, &[r#""-2""#, "-2"]), [0xFF, 0xFF, 0xFF, 0xFE]);
    let wide = r#"{"type":"bytes","logicalType":"decimal","precision":60,"scale":20}"#;
    one_value(wide, &[r#""-1234567890123456789012345678901234567890.12345678901234567891""#]);
    one_value(wide, &[r#""9999999999999999999999999999999999999999.99999999999999999999""#]);
}

#[test]
fn a_datum_with_more_digits_than_its_decimal_is_refused() {
    let schema = plan(r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":0}"#);
    for (datum, ok) in [(&[2, 99][..], true), (&[2, 100], false), (&[2, 0x9D], true), (&[2, 0x9C], false), (&[6, 0, 0, 9], true)]
    {
        assert_eq!(schema.check(datum, &Limits::default(), &mut Captures::new()).is_ok(), ok, "{datum:?}");
    }
}

#[test]
fn uuids_have_36_characters() {
    let text = r#"{"type":"string","logicalType":"uuid"}"#;
    let canonical = r#""550e8400-e29b-41d4-a716-446655440000""#;
    let forms = [canonical, r#""550E8400-E29B-41D4-A716-446655440000""#];
    assert_eq!(one_value(text, &forms).len(), 37);
    let fixed = r#"{"type":{"type":"fixed","name":"U","size":16},"logicalType":"uuid"}"#;
    assert_eq!(one_value(fixed, &forms)[..2], [0x55, 0x0e]);
    assert_eq!(refused(text, r#""550e8400e29b41d4a716446655440000""#), code::BAD_FORMAT);
    assert_eq!(refused(text, r#""{550e8400-e29b-41d4-a716-446655440000}""#), code::BAD_FORMAT);
}

#[test]
fn dates_and_times_of_day_are_text_or_their_number() {
    let date = r#"{"type":"int","logicalType":"date"}"#;
    one_value(date, &[r#""2026-03-01""#, "20513"]);
    one_value(date, &[r#""2024-02-29""#]);
    one_value(date, &[r#""1969-12-31""#, "-1"]);
    one_value(date, &[r#""0000-01-01""#, "-719528"]);
    one_value(date, &["-719529"]);
    one_value(date, &["2147483647"]);
    for bad in [r#""2026-02-29""#, r#""2026-3-1""#, r#""2026-13-01""#, r#""2026-03-00""#, r#""2026-03-01T""#, r#""20260301""#] {
        assert_eq!(refused(date, bad), code::BAD_FORMAT, "{bad}");
    }
    let millis = r#"{"type":"int","logicalType":"time-millis"}"#;
    one_value(millis, &[r#""10:15:30.250""#, r#""10:15:30.25""#, r#""10:15:30.250000""#, "36930250"]);
    one_value(millis, &[r#""00:00:00""#, "0"]);
    one_value(millis, &["86400000"]);
    one_value(millis, &["-1"]);
    assert_eq!(refused(millis, r#""10:15:30.2505""#), code::PRECISION);
    for bad in [r#""10:15""#, r#""24:00:00""#, r#""10:15:60""#, r#""10:15:30.""#, r#""10:15:30Z""#] {
        assert_eq!(refused(millis, bad), code::BAD_FORMAT, "{bad}");
    }
    one_value(r#"{"type":"long","logicalType":"time-micros"}"#, &[r#""10:15:30.250001""#, "36930250001"]);
}

#[test]
fn timestamps_have_an_offset_and_local_ones_have_none() {
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    one_value(millis, &[r#""2026-03-01T10:00:00.120Z""#, r#""2026-03-01t12:30:00.12+02:30""#, "1772359200120"]);
    one_value(millis, &[r#""1969-12-31T23:59:59.999Z""#, "-1"]);
    one_value(millis, &["253402300800000"]);
    assert_eq!(refused(millis, r#""2026-03-01T10:00:00.1205Z""#), code::PRECISION);
    for bad in [r#""2026-03-01T10:00:00""#, r#""2026-03-01 10:00:00Z""#, r#""2026-03-01T10:00Z""#, r#""2026-03-01T10:00:00+02""#]
    {
        assert_eq!(refused(millis, bad), code::BAD_FORMAT, "{bad}");
    }
    one_value(r#"{"type":"long","logicalType":"timestamp-micros"}"#, &[r#""2026-03-01T10:00:00.000001Z""#]);
    let nanos = r#"{"type":"long","logicalType":"timestamp-nanos"}"#;
    one_value(nanos, &[r#""2026-03-01T10:00:00.000000001Z""#, "1772359200000000001"]);
    assert_eq!(refused(nanos, r#""2300-01-01T00:00:00Z""#), code::OUT_OF_RANGE);
    let local = r#"{"type":"long","logicalType":"local-timestamp-millis"}"#;
    one_value(local, &[r#""2026-03-01T10:00:00.120""#, "1772359200120"]);
    assert_eq!(refused(local, r#""2026-03-01T10:00:00Z""#), code::BAD_FORMAT);
}

#[test]
fn durations_are_objects_and_other_logical_types_their_base() {
    let duration = r#"{"type":{"type":"fixed","name":"D","size":12},"logicalType":"duration"}"#;
    let forms = [r#"{"months":0,"days":1,"millis":4294967295}"#, r#"{"millis":4294967295,"days":1,"months":0}"#];
    assert_eq!(one_value(duration, &forms), [0, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255]);
    assert_eq!(
        encode(duration, r#"{"months":-1,"days":1}"#),
        Err(vec![("/months".to_owned(), code::OUT_OF_RANGE), ("/millis".to_owned(), code::MISSING)])
    );
    one_value(r#"{"type":"string","logicalType":"colour"}"#, &[r#""red""#]);
    one_value(r#"{"type":"bytes","logicalType":"big-decimal"}"#, &[r#""AAAA""#]);
}

#[test]
fn arrays_and_maps_are_one_block() {
    assert_eq!(one_value(r#"{"type":"array","items":"int"}"#, &["[1,2]", "[ 1 , 2 ]"]), [4, 2, 4, 0]);
    assert_eq!(one_value(r#"{"type":"array","items":"int"}"#, &["[]"]), [0]);
    assert_eq!(one_value(r#"{"type":"map","values":"int"}"#, &[r#"{"a":1}"#]), [2, 2, b'a', 2, 0]);
    assert_eq!(one_value(r#"{"type":"map","values":"int"}"#, &["{}"]), [0]);
    let many = format!("[{}0]", "0,".repeat(10_000));
    let datum = one_value(r#"{"type":"array","items":"int"}"#, &[&many]);
    assert_eq!(datum[..4], [0xA2, 0x9C, 0x01, 0]);
    assert_eq!(datum.len(), 3 + 10_001 + 1);
    assert_eq!(refused(r#"{"type":"array","items":"int"}"#, "{}"), code::WRONG_TYPE);
}

#[test]
fn map_keys_may_not_repeat() {
    let schema = r#"{"type":"map","values":"int"}"#;
    let errors = encode(schema, r#"{"b":1,"a/":2,"\u0062":3,"a/":4,"c":5}"#).expect_err("repeated");
    assert_eq!(errors, [("/a~1".to_owned(), code::DUPLICATE_KEY), ("/b".to_owned(), code::DUPLICATE_KEY)]);
    assert_eq!(encode(schema, r#"{"\ud800":1}"#), Err(vec![("/\\ud800".to_owned(), code::BAD_UTF8)]));
}
