//! Streams of one test that talk to each other: topics, schemas, a store, workers and audits.

use std::sync::Arc;

use chassis::kafka::Settings;
use chassis::kafka::topics::ensure;
use chassis::lifecycle::Lifecycle;
use runtime::topics::of_stream;
use runtime::{Error, Logic, Options, Parts, audit};
use schemas::Catalog;
use schemas::datum::{Cursor, DecodeError, Union, write_bytes};
use schemas::names::Topics;
use schemas::partition::partition_of;
use schemas::registry::{Registry, SchemaIds};
use state::{Memory, Shard, StateStore};
use testkit::Kafka;
use testkit::kafka::Record;

use crate::deployment::PATIENCE;

/// Partitions of every stream.
pub(crate) const SHARDS: i32 = 4;
/// Path of the one schema that there is.
const WORDS_PATH: &str = "test/words.avsc";
const WORDS: &str = r#"{"type":"record","name":"Words","namespace":"forebay.test","doc":"Words.","fields":[
    {"name":"text","type":"string","doc":"Words."}]}"#;
pub(crate) const WORDS_RECORD: &str = "forebay.test.Words";

/// A text under the name of an event, result or row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Words {
    pub(crate) name: String,
    pub(crate) text: String,
}

pub(crate) fn words(name: &str, text: &(impl ToString + ?Sized)) -> Words {
    Words { name: name.to_owned(), text: text.to_string() }
}

/// A row that says this.
pub(crate) fn row(text: &(impl ToString + ?Sized)) -> Words {
    words(WORDS_RECORD, text)
}

impl Union for Words {
    fn decode(name: &str, datum: &[u8]) -> Result<Self, DecodeError> {
        Ok(words(name, Cursor::new(datum).string()?))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(self.text.as_bytes(), out);
    }
}

/// What a record says.
pub(crate) fn text_of(record: &Record) -> String {
    Cursor::new(&record.value.as_deref().unwrap()[schemas::frame::HEAD..]).string().unwrap().to_owned()
}

/// Records of this `ce_type`.
pub(crate) fn of_type<'a>(records: &'a [Record], name: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.header("ce_type") == Some(name)).collect()
}

/// Some streams on the shared engines.
pub(crate) struct Streams {
    pub(crate) kafka: Kafka,
    pub(crate) topics: Topics,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) prefix: String,
    ids: SchemaIds,
    registry: Arc<Registry>,
}

impl Streams {
    /// Streams of these catalog files, whose schemas are all `test/words.avsc`, with topics and a store of their own.
    pub(crate) async fn open(name: &str, files: &[(&str, &str)]) -> Self {
        let prefix = format!("{}.", testkit::unique(name));
        let streams = Self::attach(&prefix, files, Arc::new(Memory::new())).await;
        let topics = &streams.topics;
        let specs: Vec<_> = streams.catalog.streams().iter().flat_map(|stream| of_stream(stream, topics)).collect();
        ensure(streams.kafka.settings(), &specs, 1).await.unwrap();
        streams
    }

    /// The same streams from another process, or as another version of the program has them.
    pub(crate) async fn attach(prefix: &str, files: &[(&str, &str)], store: Arc<dyn StateStore>) -> Self {
        let engines = testkit::engines().await;
        let (topics, catalog) = (Topics::new(prefix), Arc::new(catalog(files)));
        let registry = Arc::new(Registry::new(&engines.registry, None).unwrap());
        let ids = registry.resolve(&topics, &catalog, true).await.unwrap();
        let kafka = Kafka::new(&engines.kafka);
        Self { kafka, topics, catalog, ids, registry, store, prefix: prefix.to_owned() }
    }

    /// A worker that reaches Kafka at `address`.
    pub(crate) async fn start(&self, logic: Arc<dyn Logic>, slot: &str, address: &str) -> Lifecycle {
        let lifecycle = Lifecycle::new();
        let mut kafka = self.kafka.settings().clone();
        address.clone_into(&mut kafka.bootstrap);
        self.start_in(&lifecycle, logic, slot, &kafka).await;
        lifecycle
    }

