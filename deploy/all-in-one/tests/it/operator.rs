//! The operator's commands, as an operator runs them.

use std::process::Stdio;
use std::time::Duration;

use testkit::Kafka;
use tokio::process::Command;

use crate::machines::{AllInOne, Machine};
use crate::native;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `forebay` with the machine's flags: exit status, output, errors.
async fn forebay(machine: &AllInOne, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    let output = command.args(arguments).args(machine.audited()).stdin(Stdio::null()).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

async fn succeeds(machine: &AllInOne, arguments: &[&str]) -> String {
    let (code, out, error) = forebay(machine, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {out}\n{error}");
    out
}

async fn dead_letters(machine: &AllInOne, count: usize) {
    let topic = format!("{}flights.dead", machine.prefix());
    let kafka = Kafka::new(&machine.kafka());
    testkit::eventually_async(PATIENCE, || async { (kafka.read(&topic).await.len() >= count).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_a_dead_letter_sends_it_again_once_and_audits_the_rest() {
    let mut machine = AllInOne::new("operator").await;
    machine.start().await;
    let value = native::departure(&machine).await;
    let headers: [(&str, &[u8]); 3] = [("ce_id", b"c-1"), ("ce_source", b"/my/service"), ("ce_type", b"flight.cancelled")];
    let events = format!("{}flights.events", machine.prefix());
    Kafka::new(&machine.kafka()).produce(&events, None, b"DTW", &value, &headers).await;
    dead_letters(&machine, 1).await;

    let list = succeeds(&machine, &["dead-letters", "list", "--stream", "flights", "--reason", "unknown_schema"]).await;
    assert!(list.contains("flights.dead/") && list.contains("flight.cancelled") && list.contains("\"DTW\""), "{list}");
    let position = list.split_whitespace().next().unwrap();
    let show = succeeds(&machine, &["dead-letters", "show", "--stream", "flights", position]).await;
    assert!(show.contains("\"destination\":\"LAS\"") && show.contains("ce_id            c-1"), "{show}");
    assert!(succeeds(&machine, &["dead-letters", "list", "--stream", "flights", "--reason", "panic"]).await.is_empty());

    let redrive = ["dead-letters", "redrive", "--stream", "flights", position];
    let dry = succeeds(&machine, &redrive).await;
    assert!(dry.contains("1 events would be sent again, 0 letters left; nothing was sent: say --yes"), "{dry}");
    let sent = succeeds(&machine, &[&redrive[..], &["--yes"]].concat()).await;
    assert!(sent.contains("1 events sent again, 0 letters left"), "{sent}");
    let again = succeeds(&machine, &[&redrive[..], &["--yes"]].concat()).await;
    assert!(again.contains("was sent again before") && again.contains("0 events sent again, 1 letters left"), "{again}");
    dead_letters(&machine, 2).await; // the type is still unknown

    let (code, _, error) = forebay(&machine, &["audit", "--live"]).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("Stop it and audit with --stopped") && error.contains("--live --log-only"), "{error}");
    let (code, _, error) = forebay(&machine, &["audit"]).await;
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("another process has the state folder"), "{error}");
    machine.audit(&["--live", "--log-only"]).await;
    machine.stop().await;
    let report = succeeds(&machine, &["audit", "--stopped", "--stream", "flights", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report[0]["findings"].as_array().map(Vec::len), Some(0), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lets_a_shard_go_on_behind_an_event_and_the_audit_names_it() {
    let mut machine = AllInOne::new("doctor").await;
    machine.start().await;
    let (kafka, value) = (Kafka::new(&machine.kafka()), native::departure(&machine).await);
    let (events, results) = (format!("{}flights.events", machine.prefix()), machine.results_topic());
    let send = async |id: &str| {
        let headers: [(&str, &[u8]); 2] = [("ce_id", id.as_bytes()), ("ce_source", b"/my/service")];
        kafka.produce(&events, None, b"DTW", &value, &headers).await;
    };
    let told = async |count: usize| {
        testkit::eventually_async(PATIENCE, || async { (kafka.read(&results).await.len() >= count).then_some(()) }).await;
    };
    send("before").await;
    told(1).await;

    let shard = format!("flights/{}", schemas::partition::partition_of("DTW", 16));
    let seek = |position| ["doctor", "seek", &shard, position];
    let (code, out, error) = forebay(&machine, &["doctor"]).await;
    assert!(code != 0 && format!("{out}{error}").contains("seek"), "{out}{error}");
    for bad in [["doctor", "seek", "flights", "flights.events=2"], seek("flights.events")] {
        let (code, _, error) = forebay(&machine, &bad).await;
        assert!(code == 2 && error.contains("wanted: "), "{code}: {error}");
    }
    // it runs: its store is taken
    let (code, _, error) = forebay(&machine, &seek("flights.events=2")).await;
    assert!(code != 0 && error.contains("another process has the state folder"), "{code}: {error}");
    machine.stop().await;
    send("passed over").await;
    send("after").await;
    // the session of the member that stopped ends by its time-out
    let alone = async |position| {
        testkit::eventually_async(PATIENCE, || async {
            let sought = forebay(&machine, &seek(position)).await;
            (!sought.2.contains("has members")).then_some(sought)
        })
        .await
    };
    let (code, _, error) = alone("flights.events=4").await;
    assert!(code != 0 && error.contains("ends at 3"), "{code}: {error}");
    let (code, out, error) = alone("flights.events=2").await;
    assert_eq!((code, out.trim()), (0, &*format!("{shard} goes on at offset 2 of flights.events")), "{error}");

    machine.start().await;
    told(2).await;
    machine.stop().await;
    let (_, report, error) = forebay(&machine, &["audit", "--stopped", "--stream", "flights", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}{error}"));
    let findings = report[0]["findings"].as_array().unwrap();
    assert!(findings.len() == 1 && findings[0].to_string().contains("is lost"), "{report}");
}
