//! What the documents promise: each test they name exists, and so does the code they show.

use std::collections::BTreeSet;
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

#[test]
fn the_walk_through_shows_lines_of_the_files_it_names() {
    let page = fs::read_to_string(root().join("docs/adding-a-processor.md")).unwrap();
    let mut checked = 0;
    let mut parts = page.split("```");
    while let (Some(before), Some(block)) = (parts.next(), parts.next()) {
        // a block shows a file when the paragraph before it names one
        let paragraph = before.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let named = paragraph.split('`').skip(1).step_by(2).filter_map(|path| fs::read_to_string(root().join(path)).ok()).next();
        let Some(file) = named else { continue };
        let lines: BTreeSet<_> = file.lines().map(plain).collect();
        for line in block.lines().skip(1).map(plain) {
            assert!(lines.contains(line), "the walk through shows a line that its file has not: {line}");
        }
        checked += 1;
    }
    assert_eq!(checked, 3, "schema, catalog and logic are shown");
}

/// A line without its comment and without the comma of a list that was shortened.
fn plain(line: &str) -> &str {
    line.split("    #").next().unwrap_or(line).trim().trim_end_matches(',')
}
