//! `forebay-processor` on its command line.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod engines;
#[cfg(test)]
mod markers;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod partitions;
#[cfg(test)]
mod show;

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay-processor")).args(arguments).output().expect("the binary was built with this test")
}

#[test]
fn every_setting_is_printed_and_a_flag_wins() {
    let output = run(&["--kafka", "broker:1", "--dump-config"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for expected in ["bootstrap = \"broker:1\"", "topic_prefix", "dedupe_window_s", "keyspace"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn an_unknown_processor_is_answered_with_those_there_are() {
    let output = run(&["nonsense"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("no processor nonsense") && text.contains("flights"), "{text}");
}

#[test]
fn a_missing_broker_is_named_with_its_address() {
    let output = run(&["flights", "--kafka", "127.0.0.1:1", "--admin", "127.0.0.1:0"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("127.0.0.1:1"), "{text}");
}
