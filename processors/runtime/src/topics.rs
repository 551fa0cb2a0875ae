//! Topics of a stream, with the settings that the protocol needs. A worker starts on no others.

use chassis::kafka::topics::Spec;
use schemas::catalog::{Catalog, Stream};
use schemas::names::Topics;

/// A dead letter is an input with its headers: records of this topic may be this large, bytes.
const DEAD_BYTES_MAX: usize = 2 << 20;

/// The four topics of a stream. Events and log carry the broker's time: the dedupe window and the clock guard go by it.
#[must_use]
pub fn of_stream(stream: &Stream, topics: &Topics) -> Vec<Spec> {
    let retention = &stream.retention;
    let log = vec![append_time(), setting("retention.ms", "-1"), setting("retention.bytes", &retention.log_bytes)];
    let dead = vec![setting("retention.ms", &retention.dead.as_millis()), setting("max.message.bytes", &DEAD_BYTES_MAX)];
    vec![
        events(stream, topics),
        results(stream, topics),
        spec(topics.log(&stream.name), stream, log),
        spec(topics.dead(&stream.name), stream, dead),
    ]
}

/// Everything that workers of a stream read and write: its own topics, results of streams it follows, events of streams it
/// sends to.
pub(crate) fn of_workers(stream: &Stream, catalog: &Catalog, topics: &Topics) -> Vec<Spec> {
    let followed = stream.follows.iter().filter_map(|follow| catalog.stream(&follow.stream));
    let targets = stream.sends.iter().filter_map(|name| catalog.stream(name)).filter(|target| target.name != stream.name);
    let mut specs = of_stream(stream, topics);
    specs.extend(followed.map(|other| results(other, topics)));
    specs.extend(targets.map(|other| events(other, topics)));
    specs
}

fn events(stream: &Stream, topics: &Topics) -> Spec {
    let config = vec![append_time(), setting("retention.ms", &stream.retention.events.as_millis())];
    spec(topics.events(&stream.name), stream, config)
}

fn results(stream: &Stream, topics: &Topics) -> Spec {
    spec(topics.results(&stream.name), stream, vec![setting("retention.ms", &stream.retention.results.as_millis())])
}

fn spec(name: String, stream: &Stream, config: Vec<(String, String)>) -> Spec {
    Spec { name, partitions: stream.partitions, config }
}

fn append_time() -> (String, String) {
    setting("message.timestamp.type", "LogAppendTime")
}

fn setting(key: &str, value: &(impl ToString + ?Sized)) -> (String, String) {
    (key.to_owned(), value.to_string())
}
