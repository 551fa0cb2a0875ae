//! Rows and lifecycles over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemas::catalog::Tracking;
use schemas::datum::Datum;
use schemas::flights::{Airport, Recent};
use schemas::frame;
use schemas::key::EventKey;
use schemas::partition::partition_of;
use schemas::receipt::Receipt;
use serde_json::{Value, json};
use state::records::{EventStatus, HEAD_SORT, Head, State};
use state::{Frame, Mark, RowKey, RowWrite, Shard, StateStore, StatusKey, StatusWrite};

use crate::node::Node;

/// Frame time of the tests, µs.
const TS: i64 = 1_700_000_000_000_000;

fn shard(node: &Node, subject: &str) -> Shard {
    let partitions = node.catalog.stream("flights").unwrap().partitions;
    Shard { stream: "flights".into(), number: partition_of(subject, partitions) }
}

fn row(node: &Node, subject: &str, sort: &str, record: &impl Datum, name: &str) -> RowWrite {
    let mut val = Vec::new();
    frame::begin(node.ids.id_of(name).unwrap(), &mut val);
    record.encode(&mut val);
    RowWrite { key: key(subject, sort), val: Some(val.into()), expire_at: None }
}

fn key(subject: &str, sort: &str) -> RowKey {
    RowKey { subject: subject.into(), sort: sort.into() }
}

/// What one flight at `subject` leaves, without the watermark.
async fn apply(node: &Node, subject: &str, seq: i64, ts: i64, status: Vec<StatusWrite>) {
    let airport = Airport {
        flights: seq,
        delay_minutes_sum: 7 * seq,
        delay_minutes_max: 7,
        delayed_15: 0,
        distance_miles_sum: 100,
        last_departed_at: 1_000,
    };
    let recent = Recent { delays: vec![7], delayed: false };
    let head = Head { seq, ..Head::default() };
    let frame = Frame {
        shard: shard(node, subject),
        n: seq,
        ts,
        rows: vec![
            row(node, subject, "", &airport, Airport::RECORD),
            row(node, subject, "recent", &recent, Recent::RECORD),
            RowWrite { key: key(subject, HEAD_SORT), val: Some(head.encode()), expire_at: None },
        ],
        agenda: Vec::new(),
        status,
        dedupe: Vec::new(),
        dedupe_ended: Vec::new(),
    };
    node.store.apply(&frame).await.unwrap();
}

async fn mark(node: &Node, subject: &str, ts: i64) {
    let positions = BTreeMap::from([("flights.events".to_owned(), 10)]);
    let mark = Mark { applied: 1, n: 1, ts, positions, horizon: 0, agenda_floor: 0 };
    node.store.set_marks(&[(shard(node, subject), mark)]).await.unwrap();
}

async fn start() -> Node {
    let node = Node::start(|options| options.views.deadline = Duration::from_millis(300)).await;
    let flights = node.catalog.stream("flights").unwrap();
    node.store.open_stream("flights", flights.partitions, flights.buckets).await.unwrap();
    node
}

