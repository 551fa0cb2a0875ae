//! Three streams that settle orders together: order, stock, payment. Their process is killed amid it; every order still
//! ends one way, and stock and payments agree with that.
//!
//! `FOREBAY_SAGA_KILLS=40 cargo test -p runtime --test it saga -- --nocapture` runs a longer one.

mod shop;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chassis::lifecycle::Lifecycle;
use runtime::logic;
use schemas::key::EventKey;
use state::reader::{Answer, Question, Stage, StateReader, Tracking, Within};
use state::records::{CANCELLED, State};
use state::{Shard, StateStore};
use testkit::kafka::Record;
use testkit::{Process, checkers};

use self::shop::{FILES, Orders, Payments, Stock};
use self::target::Target;
use crate::streams::{Streams, of_type, text_of};

/// How long the shop may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// Orders between two kills.
const ORDERS: usize = 16;
const ITEMS: [&str; 3] = ["anvil", "bell", "clock"];

/// Set in the process that runs the shop: the deployment's prefix.
const PREFIX: &str = "FOREBAY_SAGA_PREFIX";
/// Address of the payment target.
const TARGET: &str = "FOREBAY_SAGA_TARGET";

fn kills() -> usize {
    std::env::var("FOREBAY_SAGA_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3)
}

/// Nobody pays for every fifth order; what is wanted of an item is more than there is.
fn order(n: usize) -> (String, String) {
    let how = if n.is_multiple_of(5) { "never" } else { "soon" };
    (format!("order/{n}"), format!("{} {} {how}", ITEMS[n % ITEMS.len()], 1 + n % 2))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_ends_one_way_whatever_is_killed_and_stock_and_payments_agree() {
    let kills = kills();
    let initial = (ORDERS * (kills + 1) / 3) as i64;
    let target = Target::start();
    let streams = Streams::open("saga", &FILES).await;
    for item in ITEMS {
        streams.send("stock", "stock.fill", item, &format!("- {initial}"), item).await;
    }
    let mut process = spawn(&streams.prefix, target.address());
    let mut sent = 0;
    for kill in 0..=kills {
        for _ in 0..ORDERS {
            let (subject, text) = order(sent);
            streams.send("orders", "order.place", &subject, &text, &format!("place {sent}")).await;
            // waits, strictly, for timers and replies that pass it
            streams.send("orders", "order.close", &subject, "-", &format!("close {sent}")).await;
            sent += 1;
        }
        if kill < kills {
            // amid work, however slow the machine is
            told(&streams, "order.placed", sent - ORDERS / 4).await;
            process.kill();
            process = spawn(&streams.prefix, target.address());
        }
    }
    told(&streams, "order.closed", sent).await;
    let status = process.terminate(PATIENCE).await;
    assert!(status.success(), "{status}");
    let streams = Streams::attach(&streams.prefix, &FILES, store(&streams.prefix).await).await;
    let paid = ends(&streams, sent).await;
    check_stock(&streams, initial, &paid).await;
    check_payments(&target, &paid);
    check_charges(&streams, &paid).await;
    for stream in ["orders", "stock", "payments"] {
        let dead = streams.kafka.read(&streams.topics.dead(stream)).await;
        assert!(dead.is_empty(), "{dead:?}");
        streams.audit(stream).await;
    }
}

/// Waits for results of orders.
async fn told(streams: &Streams, name: &str, count: usize) {
    let topic = streams.topics.results("orders");
    testkit::eventually_async(PATIENCE, || async {
        let records = streams.kafka.read(&topic).await;
        (of_type(&records, name).len() >= count).then_some(())
    })
    .await;
}

/// Each order has one end, and what waited for it heard of that one. Returns the orders that were paid.
async fn ends(streams: &Streams, sent: usize) -> BTreeSet<String> {
    let records = streams.kafka.read(&streams.topics.results("orders")).await;
    checkers::results(&records);
    let by_order = |name: &str| -> BTreeMap<String, String> {
        let all = of_type(&records, name);
        let ends: BTreeMap<_, _> = all.iter().map(|record| (subject(record), text_of(record))).collect();
        assert_eq!(all.len(), ends.len(), "{name}: at most once for each order");
        ends
    };
    let (placed, paid) = (by_order("order.placed"), by_order("order.paid"));
    let (cancelled, closed) = (by_order("order.cancelled"), by_order("order.closed"));
    assert_eq!((placed.len(), closed.len(), paid.len() + cancelled.len()), (sent, sent, sent));
    for (order, end) in &closed {
        let told = if paid.contains_key(order) { "paid" } else { cancelled[order].as_str() };
        assert_eq!(end, told, "{order}");
    }
    let reasons = |reason: &str| cancelled.values().filter(|end| *end == reason).count();
    let counts = [paid.len(), reasons("out-of-stock"), reasons("unpaid")];
    assert!(counts.iter().all(|count| *count > 0), "paid, out of stock, unpaid: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), sent);
    println!("{sent} orders: paid, out of stock, unpaid: {counts:?}");
    paid.into_keys().collect()
}

/// Nothing is taken that is not there, and what is gone is what was paid for.
async fn check_stock(streams: &Streams, initial: i64, paid: &BTreeSet<String>) {
    let records = streams.kafka.read(&streams.topics.results("stock")).await;
    checkers::results(&records);
    for record in &records {
        assert!((0..=initial).contains(&text_of(record).parse().unwrap()), "{record:?}");
    }
    for item in ITEMS {
        let of_item = |order: &&String| {
            let (_, text) = self::order(order.strip_prefix("order/").unwrap().parse().unwrap());
            text.starts_with(item).then(|| text.split(' ').nth(1).unwrap().parse::<i64>().unwrap())
        };
        let sold: i64 = paid.iter().filter_map(|order| of_item(&order)).sum();
        let left: i64 = streams.stored("stock", item, "").await.unwrap().parse().unwrap();
        assert_eq!(left, initial - sold, "{item}");
    }
}

/// A target sees one id for each order, however often it is called, and was paid by those who say so.
fn check_payments(target: &Target, paid: &BTreeSet<String>) {
    let calls = target.calls();
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in &calls {
        ids.entry(&call.order).or_default().insert(&call.id);
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    let all: BTreeSet<_> = ids.values().flatten().collect();
    assert_eq!(all.len(), ids.len(), "one order for each id");
    assert!(calls.len() > ids.len(), "some calls are repeated");
    for order in paid {
        assert!(calls.iter().any(|call| call.order == *order && call.paid), "{order} is not paid at the target");
    }
}

/// A charge settles with its effect: it has succeeded, and the effect was cancelled where nobody paid.
async fn check_charges(streams: &Streams, paid: &BTreeSet<String>) {
    let records = streams.kafka.read(&streams.topics.events("payments")).await;
    let charges = of_type(&records, "payment.charge");
    assert!(charges.len() > paid.len());
    let reader = StateReader::new(streams.store.clone());
    for charge in charges {
        let [id, source] = ["ce_id", "ce_source"].map(|name| charge.header(name).unwrap());
        let order = subject(charge);
        let question = Question {
            event: EventKey::of(source, id, None).0,
            shard: Shard { stream: "payments".into(), number: charge.partition },
            offset: Some(charge.offset),
            tracking: Tracking::All,
            accepted: charge.timestamp_ms * 1_000,
            life: i64::MAX,
        };
        let within = Within::new(charge.timestamp_ms * 1_000, PATIENCE);
        let Answer::Known(told) = reader.lifecycle(&question, within).await.unwrap() else { panic!("{order} is not known") };
        let [(_, effect)] = &told.effects[..] else { panic!("{told:?}") };
        assert_eq!((told.stage, effect.state), (Stage::Succeeded, State::Succeeded), "{told:?}");
        let cancelled = (!paid.contains(&order)).then_some(CANCELLED);
        assert_eq!(effect.outcome.as_deref(), cancelled, "{told:?}");
        let status = told.status.as_ref().unwrap();
        assert_eq!((status.state, told.history.last().unwrap().0), (State::Processing, Stage::Succeeded), "{told:?}");
    }
}

fn subject(record: &Record) -> String {
    String::from_utf8(record.key.clone()).unwrap()
}

async fn store(prefix: &str) -> Arc<dyn StateStore> {
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{prefix}state"));
    state::open(&state::Config { path, ..state::Config::default() }).await.unwrap()
}

/// Starts this program again, for the one test below.
fn spawn(prefix: &str, target: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "saga::the_shop_runs_in_a_process_of_its_own", "--nocapture"]);
    command.env(PREFIX, prefix).env(TARGET, target);
    Process::start(command)
}

/// The process of the test above; does nothing elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_shop_runs_in_a_process_of_its_own() {
    let (Ok(prefix), Ok(target)) = (std::env::var(PREFIX), std::env::var(TARGET)) else { return };
    let streams = Streams::attach(&prefix, &FILES, store(&prefix).await).await;
    let lifecycle = Lifecycle::new();
    for logic in [logic::of(Orders), logic::of(Stock), logic::of(Payments::at(&target))] {
        streams.start_in(&lifecycle, logic, "shop", streams.kafka.settings()).await;
    }
    let ended = lifecycle.run_until_signal(Duration::from_secs(20)).await;
    assert!(ended.left.is_empty() && !ended.failed, "{ended}");
}
