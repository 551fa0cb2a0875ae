use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::ffi;
use chassis::kafka::tail::{Options, Source, Start, Tail, TailEvent};
use chassis::lifecycle::Lifecycle;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::Receiver;

use crate::kit::{DEADLINE, end, settings, topic, unique};

type Transactional = ThreadedProducer<DefaultProducerContext>;

fn options() -> Options {
    Options { statistics: Duration::from_millis(200), ..Options::default() }
}

fn from(topic: &str, start: Start) -> Vec<Source> {
    vec![Source { topic: topic.to_owned(), partition: 0, start }]
}

async fn producer() -> Transactional {
    let config = settings().transactional(&unique("tx"));
    let made = tokio::task::spawn_blocking(move || {
        let producer: Transactional = config.create().unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer
    });
    made.await.unwrap()
}

/// One transaction with these values; its control record takes one more offset.
fn transaction(producer: &Transactional, topic: &str, values: &[&str], commit: bool) {
    producer.begin_transaction().unwrap();
    for value in values {
        let headers = OwnedHeaders::new().insert(Header { key: "seq", value: Some("1") });
        producer
            .send(BaseRecord::to(topic).partition(0).key("k").payload(*value).headers(headers))
            .map_err(|(error, _)| error)
            .unwrap();
    }
    assert!(ffi::flush(producer, DEADLINE));
    if commit {
        producer.commit_transaction(DEADLINE).unwrap();
    } else {
        producer.abort_transaction(DEADLINE).unwrap();
    }
}

/// Reads until `done`; fails at the deadline.
async fn read(events: &mut Receiver<TailEvent>, mut done: impl FnMut(&TailEvent) -> bool) -> Vec<TailEvent> {
    let mut seen = Vec::new();
    let reading = async {
        loop {
            let event = events.recv().await.expect("the reader goes on");
            let last = done(&event);
            seen.push(event);
            if last {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(DEADLINE, reading).await.is_ok(), "nothing came any more after {seen:?}");
    seen
}

fn values(events: &[TailEvent]) -> Vec<&str> {
    let records = events.iter().filter_map(|event| match event {
        TailEvent::Record(record) => record.value.as_deref(),
        TailEvent::Position { .. } | TailEvent::Lost { .. } => None,
    });
    records.map(|value| std::str::from_utf8(value).unwrap()).collect()
}

fn is_position(event: &TailEvent, wanted: i64) -> bool {
    matches!(event, TailEvent::Position { offset, .. } if *offset == wanted)
}

#[tokio::test]
async fn committed_records_only_and_the_position_passes_what_is_never_delivered() {
    let (lifecycle, name, producer) = (Lifecycle::new(), topic("tail", 1).await, producer().await);
    transaction(&producer, &name, &["a", "b", "c"], true); // 0–2, control 3
    transaction(&producer, &name, &["x", "y"], false); // 4–5, control 6
    let (_tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::Beginning), &lifecycle).unwrap();
    let seen = read(&mut events, |event| is_position(event, 7)).await;
    assert_eq!(values(&seen), ["a", "b", "c"]);
    let TailEvent::Record(first) = &seen[0] else { panic!("{:?}", seen[0]) };
    assert_eq!((first.offset, &first.key[..], &*first.topic), (0, &b"k"[..], name.as_str()));
    assert_eq!((first.headers[0].0.as_str(), &first.headers[0].1[..]), ("seq", &b"1"[..]));
    transaction(&producer, &name, &["d"], true); // 7, control 8
    transaction(&producer, &name, &["z"], false); // 9, control 10
    let seen = read(&mut events, |event| is_position(event, 11)).await;
    assert_eq!(values(&seen), ["d"]);
    end(lifecycle).await;
}

#[tokio::test]
async fn an_open_transaction_holds_the_position_back() {
    let (lifecycle, name, producer) = (Lifecycle::new(), topic("open", 1).await, producer().await);
    transaction(&producer, &name, &["a"], true); // 0, control 1
    let (_tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::Beginning), &lifecycle).unwrap();
    read(&mut events, |event| is_position(event, 2)).await;
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to(&name).partition(0).key("k").payload("b")).map_err(|(error, _)| error).unwrap();
    assert!(ffi::flush(&producer, DEADLINE));
    let mut ticks = 0;
    let seen = read(&mut events, |event| {
        ticks += u32::from(matches!(event, TailEvent::Position { .. }));
        ticks == 5
    });
    assert!(seen.await.iter().all(|event| is_position(event, 2)), "uncommitted records are not passed");
    producer.commit_transaction(DEADLINE).unwrap();
    let seen = read(&mut events, |event| is_position(event, 4)).await;
    assert_eq!(values(&seen), ["b"]);
    end(lifecycle).await;
}

