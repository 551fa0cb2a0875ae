//! C9: what is told of an event against what happened to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::catalog::{Stream, Tracking};
use schemas::key::EventKey;
use state::reader::{Answer, Question, Stage, Within};
use state::records::State;
use state::{Shard, StateReader, StateStore};

use super::Error;
use super::book::Book;
use super::events::Sampled;
use super::report::{Check, Counts, Finding, Findings};
use crate::engine::emit::PRODUCTS_MAX;

/// A sample of lifecycles may take this long.
const ANSWER: Duration = Duration::from_secs(10);

/// Compares what every status in the log tells with results and dead letters, where retention has removed neither.
pub(crate) fn check_status(book: &Book, findings: &mut Findings, events: &str) {
    for ((event, _), status) in &book.status {
        let key = EventKey(*event);
        let Some(told) = status.told.filter(|_| book.whole && !book.again.contains_key(&key)) else { continue };
        let Some(accepted) = book.accepted.get(&key) else { continue };
        let dead = book.dead.contains_key(&told.offset);
        let results = accepted.results as usize;
        let what = match told.state {
            State::FailedTerminal if !dead => format!("event {key} is told to be dead-lettered, and there is no dead letter"),
            State::Succeeded if dead => format!("event {key} is told to have succeeded, and there is a dead letter"),
            State::Succeeded => match told.results.filter(|told| *told < PRODUCTS_MAX && *told != results) {
                Some(told) => format!("event {key} is told to have {told} results, there are {results}"),
                None => continue,
            },
            _ => continue,
        };
        findings.add(Finding::new(Check::C9, book.shard, what).at(events, told.offset).frame(status.image.ts));
    }
}

/// Asks for the lifecycle of sampled events, as a holder of the receipt would.
pub(crate) struct Receipts<'a> {
    pub(crate) store: &'a Arc<dyn StateStore>,
    pub(crate) shard: &'a Shard,
    pub(crate) stream: &'a Stream,
    pub(crate) book: &'a Book,
    /// `<stream>.events`.
    pub(crate) topic: &'a str,
    pub(crate) life_us: i64,
    pub(crate) now: i64,
    pub(crate) live: bool,
}

impl Receipts<'_> {
    pub(crate) async fn run(
        &self,
        sample: BTreeMap<EventKey, Sampled>,
        findings: &mut Findings,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let asked: Vec<_> =
            sample.into_iter().filter_map(|(key, sampled)| Some((self.question(key, &sampled)?, sampled))).collect();
        let questions: Vec<Question> = asked.iter().map(|(question, _)| question.clone()).collect();
        let reader = StateReader::new(self.store.clone());
        let answers = reader.lifecycles(&questions, Within::new(self.now, ANSWER)).await?;
        for ((question, sampled), answer) in asked.iter().zip(answers) {
            let Some(answer) = answer else {
                counts.moved += 1;
                continue;
            };
            counts.receipts += 1;
            if let Some(what) = self.wrong(question, sampled, &answer) {
                let key = EventKey(question.event);
                let what = format!("event {key}: {what}");
                findings.add(Finding::new(Check::C9, self.shard.number, what).at(self.topic, sampled.offset));
            }
        }
        Ok(())
    }

    fn question(&self, key: EventKey, sampled: &Sampled) -> Option<Question> {
        let event = self.stream.events.iter().find(|event| Some(&event.ce_type) == sampled.event_type.as_ref())?;
        Some(Question {
            event: key.0,
            shard: self.shard.clone(),
            offset: Some(sampled.offset),
            tracking: match event.tracking {
                Tracking::All => state::reader::Tracking::All,
                Tracking::Failures => state::reader::Tracking::Failures,
                Tracking::None => return None,
            },
            accepted: sampled.appended_ms * 1_000,
            life: self.life_us,
        })
    }

    /// An event below the position with a dead letter has failed for good; any other is on its way or done.
    fn wrong(&self, question: &Question, sampled: &Sampled, answer: &Answer) -> Option<String> {
        let dead = self.book.dead.contains_key(&sampled.offset);
        let young = self.now - question.accepted < question.life;
        match answer {
            Answer::Expired if young => Some("was taken up, and nothing is told of it".to_owned()),
            Answer::Expired => None,
            Answer::Known(life) if dead && life.stage != Stage::FailedTerminal && life.duplicate_of.is_none() => {
                Some(format!("is told to be {}, and has a dead letter", life.stage.name()))
            }
            Answer::Known(life) if !dead && self.book.whole && !self.live && life.stage == Stage::FailedTerminal => {
                Some("is told to be FAILED_TERMINAL, and has no dead letter".to_owned())
            }
            Answer::Known(life) if life.stage == Stage::Received => Some("is told to be RECEIVED, and was taken up".to_owned()),
            Answer::Known(_) => None,
        }
    }
}
