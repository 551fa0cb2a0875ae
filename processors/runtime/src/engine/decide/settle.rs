//! The outcome of an event that was left open, told by a later input of its subject.

use bytes::Bytes;
use state::records::{EventStatus, Product, State, Step};

use super::ShardWork;
use crate::dead_letter::Reason;
use crate::engine::due::Before;
use crate::engine::emit;
use crate::processor::Refusal;
use crate::ticket::Ticket;

impl ShardWork<'_, '_> {
    /// Tells `results` in the name of the event of `ticket`, and its status. A refusal is told as a result too.
    pub(super) fn settle(
        &mut self,
        at: usize,
        told: &emit::Told<'_>,
        ticket: &[u8],
        outcome: &Result<(), Refusal>,
        results: &[(String, Bytes)],
    ) -> Result<Vec<Product>, (Reason, String)> {
        let ticket = Ticket::decode(ticket).ok_or_else(|| (Reason::Terminal, "a ticket that is none".to_owned()))?;
        let Ticket { key, offset, appended, taken_up, event_type } = ticket;
        let before = Before::default();
        let told = emit::Told { key, appended: appended / 1_000, cause: None, source: None, before: &before, ..*told };
        let mut results = results.to_vec();
        if let Err(refusal) = outcome {
            results.extend(self.rejection(at, &event_type, refusal));
        }
        let products = self.tell(at, &told, &results, true)?;
        let history = [(State::Queued, appended), (State::Processing, taken_up), (State::Succeeded, self.ts)];
        let refusal = outcome.as_ref().err();
        let status = EventStatus {
            history: history.into_iter().map(|(state, at)| Step { state, at }).collect(),
            outcome: Some(if refusal.is_some() { "rejected" } else { "ok" }.to_owned()),
            code: refusal.map(|refusal| refusal.code.to_owned()),
            detail: refusal.map(|refusal| refusal.detail.clone()),
            offset,
            products: products.clone(),
            ..told.status(State::Succeeded, self.settings)
        };
        let write = told.write(&status, self.settings);
        self.put_status(at, write);
        Ok(products)
    }

    /// `<noun>.rejected`, where the stream has such a result and somebody could hear it.
    pub(super) fn rejection(&self, at: usize, event_type: &str, refusal: &Refusal) -> Option<(String, Bytes)> {
        let ce_type = format!("{}.rejected", event_type.split('.').next().unwrap_or_default());
        (self.settings.results.contains_key(&ce_type) && !self.is_home(at))
            .then(|| (ce_type, emit::rejected(event_type, refusal)))
    }
}