#[tokio::test]
async fn the_position_of_a_quiet_partition_stays_fresh() {
    let (lifecycle, name) = (Lifecycle::new(), topic("quiet", 1).await);
    let (_tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::End), &lifecycle).unwrap();
    let mut times = Vec::new();
    read(&mut events, |event| {
        if let TailEvent::Position { offset: 0, at_ms, .. } = event {
            times.push(*at_ms);
        }
        times.len() == 4
    })
    .await;
    // each is taken from two clocks of the client library, so neighbours may cross by their rounding
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1] + 5) && times[0] < times[3], "{times:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((0..10_000).contains(&(now - times[3])), "{now} {times:?}");
    end(lifecycle).await;
}

#[tokio::test]
async fn reading_begins_where_it_was_asked_to() {
    let (lifecycle, name, producer) = (Lifecycle::new(), topic("starts", 1).await, producer().await);
    transaction(&producer, &name, &["a", "b"], true); // 0–1, control 2
    for (start, wanted) in
        [(Start::Beginning, "a"), (Start::Offset(1), "b"), (Start::End, "c"), (Start::At(0), "a"), (Start::At(i64::MAX / 4), "c")]
    {
        let (_tail, mut events) = Tail::start(&settings(), &options(), from(&name, start), &lifecycle).unwrap();
        if wanted == "c" {
            // the end is found before anything new is written
            read(&mut events, |event| matches!(event, TailEvent::Position { .. })).await;
            transaction(&producer, &name, &["c"], true);
        }
        let seen = read(&mut events, |event| matches!(event, TailEvent::Record(_))).await;
        assert_eq!(values(&seen), [wanted], "{start:?}");
    }
    end(lifecycle).await;
}

#[tokio::test]
async fn deleted_records_are_told_as_lost_and_reading_goes_on() {
    let (lifecycle, name, producer) = (Lifecycle::new(), topic("lost", 1).await, producer().await);
    transaction(&producer, &name, &["a", "b", "c"], true); // 0–2, control 3
    let admin: AdminClient<DefaultClientContext> = settings().client_config().create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&name, 0, Offset::Offset(2)).unwrap();
    admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    let (_tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::Offset(0)), &lifecycle).unwrap();
    let seen = read(&mut events, |event| is_position(event, 4)).await;
    assert!(matches!(&seen[0], TailEvent::Lost { resumes: 2, .. }), "{seen:?}");
    assert_eq!(values(&seen), ["c"]);
    // beyond the end
    let (_tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::Offset(1000)), &lifecycle).unwrap();
    let seen = read(&mut events, |event| matches!(event, TailEvent::Position { .. })).await;
    assert!(matches!(&seen[0], TailEvent::Lost { resumes: 4, .. }), "{seen:?}");
    end(lifecycle).await;
}

#[tokio::test]
async fn partitions_can_be_added_without_losing_or_repeating_records() {
    let (lifecycle, name, other, producer) =
        (Lifecycle::new(), topic("first", 1).await, topic("second", 1).await, producer().await);
    transaction(&producer, &name, &["a"], true);
    transaction(&producer, &other, &["b"], true);
    let (tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::Beginning), &lifecycle).unwrap();
    let first = read(&mut events, |event| matches!(event, TailEvent::Record(_))).await;
    tail.add(from(&other, Start::Beginning));
    tail.add(from(&name, Start::Beginning));
    let second = read(&mut events, |event| matches!(event, TailEvent::Record(_))).await;
    transaction(&producer, &name, &["c"], true);
    let third = read(&mut events, |event| matches!(event, TailEvent::Record(_))).await;
    assert_eq!([values(&first), values(&second), values(&third)], [["a"], ["b"], ["c"]]);
    end(lifecycle).await;
}

#[tokio::test]
async fn a_receiver_that_does_not_receive_does_not_hold_up_the_stop() {
    let (lifecycle, name, producer) = (Lifecycle::new(), topic("stuck", 1).await, producer().await);
    transaction(&producer, &name, &["a", "b", "c", "d"], true);
    let narrow = Options { queue: 1, ..options() };
    let (_tail, mut events) = Tail::start(&settings(), &narrow, from(&name, Start::Beginning), &lifecycle).unwrap();
    read(&mut events, |event| matches!(event, TailEvent::Record(_))).await;
    end(lifecycle).await;
}

#[tokio::test]
async fn a_reader_whose_handle_is_dropped_ends() {
    let (lifecycle, name) = (Lifecycle::new(), topic("dropped", 1).await);
    let (tail, mut events) = Tail::start(&settings(), &options(), from(&name, Start::End), &lifecycle).unwrap();
    drop(tail);
    let ended = tokio::time::timeout(DEADLINE, async { while events.recv().await.is_some() {} });
    assert!(ended.await.is_ok());
    end(lifecycle).await;
}
