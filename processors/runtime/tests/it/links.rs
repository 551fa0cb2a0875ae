//! Two streams that talk to each other: orders send to stock, and follow what stock tells.

use runtime::{Context, Decision, Processor, Reads, Rejection, Rows, logic};
use testkit::{Proxy, checkers};

use crate::deployment::Deployment;
use crate::streams::{SHARDS, Streams, Words, of_type, row, text_of, words};

/// What makes orders follow stock.
pub(crate) const FOLLOW: &str = "[[follow]]\nstream = \"stock\"\ntypes = [\"stock.taken\"]\n";
pub(crate) const ORDERS: &str = r#"
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
pub(crate) const STOCK: &str = r#"
title = "Stock"
partitions = 4
shard_rows = true
[[event]]
type = "stock.take"
schema = "test/words.avsc"
internal = true
[[event]]
type = "stock.count"
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
fn number(rows: &Rows<Words>, sort: &str) -> i64 {
    rows.get(sort).map_or(0, |row| row.text.parse().unwrap())
}

/// Orders of this are no orders: all shards of stock count them.
const INVENTORY: &str = "*";

/// Numbers its orders per item, and counts what stock tells of an item.
pub(crate) struct Orders;

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
        if item == INVENTORY {
            return Ok(Decision::new().broadcast(words("stock.count", "")));
        }
        let n = number(rows, &item) + 1;
        let take = words("stock.take", &format!("{} {n}", ctx.subject));
        Ok(Decision::new().put(&item, row(&n)).emit(words("order.placed", &n)).send(&item, take))
    }
}

/// Counts an item, and what its shard has taken in all, and sees whether orders come in the order they were sent in.
pub(crate) struct Stock;

impl Processor for Stock {
    const NAME: &'static str = "stock";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = schemas::flights::SendEvent;

    fn reads(&self, input: &Words) -> Reads {
        match input.text.split_once(' ') {
            Some((order, _)) => Reads::root().row(order).shard_row("taken"),
            None => Reads::none().row("inventories"),
        }
    }

    fn decide(&self, input: Words, rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let Some((order, n)) = input.text.split_once(' ') else {
            return Ok(Decision::new().put("inventories", row(&(number(rows, "inventories") + 1))));
        };
        let taken = rows.shard("taken").map_or(0, |row| row.text.parse::<i64>().unwrap()) + 1;
        let told = if n.parse() == Ok(number(rows, order) + 1) { "stock.taken" } else { "stock.disorder" };
        let count = number(rows, "") + 1;
        let decision = Decision::new().put(order, row(n)).put("", row(&count)).put_in_shard("taken", row(&taken));
        Ok(decision.emit(words(told, &count)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_talk_to_each_other_count_exactly_while_their_workers_come_and_go() {
    const ROUNDS: usize = 4;
    const EACH: usize = 30;
    let shop = Streams::open("links", &[("orders", ORDERS), ("stock", STOCK)]).await;
    let proxy = Proxy::kafka(&testkit::engines().await.kafka).await;
    let (orders, items) = (["o0", "o1", "o2", "o3"], ["i0", "i1", "i2"]);
    let mut placed = 0;
    for round in 0..ROUNDS {
        let slot = format!("slot-{}", round % 2);
        let workers = [
            shop.start(logic::of(Orders), &slot, proxy.address()).await,
            shop.start(logic::of(Stock), &slot, proxy.address()).await,
        ];
        for n in 0..EACH {
            let (order, item) = (orders[placed % orders.len()], items[placed % items.len()]);
            shop.send("orders", "order.place", order, item, &placed.to_string()).await;
            placed += 1;
            if n == EACH / 2 {
                shop.send("orders", "order.place", "o0", INVENTORY, &format!("inventory {round}")).await;
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
    let workers = [
        shop.start(logic::of(Orders), "last", proxy.address()).await,
        shop.start(logic::of(Stock), "last", proxy.address()).await,
    ];
    let told = shop.results("orders", 2 * placed).await;
    let taken = shop.results("stock", placed).await;

    checkers::results(&taken).exactly_once(placed, 1);
    assert!(of_type(&taken, "stock.disorder").is_empty(), "sends from one subject to another keep their order");
    assert!(taken.iter().all(|record| record.header("ce_hops") == Some("1")));
    checkers::results(&told);
    assert_eq!((of_type(&told, "order.placed").len(), of_type(&told, "order.heard").len()), (placed, placed));
    let sent = shop.kafka.read(&shop.topics.events("stock")).await;
    let broadcasts = ROUNDS * SHARDS as usize;
    assert_eq!(of_type(&sent, "stock.take").len(), placed, "only committed sends are seen, each once");
    assert_eq!(of_type(&sent, "stock.count").len(), broadcasts, "one for every shard");
    assert!(sent.iter().all(|record| record.header("ce_source") == Some("forebay/orders")));
    for text in of_type(&told, "order.heard").into_iter().map(text_of) {
        let (heard, counted) = text.split_once(' ').unwrap();
        assert_eq!(heard, counted, "results of a subject are followed in their order");
    }
    for worker in workers {
        Deployment::stop(worker).await;
    }
    shop.audit("orders").await;
    shop.audit("stock").await;
    let mut taken = 0;
    for shard in 0..SHARDS {
        let home = schemas::partition::shard_subject(shard);
        let stored = async |sort| shop.stored("stock", &home, sort).await.map_or(0, |text| text.parse::<usize>().unwrap());
        assert_eq!(stored("inventories").await, ROUNDS, "shard {shard} hears every broadcast once");
        taken += stored("taken").await;
    }
    assert_eq!(taken, placed, "every input of a shard counts in one place");
}
