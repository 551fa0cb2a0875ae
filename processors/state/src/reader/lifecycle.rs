//! Where an event is: the only copy of the rule.
//!
//! The watermark is read first and the status rows after it: a position beyond the event then proves that its rows,
//! if there are any, were there to be seen. Rows newer than the watermark fall under the final-view rule.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::try_join_all;

use super::{StateReader, Within};
use crate::records::{EventStatus, State, Step};
use crate::store::Error;
use crate::types::{Mark, Shard, StatusCell};

/// Which events of a type leave status rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// All of them.
    All,
    /// Failures, retries and rejections; the others are known by their absence.
    Failures,
    /// None.
    None,
}

/// What is asked, as a receipt has it.
#[derive(Debug, Clone)]
pub struct Question {
    /// Event key.
    pub event: [u8; 16],
    /// Stream and partition of the event.
    pub shard: Shard,
    /// Offset of its record; `None` when the edge does not know whether it was appended.
    pub offset: Option<i64>,
    /// Tracking level of its type.
    pub tracking: Tracking,
    /// When it was accepted, µs; stands for the append time until there is a row.
    pub accepted: i64,
    /// How long status rows live, µs.
    pub life: i64,
}

/// What is known of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Where it is.
    Known(Box<Lifecycle>),
    /// Too old, or never tracked: nothing can be said.
    Expired,
}

/// States of an event, in the order of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The edge took it; whether it was appended is not known.
    Received,
    /// Waits to be processed.
    Queued,
    /// Was taken up, effects are open.
    Processing,
    /// Its decision is committed.
    Succeeded,
    /// Waits for its next attempt.
    FailedRetryable,
    /// A dead letter was written.
    FailedTerminal,
}

impl Stage {
    /// As it is written on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Queued => "QUEUED",
            Self::Processing => "PROCESSING",
            Self::Succeeded => "SUCCEEDED",
            Self::FailedRetryable => "FAILED_RETRYABLE",
            Self::FailedTerminal => "FAILED_TERMINAL",
        }
    }

    /// True when nothing follows it.
    #[must_use]
    pub fn settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::FailedTerminal)
    }
}

impl From<State> for Stage {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Processing => Self::Processing,
            State::Succeeded => Self::Succeeded,
            State::FailedRetryable => Self::FailedRetryable,
            State::FailedTerminal => Self::FailedTerminal,
        }
    }
}

/// The lifecycle of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// Present state.
    pub stage: Stage,
    /// Steps with their times (µs), beginning with [`Stage::Received`].
    pub history: Vec<(Stage, i64)>,
    /// The stored status; `None` while nothing is stored, and for [`Lifecycle::derived`].
    pub status: Option<EventStatus>,
    /// Offset of the event this one is a duplicate of; `status` is that one's.
    pub duplicate_of: Option<i64>,
    /// True when the success is known by the absence of a failure: its time and products are not.
    pub derived: bool,
    /// Status of each effect, by effect id.
    pub effects: Vec<(Arc<str>, EventStatus)>,
}

impl StateReader {
    /// Where one event is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer, or the answer is not final, before the deadline.
    pub async fn lifecycle(&self, question: &Question, within: Within) -> Result<Answer, Error> {
        let one = self.lifecycles(std::slice::from_ref(question), within).await?.pop().flatten();
        one.ok_or_else(|| Error::Unavailable("the event's status is newer than the watermark".to_owned()))
    }

    /// Where many events are, by one multi-get, in the order of `questions`. `None` where the answer was not final
    /// before the deadline.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the store does not answer before the deadline.
    pub async fn lifecycles(&self, questions: &[Question], within: Within) -> Result<Vec<Option<Answer>>, Error> {
        let mut answers = vec![None; questions.len()];
        let mut open: Vec<usize> = (0..questions.len()).collect();
        for tries in 0.. {
            let marks = self.marks_of(open.iter().map(|&at| &questions[at].shard), within).await?;
            let events: Vec<_> = open.iter().map(|&at| questions[at].event).collect();
            let parts = within.hold(self.store.status(&events)).await?;
            let mut left = Vec::new();
            for (at, parts) in open.into_iter().zip(parts) {
                let question = &questions[at];
                let mark = marks.get(&question.shard).and_then(Option::as_ref);
                let newest = parts.iter().map(|part| part.cell.ts).max();
                if newest.is_some_and(|newest| mark.is_none_or(|mark| newest > mark.ts)) {
                    left.push(at);
                } else {
                    answers[at] = Some(answer(question, mark, &parts, within.now)?);
                }
            }
            open = left;
            if open.is_empty() || within.wait(tries, "lifecycle").await.is_err() {
                break;
            }
        }
        Ok(answers)
    }

