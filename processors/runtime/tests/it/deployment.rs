//! One stream of one test: topics, schemas, a store, and workers that can be started and stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use chassis::kafka::topics::ensure;
use chassis::lifecycle::Lifecycle;
use runtime::dead_letter::desk::Desk;
use runtime::effects::{self, Effects, Policy};
use runtime::{Context, Decision, Options, Outcome, Parts, Processor, Reads, Rejection, Rows, Timer, logic};
use schemas::catalog::{Catalog, Retry};
use schemas::datum::Datum;
use schemas::flights::{Airport, FlightDeparted, FlightRecorded, Input, ResultEvent, Row, SendEvent};
use schemas::names::Topics;
use schemas::registry::{Registry, SchemaIds};
use state::{Memory, StateStore};
use testkit::kafka::Record;
use testkit::{Kafka, Watched, Witness};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A flight with this delay is decided when the gate opens, the first time.
pub(crate) const SLOW_ONCE: i32 = 670;
static HELD_UP: AtomicBool = AtomicBool::new(false);
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Lets the decision go on that waits at the gate.
pub(crate) fn open_gate() {
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
}

/// Counts flights per airport; a delay of 666 minutes panics until that is `fixed`, 667 can never be processed, 668 must wait
/// for another flight, 669 counts when its timer fires, two seconds later, 671 when its effect has ended, which fails once.
/// 672 ends the process at once, 673 by a stack that is too small. 674 counts when its effect has ended, however often it was attempted.
/// 675 counts and writes a note beside the count, 676 counts and deletes it, 677 counts and writes a note that expires.
struct Count {
    fixed: bool,
}

impl Processor for Count {
    const NAME: &'static str = "flights";
    type Input = Input;
    type Row = Row;
    type ResultEvent = ResultEvent;
    type SendEvent = SendEvent;

    fn reads(&self, _input: &Input) -> Reads {
        Reads::root()
    }

    fn decide(&self, input: Input, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let Input::FlightDeparted(flight) = input;
        assert!(flight.delay_minutes != 666 || self.fixed, "planted");
        if flight.delay_minutes == SLOW_ONCE && !HELD_UP.swap(true, Ordering::Relaxed) {
            drop(GATE.1.wait_timeout_while(GATE.0.lock().unwrap(), PATIENCE, |open| !*open).unwrap());
        }
        if flight.delay_minutes == 672 {
            std::process::abort();
        }
        if flight.delay_minutes == 673 {
            deeper();
        }
        if flight.delay_minutes == 667 {
            return Err(Rejection::Terminal("planted".into()));
        }
        if flight.delay_minutes == 669 {
            return Ok(Decision::new().set_timer("count", ctx.now + 2_000_000, "LAX"));
        }
        if flight.delay_minutes == 671 {
            return Ok(Decision::new().effect("ask", "SFO"));
        }
        if flight.delay_minutes == 674 {
            return Ok(Decision::new().effect("call", "SFO"));
        }
        let before = match rows.get("") {
            Some(Row::Airport(airport)) => airport.flights,
            _ => 0,
        };
        if flight.delay_minutes == 668 && before == 0 {
            return Err(Rejection::Retry("no flight yet".into()));
        }
        let airport = Airport {
            flights: before + 1,
            delay_minutes_sum: 0,
            delay_minutes_max: 0,
            delayed_15: 0,
            distance_miles_sum: 0,
            last_departed_at: 0,
        };
        let told = FlightRecorded {
            origin: flight.origin,
            destination: flight.destination,
            delay_minutes: flight.delay_minutes,
            flights: before + 1,
            delay_minutes_sum: 0,
        };
        let decision = Decision::new().put("", Row::Airport(airport.clone())).emit(ResultEvent::FlightRecorded(told));
        Ok(match flight.delay_minutes {
            675 => decision.put("note", Row::Airport(airport)),
            676 => decision.delete("note"),
            677 => decision.put_until("fleeting", Row::Airport(airport), ctx.now + 3_000_000),
            _ => decision,
        })
    }

    fn effects(&self) -> Effects {
        let retry = Retry { base_ms: 100, ..Retry::default() };
        let asking = Effects::default().with("ask", Policy { retry, ..Policy::default() }, |call| async move {
            match call.attempt {
                1 => Err(effects::Error::Retry("planted".into())),
                _ => Ok(call.argument),
            }
        });
        // whoever takes over attempts it soon
        let soon = Policy { retry, lease: Duration::from_secs(8), breaker: false, ..Policy::default() };
        asking.with("call", soon, |call| async move { Ok(call.argument) })
    }

