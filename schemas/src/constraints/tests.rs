use super::*;
use crate::datum::{write_bytes, write_long};

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"skipped","type":"long"},
    {"name":"miles","type":"int"},
    {"name":"mean","type":"double"},
    {"name":"code","type":"string"},
    {"name":"mail","type":["null","string"]},
    {"name":"tags","type":{"type":"array","items":"string"}}]}"#;

fn compile(rules: &str) -> Result<Constraints, Error> {
    Constraints::compile(&Schema::parse_str(SCHEMA).unwrap(), &toml::from_str(rules).unwrap())
}

fn long(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_long(value, &mut out);
    out
}

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(value.as_bytes(), &mut out);
    out
}

fn violations(rules: &str, changed: &str, bytes: &[u8]) -> Vec<(String, &'static str, String)> {
    let skipped = long(5);
    let miles = long(1);
    let mean = 1.5f64.to_le_bytes();
    let code = text("ATL");
    let mut fields: Vec<(&str, &[u8])> =
        vec![("skipped", &skipped), ("miles", &miles), ("mean", &mean), ("code", &code), ("mail", &[0]), ("tags", &[0])];
    for field in &mut fields {
        if field.0 == changed {
            field.1 = bytes;
        }
    }
    let datum: Vec<u8> = fields.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let plan = Plan::compile(&Schema::parse_str(SCHEMA).unwrap()).unwrap();
    let mut found = FieldErrors::new();
    compile(rules).unwrap().check(&plan, &datum, "/data", &mut found).unwrap();
    found.take().into_iter().map(|error| (error.pointer, error.code, error.actual.unwrap_or_default())).collect()
}

#[test]
fn every_rule_finds_what_breaks_it() {
    let mail = |address: &str| [&[2][..], &text(address)].concat();
    let cases: [(&str, &str, Vec<u8>, &str, &str); 9] = [
        ("miles = { min = 0 }", "miles", long(-1), "out_of_range", "-1"),
        ("miles = { max = 9 }", "miles", long(10), "out_of_range", "10"),
        ("mean = { max = 2 }", "mean", f64::NAN.to_le_bytes().to_vec(), "out_of_range", "NaN"),
        ("code = { min_len = 1 }", "code", text(""), "bad_length", "0"),
        ("code = { max_len = 3 }", "code", text("äöüß"), "bad_length", "4"),
        ("code = { pattern = \"[A-Z]{3}|x\" }", "code", text("ATLx"), "bad_format", "ATLx"),
        ("code = { one_of = [\"a\", \"b\"] }", "code", text("c"), "unknown_symbol", "c"),
        ("mail = { format = \"email\" }", "mail", mail("ada@localhost"), "bad_format", "ada@localhost"),
        ("tags = { min_len = 1 }", "tags", vec![0], "bad_length", "0"),
    ];
    for (rules, field, bytes, code, actual) in cases {
        assert_eq!(violations(rules, field, &bytes), [(format!("/data/{field}"), code, actual.to_owned())], "{rules}");
    }
}

#[test]
fn what_keeps_the_rules_passes() {
    assert_eq!(violations("miles = { min = 1, max = 1 }\ncode = { pattern = \"[A-Z]{3}\" }", "", &[]), []);
    assert_eq!(violations("mail = { format = \"email\", min_len = 3 }", "", &[]), [], "null passes");
    for address in ["ada@example.org", "a+b@sub.example.org", "ä@bücher.example"] {
        assert_eq!(violations("mail = { format = \"email\" }", "mail", &[&[2][..], &text(address)].concat()), [], "{address}");
    }
}

#[test]
fn a_rule_that_does_not_fit_is_a_sentence() {
    let said = |rules: &str| compile(rules).unwrap_err().to_string();
    assert_eq!(said("nix = { min = 0 }"), "there are rules for a field nix, which the record does not have");
    assert_eq!(said("code = { min = 0 }"), "field code: min does not fit its type; it fits numbers");
    assert!(said("miles = { min = 0.5 }").contains("whole numbers take whole bounds"));
    assert!(said("code = { pattern = \"(\" }").starts_with("field code: the pattern is not a regular expression"));
}
