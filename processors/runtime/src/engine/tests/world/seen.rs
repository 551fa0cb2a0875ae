//! What a world shows: results, statuses, rows, and what is in the core.

use bytes::Bytes;
use schemas::key::EventKey;
use schemas::names;
use state::records::{EventStatus, State};
use state::{AgendaKey, Shard, StateStore};

use super::{World, wait};
use crate::engine::assignment::Assignment;
use crate::engine::input::Arrived;
use crate::engine::recover::LogRecord;
use crate::engine::transaction::{OutRecord, Topic};

impl World {
    /// Next offset of the followed stream, as the last frame of the subject's shard says.
    pub(in crate::engine::tests) fn followed_to(&self, subject: &str) -> Option<i64> {
        let shards = &self.core.assignment().unwrap().shards;
        shards[&Self::home(subject)].tip.positions.get("other.results").copied()
    }

    /// `seq` and body of the results of a subject that are no refusals.
    pub(in crate::engine::tests) fn results(&self, subject: &str) -> Vec<(i64, i64)> {
        let of_subject = self.told(subject).into_iter().filter(|(ce_type, ..)| ce_type == "test.sum");
        of_subject.map(|(_, seq, value)| (seq, std::str::from_utf8(&value[5..]).unwrap().parse().unwrap())).collect()
    }

    /// `seq` of the refusals of a subject.
    pub(in crate::engine::tests) fn rejected(&self, subject: &str) -> Vec<i64> {
        self.told(subject).into_iter().filter(|(ce_type, ..)| ce_type == "sum.rejected").map(|(_, seq, _)| seq).collect()
    }

    fn told(&self, subject: &str) -> Vec<(String, i64, Bytes)> {
        let records =
            self.out.iter().filter(|record| record.topic == Topic::Results && record.key.as_deref() == Some(subject.as_bytes()));
        records
            .map(|record| {
                (header(record, names::HEADER_CE_TYPE), header(record, names::HEADER_SEQ).parse().unwrap(), record.value.clone())
            })
            .collect()
    }

    /// A header of the results of a subject.
    pub(in crate::engine::tests) fn told_headers(&self, subject: &str, name: &str) -> Vec<String> {
        let of_subject = |record: &&OutRecord| record.key.as_deref() == Some(subject.as_bytes());
        let results = self.out.iter().filter(|record| record.topic == Topic::Results).filter(of_subject);
        results.map(|record| header(record, name)).collect()
    }

    /// State, outcome and steps of the status of an event of `send_with_id`.
    pub(in crate::engine::tests) fn status(&self, id: &str) -> (State, Option<String>, Vec<State>) {
        let status = self.status_row(id);
        (status.state, status.outcome, status.history.iter().map(|step| step.state).collect())
    }

    /// Headers of the events that were sent on, in order.
    pub(in crate::engine::tests) fn sent(&self, name: &str) -> Vec<String> {
        let all = self.events.values().flatten();
        let sent = all.filter(|input| input.headers.iter().any(|(name, _)| name == names::HEADER_CE_HOPS));
        let value = |input: &Arrived| input.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_vec());
        sent.map(|input| String::from_utf8(value(input).unwrap_or_default()).unwrap()).collect()
    }

    /// Attempts made at an event of `send_with_id`.
    pub(in crate::engine::tests) fn attempts(&self, id: &str) -> i32 {
        self.status_row(id).attempts
    }

    /// State of an effect in the status of its event.
    pub(in crate::engine::tests) fn effect_state(&self, event: &str) -> State {
        self.effect_status(event).state
    }

    /// Status of an effect of an event.
    pub(in crate::engine::tests) fn effect_status(&self, event: &str) -> EventStatus {
        let parts = wait(self.store.status(&[EventKey::of("test", event, None).0])).remove(0);
        let part = parts.iter().find(|part| part.part.starts_with("e/")).unwrap();
        EventStatus::decode(part.cell.val.as_ref().unwrap()).unwrap()
    }

    fn status_row(&self, id: &str) -> EventStatus {
        let parts = wait(self.store.status(&[EventKey::of("test", id, None).0]));
        EventStatus::decode(parts[0][0].cell.val.as_ref().unwrap()).unwrap()
    }

    /// Agenda items the store holds, by id.
    pub(in crate::engine::tests) fn items(&self, subject: &str) -> Vec<String> {
        let shard = Assignment::name(&self.settings.stream, Self::home(subject));
        let key = |due| AgendaKey { due, id: "".into() };
        let items = wait(self.store.agenda(&shard, &key(0), &key(i64::MAX), usize::MAX));
        items.into_iter().filter(|item| &*item.subject == subject).map(|item| item.key.id.to_string()).collect()
    }

    /// The engine's own rows of a subject in the store, beside the head.
    pub(in crate::engine::tests) fn parked(&self, subject: &str) -> usize {
        let shard = Assignment::name(&self.settings.stream, Self::home(subject));
        let rows = wait(self.store.subject(&shard, subject));
        rows.iter().filter(|(key, _)| key.sort.starts_with("~park/")).count()
    }

    /// Minutes of the dedupe window that the store holds for a subject's shard, of the last hour.
    pub(in crate::engine::tests) fn minutes(&self, subject: &str) -> usize {
        let shard = Assignment::name(&self.settings.stream, Self::home(subject));
        let now = self.clock / 60_000_000;
        (now - 60..=now).filter(|minute| !wait(self.store.dedupe(&shard, *minute)).is_empty()).count()
    }

    /// Reasons of the dead letters, in order.
    pub(in crate::engine::tests) fn dead(&self) -> Vec<String> {
        let dead = self.out.iter().filter(|record| record.topic == Topic::Dead);
        dead.map(|record| header(record, names::HEADER_DEAD_REASON)).collect()
    }

    pub(in crate::engine::tests) fn log_of(&self, subject: &str) -> (Shard, Vec<LogRecord>) {
        let number = Self::home(subject);
        (Assignment::name(&self.settings.stream, number), self.logs[&number].clone())
    }

    /// Frames with records of the subject's shard so far.
    pub(in crate::engine::tests) fn frames(&self, subject: &str) -> i64 {
        self.core.assignment().unwrap().shards[&Self::home(subject)].tip.n
    }

    /// Why the subject's shard does not run.
    pub(in crate::engine::tests) fn halted(&self, subject: &str) -> Option<String> {
        self.core.assignment().unwrap().halted.get(&Self::home(subject)).map(ToString::to_string)
    }

    /// Frames of the subject's shard that the store has not acknowledged.
    pub(in crate::engine::tests) fn backlog(&self, subject: &str) -> usize {
        self.core.assignment().unwrap().shards[&Self::home(subject)].backlog().0
    }
}

fn header(record: &OutRecord, name: &str) -> String {
    let value = record.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_vec());
    String::from_utf8(value.unwrap_or_default()).unwrap()
}
