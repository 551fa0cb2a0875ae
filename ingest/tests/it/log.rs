//! What stands in a topic, as any consumer reads it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use chassis::kafka::tail::{Options, Source, Start, Tail, TailEvent, TailRecord};
use chassis::lifecycle::Lifecycle;

use crate::server::Server;

/// The record at a verdict's position.
pub(crate) async fn record(server: &Server, stream: &str, verdict: &serde_json::Value) -> TailRecord {
    let partition = i32::try_from(verdict["partition"].as_i64().unwrap()).unwrap();
    let offset = verdict["offset"].as_i64().unwrap();
    let source = Source { topic: server.topics.events(stream), partition, start: Start::Offset(offset) };
    let mut found = read(server, vec![source], |records| !records.is_empty()).await;
    let record = found.remove(0);
    assert_eq!((record.partition, record.offset), (partition, offset));
    record
}

/// All records of a stream's topic; `enough` says when to stop.
pub(crate) async fn all(
    server: &Server,
    stream: &str,
    partitions: i32,
    enough: impl Fn(&[TailRecord]) -> bool,
) -> Vec<TailRecord> {
    let topic = server.topics.events(stream);
    let source = |partition| Source { topic: topic.clone(), partition, start: Start::Beginning };
    read(server, (0..partitions).map(source).collect(), enough).await
}

async fn read(server: &Server, sources: Vec<Source>, enough: impl Fn(&[TailRecord]) -> bool) -> Vec<TailRecord> {
    let lifecycle = Lifecycle::new();
    let (_tail, mut events) = Tail::start(&server.kafka, &Options::default(), sources, &lifecycle).unwrap();
    let mut records = Vec::new();
    while !enough(&records) {
        let event = timeout(Duration::from_secs(30), events.recv()).await.expect("the records do not come").unwrap();
        if let TailEvent::Record(record) = event {
            records.push(record);
        }
    }
    records
}

/// Headers by name, as text.
pub(crate) fn headers(record: &TailRecord) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    record.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}