    async fn marks_of(
        &self,
        shards: impl Iterator<Item = &Shard>,
        within: Within,
    ) -> Result<HashMap<Shard, Option<Mark>>, Error> {
        let mut shards: Vec<&Shard> = shards.collect();
        shards.sort_unstable();
        shards.dedup();
        let reads = shards.into_iter().map(|shard| async move { Ok((shard.clone(), self.watermark(shard, within).await?)) });
        Ok(try_join_all(reads).await?.into_iter().collect())
    }
}

/// The rule. `parts` were read after `mark` and are covered by it.
fn answer(question: &Question, mark: Option<&Mark>, parts: &[StatusCell], now: i64) -> Result<Answer, Error> {
    let (event, effects) = decode(parts, now)?;
    let known = |lifecycle| Ok(Answer::Known(Box::new(lifecycle)));
    if let Some(status) = event {
        return known(stored(question, status, effects, now));
    }
    let young = now - question.accepted < question.life;
    let bare = |stage, own: &[(Stage, i64)]| Lifecycle {
        stage,
        history: steps(question, own),
        status: None,
        duplicate_of: None,
        derived: false,
        effects: Vec::new(),
    };
    match question.offset {
        None if young => known(bare(Stage::Received, &[])),
        Some(offset) if offset >= position(question, mark) => known(bare(Stage::Queued, &[(Stage::Queued, question.accepted)])),
        Some(_) if young && question.tracking == Tracking::Failures => {
            known(Lifecycle { derived: true, effects, ..bare(Stage::Succeeded, &[]) })
        }
        None | Some(_) => Ok(Answer::Expired),
    }
}

fn stored(question: &Question, status: EventStatus, effects: Vec<(Arc<str>, EventStatus)>, now: i64) -> Lifecycle {
    let retry_is_due = status.state == State::FailedRetryable && status.next_attempt.is_some_and(|due| due <= now);
    let mut own: Vec<(Stage, i64)> = status.history.iter().map(|&Step { state, at }| (state.into(), at)).collect();
    let ended = ended_with_effects(&status, &effects);
    own.extend(ended.map(|at| (Stage::Succeeded, at)));
    Lifecycle {
        stage: match ended {
            Some(_) => Stage::Succeeded,
            None if retry_is_due => Stage::Queued,
            None => status.state.into(),
        },
        history: steps(question, &own),
        duplicate_of: question.offset.filter(|&offset| offset != status.offset).map(|_| status.offset),
        status: Some(status),
        derived: false,
        effects,
    }
}

/// When the last effect ended of an event that is decided and settles with its effects; `None` while one is open, and for
/// every other event. The engine writes such a status once and never reads it.
fn ended_with_effects(status: &EventStatus, effects: &[(Arc<str>, EventStatus)]) -> Option<i64> {
    let decided = status.state == State::Processing && status.outcome.is_some();
    let all = decided && effects.iter().all(|(_, effect)| effect.settled());
    let last = || effects.iter().filter_map(|(_, effect)| effect.history.last()).map(|step| step.at).max();
    all.then(last).flatten()
}

fn steps(question: &Question, own: &[(Stage, i64)]) -> Vec<(Stage, i64)> {
    // broker and edge have clocks of their own: the first step is never told later than the second
    let received = own.first().map_or(question.accepted, |(_, at)| question.accepted.min(*at));
    std::iter::once((Stage::Received, received)).chain(own.iter().copied()).collect()
}

fn position(question: &Question, mark: Option<&Mark>) -> i64 {
    let topic = format!("{}.events", question.shard.stream);
    mark.and_then(|mark| mark.positions.get(&topic)).copied().unwrap_or(0)
}

type Parts = (Option<EventStatus>, Vec<(Arc<str>, EventStatus)>);

fn decode(parts: &[StatusCell], now: i64) -> Result<Parts, Error> {
    let (mut event, mut effects) = (None, Vec::new());
    for StatusCell { part, cell } in parts.iter().filter(|part| !super::expired(&part.cell, now)) {
        let bytes = cell.val.as_deref().unwrap_or_default();
        let status = EventStatus::decode(bytes).map_err(|error| Error::Damaged(format!("an event's status: {error}")))?;
        match part.strip_prefix("e/") {
            Some(id) => effects.push((id.into(), status)),
            None => event = Some(status),
        }
    }
    Ok((event, effects))
}