    fn outcome(&self, outcome: Outcome, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        assert_eq!(outcome.result.as_deref(), Ok(&b"SFO"[..]));
        assert!(outcome.name == "call" || outcome.attempts == 2, "{} attempts", outcome.attempts);
        self.timer(Timer { name: outcome.name, due: 0, payload: outcome.result.unwrap() }, rows, ctx)
    }

    fn timer(&self, timer: Timer, rows: &Rows<Row>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let flight = FlightDeparted {
            departed_at: timer.due / 1_000,
            delay_minutes: 0,
            distance_miles: 1,
            origin: ctx.subject.to_string(),
            destination: String::from_utf8_lossy(&timer.payload).into_owned(),
        };
        self.decide(Input::FlightDeparted(flight), rows, ctx)
    }
}

/// Calls itself until the stack ends.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper() -> u64 {
    let frame = std::hint::black_box([1; 64]);
    deeper() + frame[0]
}

/// A deployment of its own on the shared engines.
pub(crate) struct Deployment {
    pub(crate) kafka: Kafka,
    pub(crate) topics: Topics,
    pub(crate) ids: SchemaIds,
    catalog: Arc<Catalog>,
    registry: Arc<Registry>,
    pub(crate) store: Arc<dyn StateStore>,
    /// Workers from now on can process what panicked before.
    pub(crate) fixed: bool,
    pub(crate) prefix: String,
}

impl Deployment {
    pub(crate) async fn new(name: &str) -> Self {
        Self::of(name, Catalog::embedded().unwrap()).await
    }

    /// The same with another catalog.
    pub(crate) async fn of(name: &str, catalog: Arc<Catalog>) -> Self {
        Self::with(format!("{}.", testkit::unique(name)), catalog).await
    }

    /// The one of this prefix: processes of a test share it.
    pub(crate) async fn at(prefix: String) -> Self {
        Self::with(prefix, Catalog::embedded().unwrap()).await
    }

    async fn with(prefix: String, catalog: Arc<Catalog>) -> Self {
        let engines = testkit::engines().await;
        let kafka = Kafka::new(&engines.kafka);
        let topics = Topics::new(&prefix);
        let registry = Arc::new(Registry::new(&engines.registry, None).unwrap());
        let ids = registry.resolve(&topics, &catalog, true).await.unwrap();
        let deployment = Self { kafka, topics, ids, catalog, registry, store: Arc::new(Memory::new()), fixed: false, prefix };
        deployment.make_topics().await;
        deployment
    }

    /// Makes the topics that are missing.
    pub(crate) async fn make_topics(&self) {
        let specs = runtime::topics::of_stream(self.catalog.stream("flights").unwrap(), &self.topics);
        ensure(self.kafka.settings(), &specs, 1).await.unwrap();
    }

