//! Events for other subjects: records of `<stream>.events` that the transaction writes.

use bytes::Bytes;
use schemas::catalog::HeaderStyle;
use schemas::key::EventKey;
use schemas::partition::{SHARD_PREFIX, partition_of, shard_subject};
use schemas::{frame, names};
use state::records::Product;

use super::Told;
use crate::dead_letter::Reason;
use crate::engine::headers::HeaderList;
use crate::engine::settings::{SendSpec, Settings, Target};
use crate::engine::transaction::{OutRecord, Topic};
use crate::logic::RawSend;
use crate::time::rfc3339;

/// Bytes of the broadcasts of one decision, counted once for every shard that gets them.
pub(super) const BROADCAST_BYTES_MAX: usize = 16 << 20;

/// Records that are sent together, and their entry in the status.
pub(crate) type Sent = (Vec<OutRecord>, Product);

impl Told<'_> {
    /// The records of what an input sends, in order, and their entries in the status.
    ///
    /// # Errors
    /// The first send that cannot be had; nothing has changed then.
    pub fn sends(&self, sends: &[RawSend], settings: &Settings) -> Result<Vec<Sent>, (Reason, String)> {
        sends.iter().enumerate().map(|(index, send)| self.send(send, index, settings)).collect()
    }

    /// The records of what an input tells every shard of a stream, and one entry in the status for each broadcast.
    ///
    /// # Errors
    /// The first broadcast that cannot be had; nothing has changed then.
    pub fn broadcasts(&self, broadcasts: &[(String, Bytes)], settings: &Settings) -> Result<Vec<Sent>, (Reason, String)> {
        let mut bytes = 0;
        let broadcast = |(index, (event_type, datum)): (usize, &(String, Bytes))| {
            let (spec, value) = opened(event_type, datum, settings)?;
            let target = &settings.targets[spec.target];
            if !target.shard_rows {
                let what = format!(
                    "a broadcast of {event_type} to {}, whose catalog file does not say shard_rows = true",
                    target.stream
                );
                return Err((Reason::Terminal, what));
            }
            bytes += value.len() * target.partitions.max(1) as usize;
            if bytes > BROADCAST_BYTES_MAX {
                let what =
                    format!("broadcasts of one decision are over {BROADCAST_BYTES_MAX} bytes, counted once for every shard");
                return Err((Reason::TooLarge, what));
            }
            let records = (0..target.partitions).map(|shard| {
                let subject = shard_subject(shard);
                let id = self.send_id("forebay broadcast id v1", (index as u64, shard));
                self.out(spec, (&subject, event_type), (&id, value.clone()), settings)
            });
            let product = Product {
                kind: "broadcast".to_owned(),
                stream: target.stream.to_string(),
                subject: format!("{SHARD_PREFIX}*"),
                event_type: event_type.clone(),
                seq: None,
                key: None,
            };
            Ok((records.collect(), product))
        };
        broadcasts.iter().enumerate().map(broadcast).collect()
    }

    fn send(&self, send: &RawSend, index: usize, settings: &Settings) -> Result<Sent, (Reason, String)> {
        let RawSend { subject, event_type, datum } = send;
        let (spec, value) = opened(event_type, datum, settings)?;
        if subject.is_empty() || subject.starts_with('~') {
            return Err((Reason::Terminal, format!("a send of {event_type} to {subject:?}, which is no subject")));
        }
        let target = &settings.targets[spec.target];
        let id = self.send_id("forebay send id v1", (index as u64, -1));
        let source = names::stream_source(&settings.stream);
        let record = self.out(spec, (subject, event_type), (&id, value), settings);
        let product = Product {
            kind: "event".to_owned(),
            stream: target.stream.to_string(),
            subject: subject.clone(),
            event_type: event_type.clone(),
            seq: None,
            key: Some(EventKey::of(&source, &id, None).0),
        };
        Ok((vec![record], product))
    }

    fn out(
        &self,
        spec: SendSpec,
        (subject, event_type): (&str, &str),
        (id, value): (&str, Bytes),
        settings: &Settings,
    ) -> OutRecord {
        let target = &settings.targets[spec.target];
        OutRecord {
            topic: Topic::Events(spec.target),
            shard: partition_of(subject, target.partitions),
            key: Some(Bytes::copy_from_slice(subject.as_bytes())),
            value,
            headers: self.send_headers(id, &names::stream_source(&settings.stream), event_type, target),
            timestamp_ms: Some(self.ts / 1_000),
            trailer: false,
        }
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
    fn send_id(&self, context: &'static str, (index, shard): (u64, i32)) -> String {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.key.0).update(&index.to_be_bytes());
        if shard >= 0 {
            hasher.update(&shard.to_be_bytes());
        }
        hasher.update(self.subject.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        uuid::Uuid::new_v8(bytes).to_string()
    }
}

/// Where an event of the type goes, and its value in the wire format.
fn opened(event_type: &str, datum: &[u8], settings: &Settings) -> Result<(SendSpec, Bytes), (Reason, String)> {
    let Some(spec) = settings.sends.get(event_type) else {
        return Err((Reason::Terminal, format!("{event_type} belongs to no stream that {} sends to", settings.stream)));
    };
    if datum.len() > settings.limits.send_bytes {
        return Err((Reason::TooLarge, format!("a send of {event_type} is {} bytes", datum.len())));
    }
    let mut value = Vec::with_capacity(datum.len() + frame::HEAD);
    frame::begin(spec.schema, &mut value);
    value.extend_from_slice(datum);
    Ok((*spec, value.into()))
}
