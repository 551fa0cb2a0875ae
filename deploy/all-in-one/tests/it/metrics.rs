//! `docs/metrics.md` and the code name the same metrics, and its alarms lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The files that name metrics, one per crate that has any.
const SOURCES: [&str; 6] = ["processors/runtime", "processors/state", "processors/chassis", "schemas", "ingest", "notifier"];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every `forebay_…` word between two of these marks.
fn names(text: &str, mark: char) -> BTreeSet<String> {
    let words = text.split(mark).filter(|word| word.starts_with("forebay_"));
    words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_in_the_documentation() {
    let code: BTreeSet<_> = SOURCES.iter().flat_map(|source| names(&read(&format!("{source}/src/metrics.rs")), '"')).collect();
    let documented = names(&read("docs/metrics.md"), '`');
    let missing: Vec<_> = code.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&code).collect();
    assert!(missing.is_empty() && stale.is_empty(), "docs/metrics.md lacks {missing:?} and has {stale:?} too many");
}

#[test]
fn every_alarm_has_its_page_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let pages: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(|title| title.to_lowercase().replace(' ', "-")).collect();
    let metrics = read("docs/metrics.md");
    for link in metrics.split("runbook.md#").skip(1).chain(runbook.split("](#").skip(1)) {
        let page = link.split(')').next().unwrap_or_default();
        assert!(pages.contains(page), "no page {page} in docs/runbook.md");
    }
}
