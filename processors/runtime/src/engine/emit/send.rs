//! Events for other subjects: records of `<stream>.events` that the transaction writes.

use bytes::Bytes;
use schemas::catalog::HeaderStyle;
use schemas::key::EventKey;
use schemas::partition::partition_of;
use schemas::{frame, names};
use state::records::Product;

use super::Told;
use crate::dead_letter::Reason;
use crate::engine::headers::HeaderList;
use crate::engine::settings::{Settings, Target};
use crate::engine::transaction::{OutRecord, Topic};
use crate::logic::RawSend;
use crate::time::rfc3339;

impl Told<'_> {
    /// The records of what an input sends, in order, and their entries in the status.
    ///
    /// # Errors
    /// The first send that cannot be had; nothing has changed then.
    pub fn sends(&self, sends: &[RawSend], settings: &Settings) -> Result<Vec<(OutRecord, Product)>, (Reason, String)> {
        sends.iter().enumerate().map(|(index, send)| self.send(send, index, settings)).collect()
    }

    fn send(&self, send: &RawSend, index: usize, settings: &Settings) -> Result<(OutRecord, Product), (Reason, String)> {
        let RawSend { subject, event_type, datum } = send;
        let Some(spec) = settings.sends.get(event_type) else {
            return Err((Reason::Terminal, format!("{event_type} belongs to no stream that {} sends to", settings.stream)));
        };
        if subject.is_empty() || subject.starts_with('~') {
            return Err((Reason::Terminal, format!("a send of {event_type} to {subject:?}, which is no subject")));
        }
        if datum.len() > settings.limits.send_bytes {
            return Err((Reason::TooLarge, format!("a send of {event_type} is {} bytes", datum.len())));
        }
        let target = &settings.targets[spec.target];
        let id = self.send_id(index);
        let source = names::stream_source(&settings.stream);
        let mut value = Vec::with_capacity(datum.len() + frame::HEAD);
        frame::begin(spec.schema, &mut value);
        value.extend_from_slice(datum);
        let record = OutRecord {
            topic: Topic::Events(spec.target),
            shard: partition_of(subject, target.partitions),
            key: Some(Bytes::copy_from_slice(subject.as_bytes())),
            value: value.into(),
            headers: self.send_headers(&id, &source, event_type, target),
            timestamp_ms: Some(self.ts / 1_000),
            trailer: false,
        };
        let product = Product {
            kind: "event".to_owned(),
            stream: target.stream.to_string(),
            subject: subject.clone(),
            event_type: event_type.clone(),
            seq: None,
            key: Some(EventKey::of(&source, &id, None).0),
        };
        Ok((record, product))
    }

    /// The receiver sees who caused the first event, and how far away that is.
    fn send_headers(&self, id: &str, source: &str, event_type: &str, target: &Target) -> HeaderList {
        let mut headers = HeaderList::builder(384);
        headers.push(names::HEADER_CE_ID, id.as_bytes());
        headers.push(names::HEADER_CE_SOURCE, source.as_bytes());
        if target.headers == HeaderStyle::CloudEvents {
            headers.push(names::HEADER_CE_SPECVERSION, b"1.0");
            headers.push(names::HEADER_CE_TYPE, event_type.as_bytes());
            headers.push(names::HEADER_CE_TIME, rfc3339(self.ts).as_bytes());
        }
        if let Some(principal) = &self.envelope.principal {
            headers.push(names::HEADER_CE_PRINCIPAL, format!("{}/{}", principal.account, principal.id).as_bytes());
            if principal.admin {
                headers.push(names::HEADER_CE_ADMIN, b"true");
            }
        }
        headers.push(names::HEADER_CE_HOPS, self.envelope.hops.saturating_add(1).to_string().as_bytes());
        if let Some(parent) = &self.envelope.traceparent {
            headers.push(names::HEADER_TRACEPARENT, parent.as_bytes());
        }
        headers.finish()
    }

    /// `ce_id` of a send: a UUIDv8 of its cause, so that a redo repeats it. The subject is part of it because one event
    /// may reach several shards (one id under two subjects), which know nothing of each other.
    fn send_id(&self, index: usize) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("forebay send id v1");
        hasher.update(&self.key.0).update(&(index as u64).to_be_bytes()).update(self.subject.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        uuid::Uuid::new_v8(bytes).to_string()
    }
}
