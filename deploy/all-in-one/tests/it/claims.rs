//! What the documents promise: each test they name exists.

use std::fs;
use std::path::PathBuf;

use crate::tidy::{files, root};

/// A name in backticks with so many words is taken for a test's: those of tests are claims, and little else is as long.
const WORDS_MIN: usize = 5;

/// Long names that are something else: metrics, settings and fields.
const NO_TESTS: &[&str] = &["forebay_", "transaction_"];

#[test]
fn every_test_that_a_document_names_exists() {
    let root = root();
    let files = files(&root);
    let ends = |file: &&PathBuf, wanted: &str| file.extension().is_some_and(|ending| ending == wanted);
    let code: String = files.iter().filter(|file| ends(file, "rs")).map(|file| fs::read_to_string(file).unwrap()).collect();
    let mut named = 0;
    let mut wrong = Vec::new();
    for document in files.iter().filter(|file| ends(file, "md")) {
        let text = fs::read_to_string(document).unwrap();
        for name in text.split('`').skip(1).step_by(2).filter(|name| is_test(name)) {
            named += 1;
            if !code.contains(&format!("fn {name}(")) {
                wrong.push(format!("{}: there is no test {name}", document.strip_prefix(&root).unwrap_or(document).display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 20, "the documents name only {named} tests");
}

fn is_test(name: &str) -> bool {
    let plain = name.chars().all(|sign| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_');
    plain && name.split('_').count() >= WORDS_MIN && !NO_TESTS.iter().any(|start| name.starts_with(start))
}