    /// A worker with other options.
    pub(crate) async fn start_as(&self, logic: Arc<dyn Logic>, slot: &str, change: impl FnOnce(&mut Options)) -> Lifecycle {
        let lifecycle = Lifecycle::new();
        self.start_with(&lifecycle, logic, slot, self.kafka.settings(), change).await;
        lifecycle
    }

    /// A worker in a process of others.
    pub(crate) async fn start_in(&self, lifecycle: &Lifecycle, logic: Arc<dyn Logic>, slot: &str, kafka: &Settings) {
        self.start_with(lifecycle, logic, slot, kafka, |_| {}).await;
    }

    /// The same, which may be refused.
    pub(crate) async fn try_start(&self, logic: Arc<dyn Logic>) -> Result<(), Error> {
        self.try_start_with(&Lifecycle::new(), logic, "a", self.kafka.settings(), |_| {}).await
    }

    async fn start_with(
        &self,
        lifecycle: &Lifecycle,
        logic: Arc<dyn Logic>,
        slot: &str,
        kafka: &Settings,
        change: impl FnOnce(&mut Options),
    ) {
        self.try_start_with(lifecycle, logic, slot, kafka, change).await.unwrap();
    }

    async fn try_start_with(
        &self,
        lifecycle: &Lifecycle,
        logic: Arc<dyn Logic>,
        slot: &str,
        kafka: &Settings,
        change: impl FnOnce(&mut Options),
    ) -> Result<(), Error> {
        let parts = Parts {
            logic,
            catalog: self.catalog.clone(),
            ids: self.ids.clone(),
            registry: self.registry.clone(),
            store: self.store.clone(),
        };
        let mut kafka = kafka.clone();
        kafka.client.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        let mut options = Options::new(kafka, &self.prefix, slot);
        change(&mut options);
        runtime::start(options, parts, lifecycle).await
    }

    /// An event from outside.
    pub(crate) async fn send(&self, stream: &str, ce_type: &str, subject: &str, text: &str, id: &str) {
        let mut value = Vec::new();
        schemas::frame::begin(self.ids.id_of(WORDS_RECORD).unwrap(), &mut value);
        write_bytes(text.as_bytes(), &mut value);
        let headers: [(&str, &[u8]); 3] = [("ce_id", id.as_bytes()), ("ce_source", b"/test"), ("ce_type", ce_type.as_bytes())];
        let partition = Some(partition_of(subject, SHARDS));
        self.kafka.produce(&self.topics.events(stream), partition, subject.as_bytes(), &value, &headers).await;
    }

    /// Results of a stream, once there are so many.
    pub(crate) async fn results(&self, stream: &str, count: usize) -> Vec<Record> {
        let topic = self.topics.results(stream);
        testkit::eventually_async(PATIENCE, || async {
            let records = self.kafka.read(&topic).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// What the store has in a row.
    pub(crate) async fn stored(&self, stream: &str, subject: &str, sort: &str) -> Option<String> {
        let shard = Shard { stream: stream.into(), number: partition_of(subject, SHARDS) };
        let key = state::RowKey { subject: subject.into(), sort: sort.into() };
        let image = self.store.rows(&shard, &[key]).await.unwrap().pop()??.val?;
        Some(Cursor::new(&image[schemas::frame::HEAD..]).string().unwrap().to_owned())
    }

    /// Audits a stream whose workers are stopped; nothing may be wrong with it.
    pub(crate) async fn audit(&self, stream: &str) -> audit::Report {
        let options = audit::Options::new(self.kafka.settings().clone(), &self.prefix, stream);
        let parts = audit::Parts { catalog: self.catalog.clone(), store: Some(self.store.clone()) };
        let report = audit::run(options, parts, |_| {}).await.unwrap();
        assert!(report.is_clean(), "{stream}: {:#?}", report.findings);
        report
    }
}

fn catalog(files: &[(&str, &str)]) -> Catalog {
    let engine = [
        ("engine/log_claim.avsc", include_str!("../../../../schemas/avro/engine/log_claim.avsc")),
        ("engine/log_data.avsc", include_str!("../../../../schemas/avro/engine/log_data.avsc")),
        ("engine/log_trailer.avsc", include_str!("../../../../schemas/avro/engine/log_trailer.avsc")),
    ];
    Catalog::parse(files, &[&engine[..], &[(WORDS_PATH, WORDS)]].concat()).unwrap()
}
