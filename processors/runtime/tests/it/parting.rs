//! Attempts at effects get a moment to end before their shards go: one outcome, of the first attempt. So does the store:
//! it has what was committed before the next owner looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use runtime::effects::{Effects, Policy};
use runtime::engine::Failure;
use runtime::points::Points;
use runtime::{Context, Decision, Options, Outcome, Processor, Reads, Rejection, Rows, logic};
use tokio::sync::Semaphore;

use crate::deployment::{Deployment, PATIENCE};
use crate::streams::{Streams, Words, text_of, words};

/// Longer than the test: what is lost is not tried again.
const LEASE: Duration = Duration::from_secs(600);

const MAILS: &str = r#"
title = "Mails"
partitions = 4
[[event]]
type = "mail.send"
schema = "test/words.avsc"
subject = { attribute = true }
[[result]]
type = "mail.sent"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;

/// Mails that are on their way until the gate opens.
#[derive(Clone)]
struct Mails {
    begun: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Mails {
    fn new() -> Self {
        Self { begun: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    async fn begun(&self, count: usize) {
        testkit::eventually_async(PATIENCE, || async { (self.begun.load(Ordering::Acquire) >= count).then_some(()) }).await;
    }
}

impl Processor for Mails {
    const NAME: &'static str = "mails";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = Words;

    fn reads(&self, _input: &Words) -> Reads {
        Reads::none()
    }

    fn decide(&self, input: Words, _rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        Ok(Decision::new().effect("send", input.text))
    }

    fn effects(&self) -> Effects {
        let mails = self.clone();
        Effects::default().with("send", Policy { lease: LEASE, ..Policy::default() }, move |call| {
            let mails = mails.clone();
            async move {
                mails.begun.fetch_add(1, Ordering::Release);
                mails.gate.acquire().await.unwrap().forget();
                Ok(call.argument)
            }
        })
    }

    fn outcome(&self, outcome: Outcome, _rows: &Rows<Words>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let brought = outcome.result.map_err(Rejection::Terminal)?;
        let told = format!("{} by attempt {} to {}", String::from_utf8_lossy(&brought), outcome.attempts, ctx.subject);
        Ok(Decision::new().emit(words("mail.sent", &told)))
    }
}

async fn open(name: &str) -> (Streams, Mails) {
    (Streams::open(name, &[("mails", MAILS)]).await, Mails::new())
}

/// Attempts and the store get so long.
fn within(drain: Duration) -> impl FnOnce(&mut Options) {
    move |options| options.drain = drain
}

/// The same, and the store takes no frame of the worker until `store` is open.
#[expect(clippy::disallowed_methods, reason = "this is a test")]
fn held_within(drain: Duration, store: &Arc<AtomicBool>) -> impl FnOnce(&mut Options) {
    let store = store.clone();
    move |options| {
        options.drain = drain;
        options.points = Points::stumble(move |point| {
            let held = point.step == "apply" && !store.load(Ordering::Acquire);
            if held { Err(Failure::Restart("the store is held".to_owned())) } else { Ok(()) }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_given_back_when_their_effects_have_ended() {
    let (streams, mails) = open("parting").await;
    let first = streams.start_as(logic::of(mails.clone()), "a", within(PATIENCE)).await;
    for n in 0..4 {
        streams.send("mails", "mail.send", &format!("to/{n}"), "a letter", &format!("mail {n}")).await;
    }
    mails.begun(4).await;
    let second = streams.start_as(logic::of(mails.clone()), "b", within(PATIENCE)).await;
    Deployment::says(&first, "gives its shards back").await;
    assert_eq!(streams.kafka.read(&streams.topics.results("mails")).await.len(), 0);
    // one ends while the others go on
    mails.gate.add_permits(1);
    streams.results("mails", 1).await;
    // nothing begins meanwhile
    streams.send("mails", "mail.send", "to/4", "a letter", "mail 4").await;
    mails.gate.add_permits(3);
    Deployment::says(&second, "shards run").await;
    mails.gate.add_permits(1);
    let mut told: Vec<_> = streams.results("mails", 5).await.iter().map(text_of).collect();
    told.sort();
    assert_eq!(told, [0, 1, 2, 3, 4].map(|n| format!("a letter by attempt 1 to to/{n}")));
    Deployment::stop(first).await;
    Deployment::stop(second).await;
    streams.audit("mails").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_stops_when_its_effects_have_ended_or_their_time_is_over() {
    let (streams, mails) = open("stopping").await;
    let worker = streams.start_as(logic::of(mails.clone()), "a", within(PATIENCE)).await;
    streams.send("mails", "mail.send", "to/0", "a letter", "mail 0").await;
    mails.begun(1).await;
    worker.request_stop("the test is done with it");
    mails.gate.add_permits(1);
    Deployment::stop(worker).await;
    let told: Vec<_> = streams.kafka.read(&streams.topics.results("mails")).await.iter().map(text_of).collect();
    assert_eq!(told, ["a letter by attempt 1 to to/0"]);
    let worker = streams.start_as(logic::of(mails.clone()), "a", within(Duration::from_millis(100))).await;
    streams.send("mails", "mail.send", "to/1", "a letter", "mail 1").await;
    mails.begun(2).await;
    Deployment::stop(worker).await;
    assert_eq!(streams.kafka.read(&streams.topics.results("mails")).await.len(), 1);
    streams.audit("mails").await;
}

/// Worker `a` has committed some mails, their effects have ended, and its store has none of it yet.
async fn unstored(name: &str, drain: Duration) -> (Streams, Mails, Arc<AtomicBool>, Lifecycle) {
    let (streams, mails) = open(name).await;
    let store = Arc::<AtomicBool>::default();
    mails.gate.add_permits(4);
    let worker = streams.start_as(logic::of(mails.clone()), "a", held_within(drain, &store)).await;
    for n in 0..4 {
        streams.send("mails", "mail.send", &format!("to/{n}"), "a letter", &format!("mail {n}")).await;
    }
    streams.results("mails", 4).await;
    (streams, mails, store, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_given_back_when_the_store_has_their_frames() {
    let (streams, mails, store, first) = unstored("storing", PATIENCE).await;
    let second = streams.start_as(logic::of(mails.clone()), "b", within(PATIENCE)).await;
    Deployment::says(&first, "gives its shards back").await;
    assert!(!second.components().iter().any(|component| component.detail.contains("shards run")), "they are not its own yet");
    store.store(true, Ordering::Release);
    Deployment::says(&second, "2 shards run").await;
    Deployment::says(&first, "2 shards run").await;
    Deployment::stop(first).await;
    Deployment::stop(second).await;
    streams.audit("mails").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_given_back_without_the_store_when_its_time_is_over() {
    let (streams, mails, store, first) = unstored("unstored", Duration::from_millis(100)).await;
    let second = streams.start_as(logic::of(mails.clone()), "b", within(PATIENCE)).await;
    Deployment::says(&second, "2 shards run").await;
    assert!(!store.load(Ordering::Acquire), "its new owners read from the log what the store did not get");
    store.store(true, Ordering::Release);
    Deployment::stop(first).await;
    Deployment::stop(second).await;
    streams.audit("mails").await;
}
