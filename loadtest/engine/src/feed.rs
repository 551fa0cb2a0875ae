//! The input: events over keys, as a producer of any language would write them.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chassis::ffi;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use schemas::datum::Datum;
use schemas::names;
use schemas::partition::partition_of;

use crate::model::{EVENT, Reading, STREAM};
use crate::stream::{Deployment, Headers, Shape};

/// Everything sent must be acknowledged within this.
const FLUSH: Duration = Duration::from_secs(120);

/// The key of event `number`: any of them.
pub(crate) fn key_of(number: u64, keys: u64) -> String {
    format!("k{:06}", (number.wrapping_mul(2_654_435_761) >> 7) % keys.max(1))
}

/// The key of event `number`: one after the other.
pub(crate) fn key_in_turn(number: u64, keys: u64) -> String {
    format!("k{:06}", number % keys.max(1))
}

/// Sum over keys of 1 + 2 + … + count: what the counts in the results of `events` events add up to.
pub(crate) fn sum_of_counts(events: u64, keys: u64) -> u64 {
    let mut counts = vec![0u32; usize::try_from(keys).unwrap_or_default()];
    let mut sum = 0;
    for number in 0..events {
        let at = (number.wrapping_mul(2_654_435_761) >> 7) % keys.max(1);
        if let Some(count) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
            *count += 1;
            sum += u64::from(*count);
        }
    }
    sum
}

/// Writes these events; with `rate` that many a second, evenly.
pub(crate) fn write(
    deployment: &Deployment,
    shape: &Shape,
    events: Range<u64>,
    rate: Option<u64>,
    keys: fn(u64, u64) -> String,
) -> Result<Duration> {
    let mut config = deployment.kafka.client_config();
    let settings = [("acks", "all"), ("enable.idempotence", "true"), ("linger.ms", "5"), ("batch.size", "1000000")];
    for (name, value) in settings.iter().chain(&[("batch.num.messages", "10000"), ("queue.buffering.max.messages", "500000")]) {
        config.set(*name, *value);
    }
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().context("the producer")?;
    let (topic, schema) = (deployment.topics.events(STREAM), deployment.event_id()?);
    let begun = Instant::now();
    let mut value = Vec::with_capacity(shape.size + 16);
    let from = events.start;
    for number in events {
        if let Some(rate) = rate {
            wait(begun, (number - from) as f64 / rate as f64);
        }
        let key = keys(number, shape.keys);
        value.clear();
        schemas::frame::begin(schema, &mut value);
        Reading::new(number + 1, shape.size).encode(&mut value);
        let record = BaseRecord::to(&topic).key(&key).payload(&value).partition(partition_of(&key, shape.shards));
        send(&producer, with_headers(record, number, shape.headers))?;
    }
    anyhow::ensure!(ffi::flush(&producer, FLUSH), "the events were not acknowledged within {FLUSH:?}");
    Ok(begun.elapsed())
}

fn wait(begun: Instant, due: f64) {
    let early = Duration::from_secs_f64(due).saturating_sub(begun.elapsed());
    if early > Duration::from_micros(500) {
        std::thread::sleep(early);
    }
}

type Out<'a> = BaseRecord<'a, String, Vec<u8>>;

/// The headers the edge would write.
fn with_headers(record: Out<'_>, number: u64, style: Headers) -> Out<'_> {
    if style == Headers::Bare {
        return record;
    }
    let id = format!("01933b0f-8a5e-7c3d-9e2f-{number:012x}");
    let header = |key, value| Header { key, value: Some(value) };
    let mut headers = OwnedHeaders::new_with_capacity(6).insert(header(names::HEADER_CE_ID, id.as_str()));
    if style == Headers::Cloudevents {
        headers = headers
            .insert(header(names::HEADER_CE_SPECVERSION, "1.0"))
            .insert(header(names::HEADER_CE_TYPE, EVENT))
            .insert(header(names::HEADER_CE_SOURCE, "/accounts/bench"))
            .insert(header(names::HEADER_CE_TIME, "2026-11-21T09:30:00.123456Z"));
    }
    record.headers(headers.insert(header(names::HEADER_CE_PRINCIPAL, "bench/key:loader")))
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, mut record: Out<'_>) -> Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error).context("an event"),
        }
    }
}
