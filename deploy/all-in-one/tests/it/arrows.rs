//! The walls between the rooms, read from `cargo metadata` (docs/adr/0001-rooms-and-walls.md).
//!
//! Absent on purpose: nothing here looks at what a crate does with an allowed dependency; that is for readers.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Crates that processors are; each is pure logic and meets the others through streams only.
const PROCESSORS: &[&str] = &["entities", "flights"];

/// What a processor may use of ours.
const PROCESSOR_MAY_USE: &[&str] = &["runtime", "schemas"];

/// Our own arrows: a crate and everything of ours it may name. A crate that is missing here fails the test.
const ARROWS: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("chassis", &[]),
    ("state", &["chassis"]),
    ("runtime", &["chassis", "schemas", "state"]),
    ("ingest", &["chassis", "schemas", "state"]),
    ("notifier", &["chassis", "schemas", "state"]),
    ("host", &["chassis", "entities", "flights", "runtime", "schemas", "state"]),
    ("local-engines", &["chassis", "state"]),
    ("loadtest", &["sample"]),
    // puts the engine into its own process to measure it; the harness of `loadtest` stays outside
    ("engine-bench", &["chassis", "loadtest", "runtime", "schemas", "state"]),
    ("sample", &[]),
    (
        "forebay",
        &[
            "chassis",
            "entities",
            "flights",
            "host",
            "ingest",
            "local-engines",
            "notifier",
            "runtime",
            "sample",
            "schemas",
            "state",
        ],
    ),
    ("testkit", &["chassis", "host", "ingest", "local-engines", "notifier", "runtime", "schemas", "state"]),
];

/// What tests of any crate may use beside its arrows. Rooms are not in it: a test that needs two rooms belongs to `forebay`.
const TESTS_MAY_USE: &[&str] = &["chassis", "local-engines", "runtime", "sample", "schemas", "state", "testkit"];

/// Outside crates that only some of ours may name. `.cargo/deny.toml` holds the same walls for those who run cargo-deny.
const WALLS: &[(&str, &[&str])] = &[
    // engine-bench measures the bare client beside the engine
    ("rdkafka", &["chassis", "engine-bench", "runtime", "testkit"]),
    ("rdkafka-sys", &[]),
    ("scylla", &["state", "testkit"]),
    ("fjall", &["state"]),
    ("axum", &["chassis", "forebay", "ingest", "notifier"]),
];

#[test]
fn every_crate_keeps_to_its_arrows() {
    let metadata = metadata();
    let ours = our_names(&metadata);
    let mut wrong = Vec::new();
    for (user, used, kind) in edges(&metadata) {
        if !ours.contains(used.as_str()) {
            continue;
        }
        let Some(allowed) = arrows_of(&user) else {
            wrong.push(format!("{user} has no line in ARROWS: say what it may use"));
            continue;
        };
        let for_tests = kind == DependencyKind::Development && TESTS_MAY_USE.contains(&used.as_str());
        if !allowed.contains(&used.as_str()) && !for_tests {
            wrong.push(format!("{user} must not use {used} ({kind:?}): it may use {allowed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_behind_their_walls() {
    let mut wrong = Vec::new();
    for (user, used, kind) in edges(&metadata()) {
        let Some((_, allowed)) = WALLS.iter().find(|(name, _)| *name == used) else { continue };
        if !allowed.contains(&user.as_str()) {
            wrong.push(format!("{user} must not use {used} ({kind:?}): only {allowed:?} may"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_version_stands_once_in_the_workspace_table() {
    let root = super::tidy::root();
    let mut wrong = Vec::new();
    for package in &metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a readable manifest");
        for dependency in &package.dependencies {
            let key = dependency.rename.as_deref().unwrap_or(&dependency.name);
            let shared = manifest.lines().any(|line| {
                let line = line.trim();
                line.starts_with(&format!("{key}.workspace"))
                    || (line.starts_with(&format!("{key} =")) && line.contains("workspace = true"))
            });
            if !shared {
                let at = package.manifest_path.strip_prefix(&root).unwrap_or(&package.manifest_path);
                wrong.push(format!("{at}: {key} must say `workspace = true`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn arrows_of(name: &str) -> Option<&'static [&'static str]> {
    if PROCESSORS.contains(&name) {
        return Some(PROCESSOR_MAY_USE);
    }
    ARROWS.iter().find(|(user, _)| *user == name).map(|(_, allowed)| *allowed)
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(super::tidy::root().join("Cargo.toml")).no_deps().exec().expect("cargo metadata answers")
}

fn our_names(metadata: &Metadata) -> BTreeSet<String> {
    metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect()
}

/// Every declared edge of the workspace's crates, once per kind: (user, used, kind).
fn edges(metadata: &Metadata) -> Vec<(String, String, DependencyKind)> {
    let mut edges = BTreeMap::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            let key = (package.name.to_string(), dependency.name.clone(), format!("{:?}", dependency.kind));
            edges.insert(key, dependency.kind);
        }
    }
    edges.into_iter().map(|((user, used, _), kind)| (user, used, kind)).collect()
}