async fn get(node: &Node, path: &str) -> (u16, Value) {
    let answer = reqwest::get(node.url(path)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_shows_only_what_is_final_with_its_seq() {
    let node = start().await;
    let (status, problem) = get(&node, "/v1/views/flights/ATL").await;
    assert_eq!((status, &problem["type"]), (404, &"urn:forebay:problem:view-not-found".into()));
    apply(&node, "ATL", 1, TS, Vec::new()).await;
    assert_eq!(get(&node, "/v1/views/flights/ATL").await.0, 503, "written, but not below the watermark");
    mark(&node, "ATL", TS).await;
    let (status, view) = get(&node, "/v1/views/flights/ATL").await;
    assert_eq!((status, &view["channel"], &view["seq"]), (200, &"flights/ATL".into(), &1.into()));
    assert_eq!(view["asof"], "2023-11-14T22:13:20.000Z");
    let rows = view["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "no row of the engine: {rows:?}");
    assert_eq!((&rows[0]["sort"], &rows[0]["type"], &rows[0]["data"]["flights"]), (&"".into(), &"Airport".into(), &1.into()));
    assert_eq!((&rows[1]["sort"], &rows[1]["data"]["delays"]), (&"recent".into(), &json!([7])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_view_is_304_and_a_changed_one_is_not() {
    let node = start().await;
    apply(&node, "JFK", 1, TS, Vec::new()).await;
    mark(&node, "JFK", TS).await;
    let client = reqwest::Client::new();
    let first = client.get(node.url("/v1/views/flights/JFK")).send().await.unwrap();
    let etag = first.headers()["etag"].clone();
    let ask = || client.get(node.url("/v1/views/flights/JFK")).header("if-none-match", etag.clone()).send();
    assert_eq!(ask().await.unwrap().status(), 304);
    apply(&node, "JFK", 2, TS + 1_000, Vec::new()).await;
    mark(&node, "JFK", TS + 1_000).await;
    assert_eq!(ask().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_pages_through_every_subject_once() {
    let node = start().await;
    let airports = ["ATL", "BOS", "DEN", "JFK", "LAX", "ORD", "SEA"];
    for airport in airports {
        apply(&node, airport, 1, TS, Vec::new()).await;
        mark(&node, airport, TS).await;
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = get(&node, &format!("/v1/views/flights?limit=3{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item["channel"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    found.sort();
    assert_eq!(found, airports.map(|airport| format!("flights/{airport}")));
    for bad in ["limit=0", "limit=1001", "limit=x", "prefix=AT", "cursor=nonsense"] {
        let (status, problem) = get(&node, &format!("/v1/views/flights?{bad}")).await;
        assert_eq!(status, 400, "{bad}");
        assert!(problem["errors"][0]["pointer"].is_string(), "{bad}: {problem}");
    }
    assert_eq!(get(&node, "/v1/views/nowhere").await.0, 404);
    assert_eq!(get(&node, "/v1/views/flights/~head").await.0, 404);
    assert_eq!(get(&node, "/v1/views/flights/ATL?cursor=zz").await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_followed_by_its_receipt() {
    let node = start().await;
    let event_key = EventKey([7; 16]);
    let receipt = |offset: i64| {
        let receipt = Receipt {
            key_id: 0,
            partition: shard(&node, "ATL").number,
            offset: Some(offset),
            event_key,
            accepted_ms: i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap(),
            stream: "flights".to_owned(),
            subject: "ATL".to_owned(),
            tracking: None,
        };
        node.receipts().seal(&receipt)
    };
    assert_eq!(get(&node, "/v1/events/nonsense").await.0, 400);
    let path = format!("/v1/events/{}", receipt(20));
    let (status, life) = get(&node, &path).await;
    assert_eq!((status, &life["state"], &life["channel"]), (200, &"QUEUED".into(), &"flights/ATL".into()), "{life}");
    let (_, waited) = get(&node, &format!("{path}?wait=200ms&from=QUEUED")).await;
    assert_eq!(waited["state"], "QUEUED", "at the deadline the present state is told");
    assert_eq!(get(&node, &format!("{path}?wait=soon")).await.0, 400);
    assert_eq!(get(&node, &format!("/v1/views/flights/ATL?after={}", receipt(20))).await.0, 409);

    let mut status = EventStatus {
        state: State::Succeeded,
        outcome: Some("ok".to_owned()),
        code: None,
        detail: None,
        history: Vec::new(),
        attempts: 1,
        next_attempt: None,
        stream: "flights".to_owned(),
        subject: "ATL".to_owned(),
        partition: shard(&node, "ATL").number,
        offset: 20,
        cause: None,
        products: Vec::new(),
        reason: None,
    };
    status.enter(State::Succeeded, TS);
    let write = StatusWrite { key: StatusKey { event: event_key.0, part: Arc::from("") }, val: status.encode(), expire_at: None };
    let following = format!("{path}?wait=10s&from=QUEUED");
    let follow = get(&node, &following);
    let happen = async {
        apply(&node, "ATL", 1, TS, vec![write]).await;
        mark(&node, "ATL", TS).await;
    };
    let ((_, life), ()) = tokio::join!(follow, happen);
    assert_eq!((&life["state"], &life["outcome"], &life["attempts"]), (&"SUCCEEDED".into(), &"ok".into(), &1.into()), "{life}");
    let (status, view) = get(&node, &format!("/v1/views/flights/ATL?after={}", receipt(20))).await;
    assert_eq!((status, &view["seq"]), (200, &1.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_says_what_its_type_leaves_behind() {
    let node = start().await;
    apply(&node, "ATL", 1, TS, Vec::new()).await;
    mark(&node, "ATL", TS).await;
    let receipt = |tracking| {
        let receipt = Receipt {
            key_id: 0,
            partition: shard(&node, "ATL").number,
            offset: Some(5),
            event_key: EventKey([9; 16]),
            accepted_ms: i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap(),
            stream: "flights".to_owned(),
            subject: "ATL".to_owned(),
            tracking: Some(tracking),
        };
        format!("/v1/events/{}", node.receipts().seal(&receipt))
    };
    // processed, and nothing was left: success where only failures leave something, nothing known otherwise
    let (status, life) = get(&node, &receipt(Tracking::Failures)).await;
    assert_eq!((status, &life["state"], &life["derived"]), (200, &"SUCCEEDED".into(), &true.into()), "{life}");
    for tracking in [Tracking::All, Tracking::None] {
        let (status, problem) = get(&node, &receipt(tracking)).await;
        assert_eq!((status, &problem["type"]), (410, &"urn:forebay:problem:receipt-expired".into()), "{problem}");
    }
}
