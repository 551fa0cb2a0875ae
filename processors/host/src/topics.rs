//! Topics that the catalog asks for, with the settings that the protocol needs.

use chassis::kafka::topics::Spec;
use schemas::catalog::{Catalog, Stream};
use schemas::names::{CANARY_PARTITIONS, Topics};

/// A dead letter is an input with its headers: records of this topic may be this large, bytes.
const DEAD_BYTES_MAX: usize = 2 << 20;

/// Every topic of the deployment.
#[must_use]
pub fn specs(catalog: &Catalog, topics: &Topics) -> Vec<Spec> {
    let mut specs: Vec<_> = catalog.streams().iter().flat_map(|stream| of_stream(stream, topics)).collect();
    let compacted = [("cleanup.policy", "compact".to_owned())];
    specs.push(spec(topics.keys(), 1, &compacted));
    specs.push(spec(topics.revocations(), 1, &compacted));
    specs.push(spec(topics.canary(), CANARY_PARTITIONS, &[("retention.ms", "3600000".to_owned())]));
    specs
}

/// The four topics of a stream. Events and log carry the broker's time: the dedupe window and the clock guard go by it.
fn of_stream(stream: &Stream, topics: &Topics) -> Vec<Spec> {
    let name = &stream.name;
    let ms = |duration: std::time::Duration| duration.as_millis().to_string();
    let append_time = ("message.timestamp.type", "LogAppendTime".to_owned());
    vec![
        spec(topics.events(name), stream.partitions, &[append_time.clone(), ("retention.ms", ms(stream.retention.events))]),
        spec(topics.results(name), stream.partitions, &[("retention.ms", ms(stream.retention.results))]),
        spec(
            topics.log(name),
            stream.partitions,
            &[append_time, ("retention.ms", "-1".to_owned()), ("retention.bytes", stream.retention.log_bytes.to_string())],
        ),
        spec(
            topics.dead(name),
            stream.partitions,
            &[("retention.ms", ms(stream.retention.dead)), ("max.message.bytes", DEAD_BYTES_MAX.to_string())],
        ),
    ]
}

fn spec(name: String, partitions: i32, config: &[(&str, String)]) -> Spec {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Spec { name, partitions, config }
}
