//! What librdkafka calls: reports, statistics, errors.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::{Statistics, Window};
use tokio::sync::Notify;

use super::acks::{Acks, Cause, Outcome};
use super::progress::Progress;
use crate::ffi::{self, Persistence};
use crate::{kafka, metrics as names};

/// The callbacks of one client.
pub(super) struct Context {
    progress: Arc<Progress>,
    /// Woken by every error, since a fatal one comes under the code of its cause; who waits asks the client.
    trouble: Arc<Notify>,
}

impl Context {
    pub(super) fn new(progress: Arc<Progress>, trouble: Arc<Notify>) -> Self {
        Self { progress, trouble }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        kafka::log("producer", level, facility, text);
    }

    fn stats(&self, statistics: Statistics) {
        publish(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // librdkafka's own log line says the same, once
        tracing::debug!(%error, reason, "the kafka producer reports an error");
        self.trouble.notify_one();
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<(Arc<Acks>, u32)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (acks, index) = *opaque;
        let outcome = match result {
            Ok(message) => {
                self.progress.acked(message.topic(), message.partition());
                Outcome::Acked {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                }
            }
            Err((error, message)) => {
                self.progress.failed(message.topic(), message.partition());
                match (cause(error), ffi::message_status(message)) {
                    (None, _) => Outcome::TooLarge,
                    (Some(cause), Persistence::NotPersisted) => Outcome::NotPersisted(cause),
                    // "persisted" beside an error is a contradiction, and the careful reading is that it may be there
                    (Some(cause), Persistence::PossiblyPersisted | Persistence::Persisted) => Outcome::PossiblyPersisted(cause),
                }
            }
        };
        // the index was a usize when it was sent, on the same machine
        acks.set(index as usize, outcome);
    }
}

/// Why a record failed; None if it is too large.
pub(super) fn cause(error: &KafkaError) -> Option<Cause> {
    Some(match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => return None,
        Some(Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut) => Cause::TimedOut,
        Some(Code::QueueFull) => Cause::QueueFull,
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => Cause::NotAuthorized,
        Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition) => Cause::UnknownPartition,
        Some(Code::PurgeQueue | Code::PurgeInflight) => Cause::Purged,
        _ => Cause::Other(error.to_string()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "gauges")]
fn publish(statistics: &Statistics) {
    metrics::gauge!(names::PRODUCER_QUEUE_RECORDS).set(statistics.msg_cnt as f64);
    metrics::gauge!(names::PRODUCER_QUEUE_BYTES).set(statistics.msg_size as f64);
    for broker in statistics.brokers.values().filter(|broker| broker.nodeid >= 0) {
        let id = broker.nodeid.to_string();
        let up = if broker.state == "UP" { 1.0 } else { 0.0 };
        metrics::gauge!(names::PRODUCER_BROKER_UP, "broker" => id.clone()).set(up);
        metrics::counter!(names::PRODUCER_RETRIES, "broker" => id.clone()).absolute(broker.txretries);
        window(names::PRODUCER_INTERNAL_LATENCY, &id, broker.int_latency.as_ref());
        window(names::PRODUCER_OUTBUF_LATENCY, &id, broker.outbuf_latency.as_ref());
        window(names::PRODUCER_RTT, &id, broker.rtt.as_ref());
    }
}

/// librdkafka keeps these windows in microseconds.
#[expect(clippy::cast_precision_loss, reason = "gauges")]
fn window(name: &'static str, broker: &str, window: Option<&Window>) {
    let Some(window) = window else { return };
    for (quantile, value) in [("0.5", window.p50), ("0.99", window.p99)] {
        metrics::gauge!(name, "broker" => broker.to_owned(), "quantile" => quantile).set(value as f64 / 1e6);
    }
}
