//! What holds for every schema and value.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use schemas::plan::{Captures, EncodeOptions, FieldErrors, Limits, Plan, UnknownFields};

use super::generate::{Case, case};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() }
}

fn compile(schema: &Schema) -> Plan {
    Plan::compile(schema).expect("a plan")
}

fn encode(plan: &Plan, json: &str) -> Result<Vec<u8>, FieldErrors> {
    let (mut out, mut errors) = (Vec::new(), FieldErrors::new());
    plan.encode(json, &EncodeOptions::default(), &mut out, &mut Captures::new(), &mut errors).expect("json");
    if errors.is_empty() { Ok(out) } else { Err(errors) }
}

fn reference_encodes(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut value = value.clone();
    canonical_nan(&mut value);
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(value).expect("the reference encodes")
}

/// All NaN are one in JSON.
fn canonical_nan(value: &mut Value) {
    match value {
        Value::Float(float) if float.is_nan() => *float = f32::NAN,
        Value::Double(double) if double.is_nan() => *double = f64::NAN,
        Value::Array(items) => items.iter_mut().for_each(canonical_nan),
        Value::Map(entries) => entries.values_mut().for_each(canonical_nan),
        Value::Record(fields) => fields.iter_mut().for_each(|(_, field)| canonical_nan(field)),
        Value::Union(_, inner) => canonical_nan(inner),
        _ => {}
    }
}

fn check(plan: &Plan, datum: &[u8]) -> bool {
    plan.check(datum, &Limits::default(), &mut Captures::new()).is_ok()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn json_becomes_the_bytes_the_reference_writes(Case { schema, value, json, turned } in case()) {
        let plan = compile(&schema);
        let expected = reference_encodes(&schema, &value);
        prop_assert_eq!(encode(&plan, &json).map_err(FieldErrorsText::from), Ok(expected.clone()), "{}", json);
        prop_assert_eq!(encode(&plan, &turned).map_err(FieldErrorsText::from), Ok(expected.clone()), "{}", turned);
        prop_assert!(check(&plan, &expected));
    }

    #[test]
    fn what_is_rendered_reads_back_as_the_same_bytes(Case { schema, value, .. } in case()) {
        let plan = compile(&schema);
        let datum = reference_encodes(&schema, &value);
        let mut json = String::new();
        plan.render(&datum, &mut json).expect("a datum");
        prop_assert_eq!(encode(&plan, &json).map_err(FieldErrorsText::from), Ok(datum), "{}", json);
    }

    #[test]
    fn what_the_checker_accepts_the_reference_decodes(
        Case { schema, value, .. } in case(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
    ) {
        let plan = compile(&schema);
        let mut datum = reference_encodes(&schema, &value);
        for (at, byte, kind) in changes {
            mutate(&mut datum, &at, byte, kind);
        }
        let accepted = check(&plan, &datum);
        let mut rest = datum.as_slice();
        let decoded = GenericDatumReader::builder(&schema).build().expect("a reader").read_value(&mut rest);
        if accepted {
            prop_assert!(decoded.is_ok(), "{:?}: {:?}", datum, decoded);
            prop_assert!(rest.is_empty());
            let mut json = String::new();
            prop_assert_eq!(plan.render(&datum, &mut json), Ok(()));
            // block sizes and long varints are other bytes for the same value; reading back gives what rendering shows
            let again = encode(&plan, &json).map_err(FieldErrorsText::from);
            prop_assert!(again.is_ok(), "{}: {:?}", json, again);
            let mut second = String::new();
            prop_assert_eq!(plan.render(&again.unwrap_or_default(), &mut second), Ok(()));
            prop_assert_eq!(json, second);
        }
    }

    #[test]
    fn no_bytes_and_no_text_make_it_panic(Case { schema, json, .. } in case(), bytes in prop::collection::vec(any::<u8>(), 0..64),
        cut in any::<prop::sample::Index>(), character in prop::sample::select(r#"{}[]",:0-9eE.+\u tfn"#.chars().collect::<Vec<_>>())) {
        let plan = compile(&schema);
        let _ = check(&plan, &bytes);
        let _ = plan.render(&bytes, &mut String::new());
        let _ = plan.fields(&bytes);
        let at = cut.index(json.len() + 1);
        let at = (0..=at).rev().find(|at| json.is_char_boundary(*at)).unwrap_or_default();
        let broken = [format!("{}{character}{}", &json[..at], &json[at..]), json[..at].to_owned()];
        for text in broken {
            for unknown_fields in [UnknownFields::Reject, UnknownFields::Ignore] {
                let options = EncodeOptions { unknown_fields, ..EncodeOptions::default() };
                let (mut out, mut errors) = (Vec::new(), FieldErrors::new());
                let ended = plan.encode(&text, &options, &mut out, &mut Captures::new(), &mut errors);
                let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
                prop_assert_eq!(ended.is_ok(), is_json, "{}", text);
                prop_assert!(out.is_empty() || ended.is_ok() && errors.is_empty() && check(&plan, &out));
            }
        }
    }

    #[test]
    fn all_faults_are_found_in_any_order_of_members(
        kinds in prop::collection::vec(0..4_usize, 1..12),
        order in prop::collection::vec(any::<u32>(), 12),
    ) {
        let fields: Vec<_> = (0..kinds.len()).map(|field| format!(r#"{{"name":"f{field}","type":"int"}}"#)).collect();
        let schema = format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(","));
        let plan = compile(&Schema::parse_str(&schema).expect("a schema"));
        let mut expected = Vec::new();
        let mut members = Vec::new();
        for (field, kind) in kinds.iter().enumerate() {
            let pointer = format!("/f{field}");
            match kind {
                0 => members.push(format!(r#""f{field}":{field}"#)),
                1 => expected.push((pointer, "missing")),
                2 => {
                    members.push(format!(r#""f{field}":"x""#));
                    expected.push((pointer, "wrong_type"));
                }
                _ => {
                    members.push(format!(r#""f{field}":3e9"#));
                    expected.push((pointer, "out_of_range"));
                }
            }
        }
        let mut shuffled: Vec<_> = members.iter().zip(&order).collect();
        shuffled.sort_by_key(|(_, order)| **order);
        let members: Vec<_> = shuffled.into_iter().map(|(member, _)| member.as_str()).collect();
        let found = match encode(&plan, &format!("{{{}}}", members.join(","))) {
            Ok(_) => Vec::new(),
            Err(mut errors) => errors.take().into_iter().map(|error| (error.pointer, error.code)).collect(),
        };
        let (mut found, mut expected) = (found, expected);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

fn mutate(datum: &mut Vec<u8>, at: &prop::sample::Index, byte: u8, kind: u8) {
    let position = at.index(datum.len() + 1);
    match kind {
        0 => datum.insert(position, byte),
        _ if position == datum.len() => {}
        1 => datum[position] = byte,
        _ => drop(datum.remove(position)),
    }
}

/// What the faults say, for failing tests.
#[derive(Debug, PartialEq, Eq)]
struct FieldErrorsText(String);

impl From<FieldErrors> for FieldErrorsText {
    fn from(errors: FieldErrors) -> Self {
        FieldErrorsText(format!("{:?}", errors.kept()))
    }
}