    /// A worker in `slot`; it stops with the lifecycle.
    pub(crate) async fn start(&self, slot: &str) -> Lifecycle {
        self.start_as(slot, |_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn start_as(&self, slot: &str, change: impl FnOnce(&mut Options)) -> Lifecycle {
        let lifecycle = Lifecycle::new();
        let parts = Parts {
            logic: logic::of(Count { fixed: self.fixed }),
            catalog: self.catalog.clone(),
            ids: self.ids.clone(),
            registry: self.registry.clone(),
            store: self.store.clone(),
        };
        let mut kafka = self.kafka.settings().clone();
        // a static member that is gone keeps its shards for the length of a session
        kafka.client.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        let mut options = Options::new(kafka, &self.prefix, slot);
        change(&mut options);
        runtime::start(options, parts, &lifecycle).await.unwrap();
        lifecycle
    }

    /// Moves a shard on by hand.
    pub(crate) async fn seek(&self, shard: i32, topic: &str, offset: i64) -> Result<(), String> {
        let parts = Parts {
            logic: logic::of(Count { fixed: self.fixed }),
            catalog: self.catalog.clone(),
            ids: self.ids.clone(),
            registry: self.registry.clone(),
            store: self.store.clone(),
        };
        let mut kafka = self.kafka.settings().clone();
        kafka.client.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        let options = Options::new(kafka, &self.prefix, "doctor");
        let seek = runtime::Seek { shard, positions: vec![(topic.to_owned(), offset)] };
        let lifecycle = Lifecycle::new();
        let sought = runtime::seek(options, parts, seek, &lifecycle).await.map_err(|error| error.to_string());
        Self::stop(lifecycle).await;
        sought
    }

    /// What the worker says of itself, once it says this.
    pub(crate) async fn says(lifecycle: &Lifecycle, text: &str) -> String {
        testkit::eventually(PATIENCE, || {
            let said = lifecycle.components().into_iter().map(|component| component.detail).collect::<String>();
            said.contains(text).then_some(said)
        })
        .await
    }

    /// Workers from now on ask this registry for schemas they do not know.
    pub(crate) fn use_registry(&mut self, url: &str) {
        self.registry = Arc::new(Registry::new(url, None).unwrap());
    }

    /// Workers from now on keep state in a CQL node at this address.
    pub(crate) async fn use_cql(&mut self, node: &str) {
        let mut config = state::Config { kind: state::Kind::Cql, ..state::Config::default() };
        config.cql.nodes = vec![node.to_owned()];
        config.cql.replication = 1;
        // while a machine builds, or a store compacts all the time, the default is short for a start
        config.cql.request_time_ms = 15_000;
        config.cql.keyspace = self.prefix.trim_end_matches('.').replace('-', "_");
        self.store = state::open(&config).await.unwrap();
    }

    /// The row of an airport lies in the store as an earlier version of the program wrote it: with this schema.
    pub(crate) async fn store_older(&self, airport: &str, avsc: &str, datum: &[u8]) {
        let older = "title = \"Flights\"\npartitions = 16\n[[event]]\ntype = \"flight.departed\"\nschema = \"flights/older.avsc\"\n\
                     subject = { pointer = \"/origin\" }";
        let avsc = avsc.replace("\"fields\":[", "\"fields\":[{\"name\":\"origin\",\"type\":\"string\"},");
        let catalog = Catalog::parse(&[("flights", older)], &[("flights/older.avsc", &avsc)]).unwrap();
        let schema = &catalog.stream("flights").unwrap().events[0].schema;
        let id = self.registry.id_of(&format!("{}older", self.prefix), schema, true).await.unwrap();
        let mut value = Vec::new();
        schemas::frame::begin(id, &mut value);
        value.extend_from_slice(datum);
        let shard = state::Shard { stream: "flights".into(), number: self.partition(airport) };
        let key = state::RowKey { subject: airport.into(), sort: "".into() };
        let rows = vec![state::RowWrite { key, val: Some(value.into()), expire_at: None }];
        let frame = state::Frame {
            shard,
            n: 1,
            ts: 1,
            rows,
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: Vec::new(),
        };
        self.store.apply(&frame).await.unwrap();
    }

    /// Flights of an airport, as the store has them.
    pub(crate) async fn stored_flights(&self, airport: &str) -> Option<i64> {
        let shard = state::Shard { stream: "flights".into(), number: self.partition(airport) };
        let key = state::RowKey { subject: airport.into(), sort: "".into() };
        let cell = self.store.rows(&shard, &[key]).await.ok()?.pop()??;
        let image = cell.val?;
        let (_, datum) = schemas::frame::split(&image).unwrap();
        Some(Airport::decode(datum).unwrap().flights)
    }

    /// Waits until the store holds a row.
    pub(crate) async fn await_row(&self, subject: &str, sort: &str) {
        testkit::eventually_async(PATIENCE, || async { self.has_row(subject, sort).await.then_some(()) }).await;
    }

    /// Whether the store says that it holds a row.
    pub(crate) async fn has_row(&self, subject: &str, sort: &str) -> bool {
        let shard = state::Shard { stream: "flights".into(), number: self.partition(subject) };
        let key = state::RowKey { subject: subject.into(), sort: sort.into() };
        let read = async || self.store.rows(&shard, std::slice::from_ref(&key)).await.ok()?.pop()??.val;
        read().await.is_some()
    }

    /// A row disappears from the store, which no history explains.
    pub(crate) async fn lose_row(&self, subject: &str, sort: &str) {
        let key = state::RowKey { subject: subject.into(), sort: sort.into() };
        let frame = state::Frame {
            shard: state::Shard { stream: "flights".into(), number: self.partition(subject) },
            n: 0,
            ts: i64::MAX,
            rows: vec![state::RowWrite { key, val: None, expire_at: None }],
            agenda: Vec::new(),
            status: Vec::new(),
            dedupe: Vec::new(),
            dedupe_ended: Vec::new(),
        };
        self.store.apply(&frame).await.unwrap();
    }

    /// The store is lost.
    pub(crate) fn lose_store(&mut self) {
        self.store = Arc::new(Memory::new());
    }

    /// Prefix of its topics.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The consumer group of the workers.
    pub(crate) fn group(&self) -> String {
        format!("{}forebay.flights", self.prefix)
    }

    /// Partition of a subject.
    pub(crate) fn partition(&self, subject: &str) -> i32 {
        schemas::partition::partition_of(subject, self.catalog.stream("flights").unwrap().partitions)
    }

    /// Stops a worker in order.
    pub(crate) async fn stop(lifecycle: Lifecycle) {
        lifecycle.request_stop("the test is done with it");
        let ended = lifecycle.run_until_signal(Duration::from_secs(20)).await;
        assert!(ended.left.is_empty() && !ended.failed, "{ended}");
    }

    /// Produces one departure as a plain client of any language would.
    pub(crate) async fn depart(&self, origin: &str, delay: i32, id: &str) {
        let flight = FlightDeparted {
            departed_at: 0,
            delay_minutes: delay,
            distance_miles: 1,
            origin: origin.to_owned(),
            destination: "LAS".to_owned(),
        };
        let mut value = Vec::new();
        schemas::frame::begin(self.ids.id_of(FlightDeparted::RECORD).unwrap(), &mut value);
        flight.encode(&mut value);
        self.send(origin, &value, id).await;
    }

    pub(crate) async fn send(&self, subject: &str, value: &[u8], id: &str) {
        self.send_to(self.partition(subject), subject, value, id).await;
    }

    pub(crate) async fn send_to(&self, partition: i32, subject: &str, value: &[u8], id: &str) {
        let headers: [(&str, &[u8]); 3] = [("ce_id", id.as_bytes()), ("ce_source", b"/test"), ("ce_type", b"flight.departed")];
        self.kafka.produce(&self.topics.events("flights"), Some(partition), subject.as_bytes(), value, &headers).await;
    }

    /// The dead letters of the stream.
    pub(crate) fn desk(&self) -> Desk {
        Desk::open(self.kafka.settings(), &self.prefix, self.catalog.stream("flights").unwrap()).unwrap()
    }

    /// How an audit of this deployment is asked for, stopped.
    pub(crate) fn audit_options(&self) -> runtime::audit::Options {
        runtime::audit::Options::new(self.kafka.settings().clone(), &self.prefix, "flights")
    }

    /// Somebody who reads results, and views of these subjects, from now on.
    pub(crate) fn witness(&self, subjects: &[&str]) -> Witness {
        let watched = Watched {
            stream: "flights".to_owned(),
            topics: self.topics.clone(),
            store: self.store.clone(),
            partitions: self.catalog.stream("flights").unwrap().partitions,
            subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
        };
        Witness::start(&self.kafka, watched)
    }

    /// Audits the stream.
    pub(crate) async fn audit(&self, live: bool) -> runtime::audit::Report {
        let mut options = self.audit_options();
        options.live = live;
        self.audit_with(options).await
    }

    pub(crate) async fn audit_with(&self, options: runtime::audit::Options) -> runtime::audit::Report {
        let parts = runtime::audit::Parts { catalog: self.catalog.clone(), store: Some(self.store.clone()) };
        runtime::audit::run(options, parts, |_| {}).await.unwrap()
    }

    /// Writes a record again, with some headers changed.
    pub(crate) async fn repeat(&self, topic: &str, record: &Record, changed: &[(&str, &str)]) {
        let change = |name: &str| changed.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes());
        let headers: Vec<(&str, &[u8])> =
            record.headers.iter().map(|(name, value)| (name.as_str(), change(name).unwrap_or(value))).collect();
        let value = record.value.as_deref().unwrap();
        self.kafka.produce(topic, Some(record.partition), &record.key, value, &headers).await;
    }

    /// Waits until the topic holds `count` committed records.
    pub(crate) async fn await_records(&self, topic: &str, count: usize) -> Vec<Record> {
        testkit::eventually_async(PATIENCE, || async {
            let records = self.kafka.read(topic).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }
}
