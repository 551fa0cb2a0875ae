//! The helpers against a real broker and real processes.

use std::process::Command;
use std::time::Duration;

use testkit::{Process, unique};

#[tokio::test]
async fn what_is_produced_is_read_in_order_with_its_headers() {
    let kafka = testkit::kafka_only().await;
    let topic = unique("testkit");
    kafka.create(&topic, 3).await;
    assert_eq!(kafka.read(&topic).await, []);
    for n in 0..5_u8 {
        let headers: [(&str, &[u8]); 2] = [("seq", b"1"), ("cause", &[n])];
        kafka.produce(&topic, Some(i32::from(n % 2)), b"key", &[n], &headers).await;
    }
    let records = kafka.read(&topic).await;
    let places: Vec<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    assert_eq!(records[1].value.as_deref(), Some(&[2_u8][..]));
    assert_eq!((records[0].subject().as_str(), records[0].header("seq")), ("key", Some("1")));
}

#[tokio::test]
async fn a_process_is_heard_and_ends_when_told() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'echo ending; exit 7' TERM; echo begun; while :; do sleep 0.05; done"]);
    let mut process = Process::start(command);
    process.line(Duration::from_secs(10), "begun").await;
    let status = process.terminate(Duration::from_secs(10)).await;
    assert_eq!(status.code(), Some(7));
    process.line(Duration::from_secs(10), "ending").await;
}
