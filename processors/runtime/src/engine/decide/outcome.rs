//! What a frame tells of an event: its status, and its dead letter.

use schemas::catalog::Tracking;
use schemas::key::EventKey;
use state::StatusWrite;
use state::records::State;

use super::{ShardWork, Stop};
use crate::dead_letter::{self, Reason};
use crate::engine::emit::Told;

impl ShardWork<'_, '_> {
    /// Puts the status of an event into the frame, which says one thing about one event (I3): one that is settled where it was
    /// taken up, and copies behind the dedupe window, would be told of twice.
    pub(super) fn put_status(&mut self, at: usize, write: StatusWrite) {
        if !self.told.insert(EventKey(write.key.event)) {
            self.works.iter_mut().for_each(|work| work.status.retain(|earlier| earlier.key != write.key));
        }
        self.works[at].status.push(write);
    }

    /// Writes a dead letter and what is told of it.
    pub(super) fn bury(&mut self, told: &Told<'_>, tracking: Tracking, reason: Reason, detail: String) -> Result<(), Stop> {
        let record = told.record;
        let origin = match &told.envelope.cause {
            Some(cause) => cause.clone(),
            None => format!("{}/{}/{}", self.settings.topic(record.feed), record.shard, record.offset),
        };
        self.records.push(dead_letter::record(record, &origin, reason, &detail, self.ts));
        if tracking != Tracking::None {
            let mut status = told.status(State::FailedTerminal, self.settings);
            status.reason = Some(reason.name().to_owned());
            status.detail = Some(detail);
            let write = told.write(&status, self.settings);
            let at = self.work(told.subject)?;
            self.put_status(at, write);
        }
        Ok(())
    }
}
