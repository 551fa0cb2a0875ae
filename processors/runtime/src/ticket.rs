//! What is kept of an event whose outcome is told later.

use bytes::{Buf, BufMut, Bytes};
use schemas::key::EventKey;

/// An event that was left open, as its status will name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Its event key.
    pub(crate) key: EventKey,
    /// Its offset.
    pub(crate) offset: i64,
    /// When the broker appended it, µs.
    pub(crate) appended: i64,
    /// Time of the frame that took it up, µs.
    pub(crate) taken_up: i64,
    /// Its type.
    pub(crate) event_type: String,
}

impl Ticket {
    /// Key, offset, both times, type.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(40 + self.event_type.len());
        out.put_slice(&self.key.0);
        out.put_i64(self.offset);
        out.put_i64(self.appended);
        out.put_i64(self.taken_up);
        out.put_slice(self.event_type.as_bytes());
        out.into()
    }

    /// Reads a ticket back; none when it is none.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (key, _) = bytes.split_first_chunk::<16>()?;
        let key = EventKey(*key);
        bytes.advance(16);
        let mut number = || bytes.try_get_i64().ok();
        let (offset, appended, taken_up) = (number()?, number()?, number()?);
        let event_type = std::str::from_utf8(bytes).ok()?.to_owned();
        Some(Self { key, offset, appended, taken_up, event_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_reads_back_and_nothing_else_does() {
        let ticket = Ticket { key: EventKey([7; 16]), offset: 3, appended: 4, taken_up: 5, event_type: "student.create".into() };
        let bytes = ticket.encode();
        assert_eq!(Ticket::decode(&bytes), Some(ticket));
        assert_eq!(Ticket::decode(&bytes[..30]), None);
    }
}
