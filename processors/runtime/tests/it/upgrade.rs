//! Workers are replaced one by one, under load, by those of a version that follows one more stream.

use std::sync::atomic::{AtomicBool, Ordering};

use runtime::logic;
use testkit::checkers;

use crate::deployment::Deployment;
use crate::links::{FOLLOW, ORDERS, Orders, STOCK, Stock};
use crate::streams::{Streams, of_type};

/// Subjects of orders: some in every shard.
const SUBJECTS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn old_workers_make_room_for_new_ones_with_one_more_followed_stream_and_nothing_is_lost() {
    let without = ORDERS.replace(FOLLOW, "");
    assert_ne!(without, ORDERS);
    let old = Streams::open("upgrade", &[("orders", &without), ("stock", STOCK)]).await;
    let new = Streams::attach(&old.prefix, &[("orders", ORDERS), ("stock", STOCK)], old.store.clone()).await;
    let address = &*old.kafka.settings().bootstrap;
    let stock = old.start(logic::of(Stock), "stock", address).await;
    let mut old_workers = Vec::new();
    for slot in ["old-0", "old-1"] {
        let worker = old.start(logic::of(Orders), slot, address).await;
        Deployment::says(&worker, "shards run").await;
        old_workers.push(worker);
    }
    let upgraded = AtomicBool::new(false);
    let load = async {
        let mut placed = 0;
        while !upgraded.load(Ordering::Relaxed) {
            let (order, item) = (format!("o{}", placed % SUBJECTS), ["i0", "i1", "i2"][placed % 3]);
            old.send("orders", "order.place", &order, item, &placed.to_string()).await;
            placed += 1;
        }
        placed
    };
    let upgrade = async {
        let mut workers = Vec::new();
        for (leaving, slot) in old_workers.into_iter().zip(["new-0", "new-1"]) {
            let worker = new.start(logic::of(Orders), slot, address).await;
            Deployment::says(&worker, "shards run").await;
            // both versions have a part of the shards, and those that one of them can run are worked on
            let told = old.results("orders", 1).await.len();
            old.results("orders", told + 50).await;
            Deployment::stop(leaving).await;
            workers.push(worker);
        }
        for worker in &workers {
            Deployment::says(worker, "2 shards run").await;
        }
        upgraded.store(true, Ordering::Relaxed);
        workers
    };
    let (placed, workers) = tokio::join!(load, upgrade);

    let told = new.results("orders", 2 * placed).await;
    checkers::results(&told);
    assert_eq!(of_type(&told, "order.placed").len(), placed);
    assert_eq!(of_type(&told, "order.heard").len(), placed, "all there was, also of the time before it was followed");
    let taken = new.results("stock", placed).await;
    assert_eq!((taken.len(), of_type(&taken, "stock.disorder").len()), (placed, 0), "in the order they were sent in");
    for worker in workers {
        Deployment::stop(worker).await;
    }
    Deployment::stop(stock).await;
    new.audit("orders").await;
    new.audit("stock").await;
}
