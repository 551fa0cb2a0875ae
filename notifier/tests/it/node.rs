//! A notifier of its own for one test: own topics, own port, own state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::auth::{Access, Mode};
use chassis::lifecycle::Lifecycle;
use chassis::listener;
use notifier::config::Options;
use notifier::{Parts, Service};
use schemas::datum::Datum;
use schemas::flights::FlightRecorded;
use schemas::partition::partition_of;
use schemas::receipt::ReceiptKeys;
use schemas::registry::{Registry, SchemaIds};
use schemas::{Catalog, Topics, frame};
use state::{Memory, StateReader};
use testkit::{Kafka, Transactions, eventually_async, unique};

/// Longest wait of any step.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running node.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) topics: Topics,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ids: SchemaIds,
    pub(crate) store: Arc<Memory>,
    pub(crate) kafka: Kafka,
    writer: Transactions,
    clock: AtomicI64,
    lifecycle: Lifecycle,
    data: tempfile::TempDir,
}

impl Node {
    /// A node whose options were changed by `change`; ready to take subscriptions.
    pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Self {
        Self::start_on(&testkit::engines().await.registry, change).await
    }

    /// The same, with a registry at `registry`.
    pub(crate) async fn start_on(registry: &str, change: impl FnOnce(&mut Options)) -> Self {
        let engines = testkit::engines().await;
        let kafka = Kafka::new(&engines.kafka);
        let catalog = Catalog::embedded().unwrap();
        let topics = Topics::new(&format!("{}-", unique("notifier")));
        let partitions = catalog.stream("flights").unwrap().partitions;
        kafka.create(&topics.results("flights"), partitions).await;
        let ids = Registry::new(&engines.registry, None).unwrap().resolve(&topics, &catalog, true).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::defaults(data.path().to_owned()).unwrap();
        options.hub.lanes = 2;
        change(&mut options);
        let lifecycle = Lifecycle::new();
        let listen = listener::Options::new("public", SocketAddr::from(([127, 0, 0, 1], 0)), "");
        let bound = listener::bind(&listen).await.unwrap();
        let address = bound.local_addr();
        let store = Arc::new(Memory::new());
        let parts = Parts {
            catalog: Arc::clone(&catalog),
            registry: Arc::new(Registry::new(registry, None).unwrap()),
            kafka: kafka.settings().clone(),
            topics: topics.clone(),
            reader: Arc::new(StateReader::new(store.clone())),
            access: Arc::new(Access::new(Mode::Open, address, &[]).unwrap()),
            lifecycle: lifecycle.clone(),
        };
        let service = Service::build(options, parts).unwrap();
        bound.serve(service.router(), &lifecycle);
        let writer = Transactions::new(&kafka, &unique("writer")).await;
        let node = Self { address, topics, catalog, ids, store, kafka, writer, clock: AtomicI64::new(0), lifecycle, data };
        eventually_async(PATIENCE, || async { node.lifecycle.is_ready().then_some(()) }).await;
        node
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The keys that the node opens receipts with.
    pub(crate) fn receipts(&self) -> ReceiptKeys {
        ReceiptKeys::in_dir(self.data.path()).unwrap()
    }

    /// One transaction of results, ended by `commit` or an abort.
    pub(crate) async fn tell(&self, results: &[(&str, i64)], commit: bool) {
        self.writer.begin();
        for (origin, seq) in results {
            self.send(origin, *seq, &self.recorded(origin, *seq));
        }
        if commit { self.writer.commit().await } else { self.writer.abort().await }
    }

    /// One committed record with any value.
    pub(crate) async fn tell_raw(&self, origin: &str, seq: i64, value: &[u8]) {
        self.writer.begin();
        self.send(origin, seq, value);
        self.writer.commit().await;
    }

    /// One committed result with these headers alone; its timestamp, ms.
    pub(crate) async fn tell_with(&self, origin: &str, value: &[u8], headers: &[(&str, &[u8])]) -> i64 {
        self.writer.begin();
        let now = self.write(origin, value, headers);
        self.writer.commit().await;
        now
    }

    fn send(&self, origin: &str, seq: i64, value: &[u8]) {
        let text = seq.to_string();
        let headers: [(&str, &[u8]); 4] = [
            ("ce_id", b"e1"),
            ("ce_type", b"flight.recorded"),
            ("seq", text.as_bytes()),
            ("cause", b"00000000000000000000000000000001"),
        ];
        self.write(origin, value, &headers);
    }

    fn write(&self, origin: &str, value: &[u8], headers: &[(&str, &[u8])]) -> i64 {
        let (topic, now) = (self.topics.results("flights"), self.next_ms());
        let partition = partition_of(origin, self.catalog.stream("flights").unwrap().partitions);
        self.writer.send(&topic, partition, now, origin.as_bytes(), value, headers);
        now
    }

    /// The value of a result in the registry's wire format.
    pub(crate) fn recorded(&self, origin: &str, seq: i64) -> Vec<u8> {
        let data = FlightRecorded {
            origin: origin.to_owned(),
            destination: "JFK".to_owned(),
            delay_minutes: 7,
            flights: seq,
            delay_minutes_sum: 7 * seq,
        };
        let mut value = Vec::new();
        frame::begin(self.ids.id_of(FlightRecorded::RECORD).unwrap(), &mut value);
        data.encode(&mut value);
        value
    }

    /// Frames of a shard are at least 1 ms apart.
    fn next_ms(&self) -> i64 {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let last = self.clock.fetch_max(now, Ordering::Relaxed);
        if last >= now { self.clock.fetch_add(1, Ordering::Relaxed) + 1 } else { now }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.lifecycle.request_stop("the test is over");
    }
}
