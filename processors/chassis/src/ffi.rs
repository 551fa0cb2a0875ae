//! What librdkafka can do and the `rdkafka` crate does not hand out. The only `unsafe` of the project; `docs/adr/0002` says why it exists
//! and what may come in.
#![expect(unsafe_code, reason = "docs/adr/0002: the one module that calls the C library directly")]

use std::ffi::CStr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

/// What the client knows about a record it could not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It never left, or the broker refused it.
    NotPersisted,
    /// It was sent and no answer came; it may be in the log.
    PossiblyPersisted,
    /// The broker confirmed it.
    Persisted,
}

/// Generation and member id of the consumer in its group, as of now. A generation below 0 or an empty member id means that the consumer is
/// in no group; a transactional offset commit with such metadata passes every fence (F1). None if the consumer has no group at all.
pub fn group_identity<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<(i32, String)> {
    // SAFETY: the client outlives this call, since `consumer` is borrowed. The metadata object is ours, is not null when read, and is
    // destroyed exactly once, after the member id, which lives inside it, was copied.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
        let member = sys::rd_kafka_consumer_group_metadata_member_id(metadata);
        let member = if member.is_null() { String::new() } else { CStr::from_ptr(member).to_string_lossy().into_owned() };
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        Some((generation, member))
    }
}

/// Waits until everything sent has its report; false if that took longer than `limit`.
///
/// The crate's own flush works in slices of 100 ms (F9). This one returns as soon as the queue is empty; the reports must be served by
/// another thread, so the producer has to be a threaded one.
pub fn flush<P, C>(producer: &P, limit: Duration) -> bool
where
    P: Producer<C>,
    C: ProducerContext,
{
    let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives this call, since `producer` is borrowed; librdkafka's functions are thread safe.
    let result = unsafe { sys::rd_kafka_flush(producer.client().native_ptr(), milliseconds) };
    result == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// What is known about the record of a delivery report.
pub fn message_status(message: &BorrowedMessage<'_>) -> Persistence {
    // SAFETY: the message is borrowed, so the event that owns the C object is alive; the call only reads it.
    match unsafe { sys::rd_kafka_message_status(message.ptr()) } {
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Persistence::NotPersisted,
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Persistence::PossiblyPersisted,
        sys::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Persistence::Persisted,
    }
}
