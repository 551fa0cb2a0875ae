//! A start that cannot work says why and what to do, in one sentence, and leaves nothing behind.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Runs `forebay` until it ends and returns what it told.
pub(crate) async fn told(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await.expect("it ends by itself").unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_helps() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = told(&["--http", &address, "--kafka", "127.0.0.1:1", "--registry", "http://127.0.0.1:1"]).await;
    assert!(text.contains("in use") && text.contains("--http"), "{text}");
}

#[tokio::test]
async fn a_missing_broker_is_named_with_its_address() {
    let text = told(&["topics", "check", "--kafka", "127.0.0.1:1"]).await;
    assert!(text.contains("127.0.0.1:1") && text.contains("kafka"), "{text}");
}

#[tokio::test]
async fn a_missing_registry_is_named_with_its_address() {
    let engines = testkit::engines().await;
    let nowhere = "http://127.0.0.1:1/apis/ccompat/v7";
    let public = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let text = told(&[&public[..], &["--kafka", &engines.kafka, "--registry", nowhere]].concat()).await;
    assert!(text.contains(nowhere) && text.contains("registry"), "{text}");
}

#[tokio::test]
async fn an_unknown_setting_is_named() {
    let text = told(&["--set", "sample.evnts=1"]).await;
    assert!(text.contains("sample.evnts") && text.contains("--dump-config"), "{text}");
}
