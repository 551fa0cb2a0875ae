//! What librdkafka can do and the `rdkafka` crate does not hand out. The only `unsafe` of the project; `docs/adr/0002` says why it exists
//! and what may come in.
#![expect(unsafe_code, reason = "docs/adr/0002: the one module that calls the C library directly")]

use std::collections::HashMap;
use std::ffi::{CStr, CString, NulError, c_char};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
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

/// Ids of topics, 16 bytes each: a topic made anew under an old name has another id. Topics that do not exist are left out; None if there was
/// no answer within `limit`. Blocks.
///
/// # Errors
/// A name with a zero byte in it.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    limit: Duration,
) -> Result<Option<HashMap<String, [u8; 16]>>, NulError> {
    let owned = names.iter().map(|name| CString::new(*name)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<*const c_char> = owned.iter().map(|name| name.as_ptr()).collect();
    let milliseconds = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `client` is borrowed, so the client outlives this call. The names outlive the collection, which copies them. Queue, collection,
    // options and event are ours and are destroyed exactly once each, the event after `read_ids` has copied what it needs. A late answer
    // goes to a queue of which librdkafka holds its own reference. `errors` is as long as its stated length.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client.native_ptr());
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options =
            sys::rd_kafka_AdminOptions_new(client.native_ptr(), sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let mut errors = [0; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, errors.as_mut_ptr(), errors.len());
        sys::rd_kafka_DescribeTopics(client.native_ptr(), topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, milliseconds);
        let ids = read_ids(event);
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_TopicCollection_destroy(topics);
        sys::rd_kafka_queue_destroy(queue);
        Ok(ids)
    }
}

/// # Safety
/// `event` is null or a live event of librdkafka.
unsafe fn read_ids(event: *mut sys::rd_kafka_event_t) -> Option<HashMap<String, [u8; 16]>> {
    // SAFETY: the caller vouches for `event`; null is answered by the first two checks. The result and the array of descriptions live inside
    // the event, the array has `count` entries, and names and ids live inside the descriptions.
    unsafe {
        if event.is_null() || sys::rd_kafka_event_type(event) != sys::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT {
            return None;
        }
        if sys::rd_kafka_event_error(event) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let mut count = 0;
        let descriptions =
            sys::rd_kafka_DescribeTopics_result_topics(sys::rd_kafka_event_DescribeTopics_result(event), &mut count);
        let mut ids = HashMap::new();
        for i in 0..count {
            let description = *descriptions.add(i);
            let error = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(description));
            let id = sys::rd_kafka_TopicDescription_topic_id(description);
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || id.is_null() {
                continue;
            }
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(description)).to_string_lossy().into_owned();
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&sys::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
            bytes[8..].copy_from_slice(&sys::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
            ids.insert(name, bytes);
        }
        Some(ids)
    }
}
