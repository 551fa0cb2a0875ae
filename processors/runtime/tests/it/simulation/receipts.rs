//! People with receipts, who ask where their events are: `StateReader::lifecycle` over the lossy store.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use schemas::key::EventKey;
use state::Shard;
use state::reader::{Answer, Question, StateReader, Tracking, Within};

use super::plan::stream;
use super::random::Random;
use super::store::Store;
use super::workload::Op;
use super::world::Shared;

/// Questions at once.
const ASKED: usize = 2;
/// Looks at a question before it is given up.
const LOOKS: usize = 12;
/// Rows of statuses live this long, µs: longer than any run.
const LIFE_US: i64 = 7 * 24 * 3_600_000_000;

/// An answer.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) key: EventKey,
    /// Of the record the receipt is for; nothing when the edge does not know it.
    pub(super) offset: Option<i64>,
    /// Answers given before this one was asked for.
    pub(super) after: usize,
    pub(super) answer: Answer,
}

struct Asked {
    key: EventKey,
    offset: Option<i64>,
    after: usize,
    looks: usize,
    answer: Pin<Box<dyn Future<Output = Option<Answer>>>>,
}

/// Receipts, and what was told of them.
pub(super) struct Receipts {
    reader: StateReader,
    asked: Vec<Asked>,
    pub(super) shown: Vec<Shown>,
}

/// How much of the lifecycle of such events is kept.
pub(super) fn tracking(op: Op) -> Tracking {
    if op.event_type() == "chain.pass" { Tracking::Failures } else { Tracking::All }
}

impl Receipts {
    pub(super) fn new(store: &Store) -> Self {
        Self { reader: StateReader::new(Arc::new(store.clone())), asked: Vec::new(), shown: Vec::new() }
    }

    /// A question is asked, goes on or is answered.
    pub(super) fn step(&mut self, shared: &Shared, random: &mut Random) {
        if self.asked.len() < ASKED {
            self.ask(shared, random);
        }
        let at = random.below(self.asked.len());
        let Some(asked) = self.asked.get_mut(at) else { return };
        asked.looks += 1;
        match asked.answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending if asked.looks < LOOKS => {}
            Poll::Pending | Poll::Ready(None) => drop(self.asked.swap_remove(at)),
            Poll::Ready(Some(answer)) => {
                let Asked { key, offset, after, .. } = self.asked.swap_remove(at);
                self.shown.push(Shown { key, offset, after, answer });
            }
        }
    }

    fn ask(&mut self, shared: &Shared, random: &mut Random) {
        let clients = shared.clients.borrow();
        let Some(((number, offset), sent)) = clients.receipt(random) else { return };
        let offset = (!random.chance(0.1)).then_some(offset);
        let question = Question {
            event: sent.key.0,
            shard: Shard { stream: stream(), number },
            offset,
            tracking: tracking(sent.op),
            accepted: sent.appended_ms * 1_000,
            life: LIFE_US,
        };
        let within = Within::new(shared.clock_us.get(), Duration::from_secs(3_600));
        let reader = self.reader.clone();
        let answer = Box::pin(async move { reader.lifecycle(&question, within).await.ok() });
        self.asked.push(Asked { key: sent.key, offset, after: self.shown.len(), looks: 0, answer });
    }
}
