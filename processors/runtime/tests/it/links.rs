//! Two streams that talk to each other: orders send to stock, and follow what stock tells.

use std::sync::Arc;

use chassis::kafka::topics::{Spec, ensure};
use chassis::lifecycle::Lifecycle;
use runtime::{Context, Decision, Logic, Options, Parts, Processor, Reads, Rejection, Rows, logic};
use schemas::Catalog;
use schemas::datum::{Cursor, DecodeError, Union, write_bytes};
use schemas::names::Topics;
use schemas::registry::{Registry, SchemaIds};
use state::{Memory, StateStore};
use testkit::kafka::Record;
use testkit::{Kafka, Proxy, checkers};

use crate::deployment::{Deployment, PATIENCE};

const ORDERS: &str = r#"
title = "Orders"
partitions = 4
native = true
sends = ["stock"]
[[follow]]
stream = "stock"
types = ["stock.taken"]
[[event]]
type = "order.place"
schema = "test/words.avsc"
subject = { attribute = true }
[[result]]
type = "order.placed"
schema = "test/words.avsc"
[[result]]
type = "order.heard"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;
const STOCK: &str = r#"
title = "Stock"
partitions = 4
[[event]]
type = "stock.take"
schema = "test/words.avsc"
internal = true
[[result]]
type = "stock.taken"
schema = "test/words.avsc"
[[result]]
type = "stock.disorder"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;
const WORDS: &str = r#"{"type":"record","name":"Words","namespace":"forebay.test","doc":"Words.","fields":[
    {"name":"text","type":"string","doc":"Words."}]}"#;
const WORDS_RECORD: &str = "forebay.test.Words";

/// A text under the name of an event, result or row.
#[derive(Clone, Debug, PartialEq)]
struct Words {
    name: String,
    text: String,
}

fn words(name: &str, text: &(impl ToString + ?Sized)) -> Words {
    Words { name: name.to_owned(), text: text.to_string() }
}

