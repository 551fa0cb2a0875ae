//! What a file of this project may look like, watched with a ratchet: today's exceptions are listed and may only shrink.
//!
//! Lines of a function are clippy's business (`too_many_lines`, `.clippy.toml`); this test counts the files that opt out of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file of code, in lines, its inline tests not counted.
const CODE_LINES_MAX: usize = 400;

/// Longest file of tests, in lines.
const TEST_LINES_MAX: usize = 800;

/// Longest `main.rs`, in lines: it tells the story of the process and leaves the work to others.
const MAIN_LINES_MAX: usize = 60;

/// Visible entries of the top level: the rooms, and what tools look for there.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "deploy",
    "docker-compose.yml",
    "docs",
    "ingest",
    "loadtest",
    "notifier",
    "processors",
    "rust-toolchain.toml",
    "schemas",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "utils", "util", "helpers", "helper", "misc", "manager", "mod"];

/// Pieces of text that must not stand in the project, cut in two so that this file may hold them, with the reason.
const BANNED_TEXT: &[(&str, &str, &str)] = &[
    ("TO", "DO", "finish it, or write down why it is left out"),
    ("FIX", "ME", "fix it, or write down why it is left out"),
    ("XX", "X:", "say what is wrong, and fix it"),
    ("/ho", "me/", "a path of one machine"),
    ("/wo", "rk/", "a path of one machine"),
    ("/tm", "p/", "a path of one machine; tests use tempfile"),
    ("clippy::too_many_", "lines", "split the function"),
    ("#[ig", "nore", "a test that never runs proves nothing"),
];

/// Exceptions of today as (rule, path, size). The list may only shrink: a line that is no longer needed fails the test, and so does growth.
const EXCEPTIONS: &[(&str, &str, usize)] = &[];

/// Endings of the files whose text is looked at.
const TEXT_ENDINGS: &[&str] = &["avsc", "js", "json", "md", "mjs", "rs", "sh", "toml", "ts", "yaml", "yml"];

/// Folders that hold nothing written by hand.
const SKIPPED_FOLDERS: &[&str] = &["node_modules", "target", "vendor"];

/// A rule that was broken: its name, where, by how much (0 where there is nothing to count), and what to do.
struct Finding {
    rule: &'static str,
    path: String,
    size: usize,
    text: String,
}

#[test]
fn the_house_is_tidy() {
    let root = root();
    let files = files(&root);
    let mut findings = Vec::new();
    for file in &files {
        check_file(&root, file, &mut findings);
    }
    check_top_level(&root, &mut findings);
    check_crates(&root, &files, &mut findings);

    let broken: Vec<_> = findings.iter().filter(|finding| !is_excepted(finding)).map(|finding| finding.text.clone()).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_list_of_exceptions_only_shrinks() {
    let root = root();
    let mut findings = Vec::new();
    let files = files(&root);
    for file in &files {
        check_file(&root, file, &mut findings);
    }
    check_crates(&root, &files, &mut findings);
    for (rule, path, size) in EXCEPTIONS {
        let found = findings.iter().find(|finding| finding.rule == *rule && finding.path == *path);
        let now = found.map(|finding| finding.size);
        assert_eq!(now, Some(*size), "{rule} {path}: the exception says {size}, the file {now:?}; adapt or drop the line");
    }
}

/// The root of the workspace.
pub(super) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("deploy/all-in-one lies two folders below the root").to_path_buf()
}

fn is_excepted(finding: &Finding) -> bool {
    EXCEPTIONS.iter().any(|(rule, path, size)| *rule == finding.rule && *path == finding.path && finding.size <= *size)
}

fn check_file(root: &Path, file: &Path, findings: &mut Vec<Finding>) {
    let path = file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
    let Ok(text) = fs::read_to_string(file) else { return };
    let mut add =
        |rule, size, text: String| findings.push(Finding { rule, text: format!("{path}: {text}"), path: path.clone(), size });

    for (start, end, why) in BANNED_TEXT {
        let banned = format!("{start}{end}");
        let count = text.matches(&banned).count();
        if count > 0 {
            add("text", count, format!("`{banned}` stands here {count} times: {why}"));
        }
    }
    if !path.ends_with(".rs") {
        return;
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        add(
            "name",
            0,
            format!("`{stem}` says nothing: name the file after what it does (`thing.rs` beside `thing/`, never `mod.rs`)"),
        );
    }
    let is_test = path.contains("/tests/") || stem == "tests";
    let (lines, lines_max) = if is_test { (text.lines().count(), TEST_LINES_MAX) } else { (code_lines(&text), CODE_LINES_MAX) };
    if lines > lines_max {
        add("size", lines, format!("{lines} lines, more than {lines_max}: split it"));
    }
    if path.ends_with("src/main.rs") && lines > MAIN_LINES_MAX {
        add("main", lines, format!("{lines} lines, more than {MAIN_LINES_MAX}: main tells the story, others do the work"));
    }
    if !is_test && !text.starts_with("//!") && !text.starts_with("#!") {
        add("doc", 0, "must begin with `//!`: what it is and who calls it".to_owned());
    }
}

/// Lines before the inline test module.
fn code_lines(text: &str) -> usize {
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

fn check_top_level(root: &Path, findings: &mut Vec<Finding>) {
    // What git ignores is made by tools and by runs, not by us.
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    for name in entries(root) {
        if !name.starts_with('.') && !is_ignored(&name) && !TOP_LEVEL.contains(&name.as_str()) {
            let text = format!("{name}: does not belong to the top level, which holds the rooms only");
            findings.push(Finding { rule: "top level", path: name, size: 0, text });
        }
    }
}

fn check_crates(root: &Path, files: &[PathBuf], findings: &mut Vec<Finding>) {
    let folders: BTreeSet<_> =
        files.iter().filter(|file| file.ends_with("Cargo.toml")).filter_map(|file| file.parent()).collect();
    for folder in folders {
        let path = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
        if !folder.join("README.md").is_file() {
            let place = if path.is_empty() { "the top level" } else { &path };
            let text = format!("{place}: has no README.md (purpose, when to edit, what it must not contain, its surface)");
            findings.push(Finding { rule: "readme", path: path.clone(), size: 0, text });
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if EMPTY_NAMES.contains(&name.as_str()) {
            findings.push(Finding { rule: "name", text: format!("{path}: `{name}` says nothing"), path, size: 0 });
        }
    }
}

/// All text files of the project, without what tools made and without hidden folders other than ours.
pub(super) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for name in entries(&folder) {
            let path = folder.join(&name);
            let hidden = name.starts_with('.') && ![".cargo", ".ci"].contains(&name.as_str());
            if path.is_dir() {
                if !hidden && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| TEXT_ENDINGS.iter().any(|known| *known == ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    entries.map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned()).collect()
}