fn row(text: &(impl ToString + ?Sized)) -> Words {
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

fn number(rows: &Rows<Words>, sort: &str) -> i64 {
    rows.get(sort).map_or(0, |row| row.text.parse().unwrap())
}

/// Numbers its orders per item, and counts what stock tells of an item.
struct Orders;

impl Processor for Orders {
    const NAME: &'static str = "orders";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = Words;

    fn reads(&self, input: &Words) -> Reads {
        if input.name == "stock.taken" { Reads::none().row("heard") } else { Reads::none().row(&input.text) }
    }

    fn decide(&self, input: Words, rows: &Rows<Words>, ctx: &Context) -> Result<Decision<Self>, Rejection> {
        if input.name == "stock.taken" {
            let heard = number(rows, "heard") + 1;
            return Ok(Decision::new().put("heard", row(&heard)).emit(words("order.heard", &format!("{heard} {}", input.text))));
        }
        let item = input.text;
        let n = number(rows, &item) + 1;
        let take = words("stock.take", &format!("{} {n}", ctx.subject));
        Ok(Decision::new().put(&item, row(&n)).emit(words("order.placed", &n)).send(&item, take))
    }
}

/// Counts an item, and sees whether orders come in the order they were sent in.
struct Stock;

impl Processor for Stock {
    const NAME: &'static str = "stock";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = schemas::flights::SendEvent;

    fn reads(&self, input: &Words) -> Reads {
        let (order, _) = input.text.split_once(' ').unwrap();
        Reads::root().row(order)
    }

    fn decide(&self, input: Words, rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let (order, n) = input.text.split_once(' ').unwrap();
        let told = if n.parse() == Ok(number(rows, order) + 1) { "stock.taken" } else { "stock.disorder" };
        let count = number(rows, "") + 1;
        Ok(Decision::new().put(order, row(n)).put("", row(&count)).emit(words(told, &count)))
    }
}

/// The two streams on the shared engines.
struct Shop {
    kafka: Kafka,
    topics: Topics,
    catalog: Arc<Catalog>,
    ids: SchemaIds,
    registry: Arc<Registry>,
    store: Arc<dyn StateStore>,
    prefix: String,
}

impl Shop {
    async fn open(name: &str) -> Self {
        let engine = [
            ("engine/log_claim.avsc", include_str!("../../../../schemas/avro/engine/log_claim.avsc")),
            ("engine/log_data.avsc", include_str!("../../../../schemas/avro/engine/log_data.avsc")),
            ("engine/log_trailer.avsc", include_str!("../../../../schemas/avro/engine/log_trailer.avsc")),
        ];
        let avro = [&engine[..], &[("test/words.avsc", WORDS)]].concat();
        let catalog = Arc::new(Catalog::parse(&[("orders", ORDERS), ("stock", STOCK)], &avro).unwrap());
        let engines = testkit::engines().await;
        let kafka = Kafka::new(&engines.kafka);
        let prefix = format!("{}.", testkit::unique(name));
        let topics = Topics::new(&prefix);
        let append_time = || vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())];
        let spec = |name, config| Spec { name, partitions: 4, config };
        let specs: Vec<_> = ["orders", "stock"]
            .into_iter()
            .flat_map(|stream| {
                [
                    spec(topics.events(stream), append_time()),
                    spec(topics.log(stream), append_time()),
                    spec(topics.results(stream), Vec::new()),
                    spec(topics.dead(stream), Vec::new()),
                ]
            })
            .collect();
        ensure(kafka.settings(), &specs, 1).await.unwrap();
        let registry = Arc::new(Registry::new(&engines.registry, None).unwrap());
        let ids = registry.resolve(&topics, &catalog, true).await.unwrap();
        Self { kafka, topics, catalog, ids, registry, store: Arc::new(Memory::new()), prefix }
    }

    async fn start(&self, logic: Arc<dyn Logic>, slot: &str, proxy: &Proxy) -> Lifecycle {
        let lifecycle = Lifecycle::new();
        let parts = Parts {
            logic,
            catalog: self.catalog.clone(),
            ids: self.ids.clone(),
            registry: self.registry.clone(),
            store: self.store.clone(),
        };
        let mut kafka = self.kafka.settings().clone();
        proxy.address().clone_into(&mut kafka.bootstrap);
        kafka.client.insert("session.timeout.ms".to_owned(), "6000".to_owned());
        runtime::start(Options::new(kafka, &self.prefix, slot), parts, &lifecycle).await.unwrap();
        lifecycle
    }

    async fn place(&self, order: &str, item: &str, id: &str) {
        let mut value = Vec::new();
        schemas::frame::begin(self.ids.id_of(WORDS_RECORD).unwrap(), &mut value);
        write_bytes(item.as_bytes(), &mut value);
        let partition = schemas::partition::partition_of(order, 4);
        let headers: [(&str, &[u8]); 3] = [("ce_id", id.as_bytes()), ("ce_source", b"/test"), ("ce_type", b"order.place")];
        self.kafka.produce(&self.topics.events("orders"), Some(partition), order.as_bytes(), &value, &headers).await;
    }

    async fn results(&self, stream: &str, count: usize) -> Vec<Record> {
        let topic = self.topics.results(stream);
        testkit::eventually_async(PATIENCE, || async {
            let records = self.kafka.read(&topic).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }
}

fn of_type<'a>(records: &'a [Record], name: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.header("ce_type") == Some(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_talk_to_each_other_count_exactly_while_their_workers_come_and_go() {
    const ROUNDS: usize = 4;
    const EACH: usize = 30;
    let shop = Shop::open("links").await;
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let (orders, items) = (["o0", "o1", "o2", "o3"], ["i0", "i1", "i2"]);
    let mut placed = 0;
    for round in 0..ROUNDS {
        let slot = format!("slot-{}", round % 2);
        let workers = [shop.start(logic::of(Orders), &slot, &proxy).await, shop.start(logic::of(Stock), &slot, &proxy).await];
        for n in 0..EACH {
            shop.place(orders[placed % orders.len()], items[placed % items.len()], &placed.to_string()).await;
            placed += 1;
            if n == EACH / 2 {
                // everything done so far is on its way somewhere, and all connections break
                shop.results("orders", (placed / 2).max(1)).await;
                proxy.cut();
            }
        }
        // stopped with work left: the next round takes it up
        for worker in workers {
            Deployment::stop(worker).await;
        }
    }
    let workers = [shop.start(logic::of(Orders), "last", &proxy).await, shop.start(logic::of(Stock), "last", &proxy).await];
    let told = shop.results("orders", 2 * placed).await;
    let taken = shop.results("stock", placed).await;

    checkers::results(&taken).exactly_once(placed, 1);
    assert!(of_type(&taken, "stock.disorder").is_empty(), "sends from one subject to another keep their order");
    assert!(taken.iter().all(|record| record.header("ce_hops") == Some("1")));
    checkers::results(&told);
    assert_eq!((of_type(&told, "order.placed").len(), of_type(&told, "order.heard").len()), (placed, placed));
    let sent = shop.kafka.read(&shop.topics.events("stock")).await;
    assert_eq!(sent.len(), placed, "only committed sends are seen, each once");
    assert!(sent.iter().all(|record| record.header("ce_source") == Some("forebay/orders")));
    for (heard, text) in of_type(&told, "order.heard").iter().map(|record| {
        let text = Cursor::new(&record.value.as_deref().unwrap()[5..]).string().unwrap().to_owned();
        (text.split(' ').next().unwrap().to_owned(), text.split(' ').nth(1).unwrap().to_owned())
    }) {
        assert_eq!(heard, text, "results of a subject are followed in their order");
    }
    for worker in workers {
        Deployment::stop(worker).await;
    }
}
