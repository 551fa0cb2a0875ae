//! The read route of a kind, and rows that other versions of their records wrote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use schemas::catalog::{Catalog, LIST_BUCKETS, RecordSchema, list_subject};
use schemas::datum::Datum;
use schemas::entities::{Entity, EntityState, Summary};
use schemas::frame;
use schemas::partition::partition_of;
use schemas::registry::{Registry, subject};
use state::records::{HEAD_SORT, Head};
use state::{Frame, Mark, RowKey, RowWrite, Shard, StateStore};

use crate::node::Node;

/// Frame time of the first change, µs.
const TS: i64 = 1_700_000_000_000_000;
/// The subject of the route `/v1/students/s1` in open mode.
const SUBJECT: &str = "main/student/s1";
/// Nobody listens on port 9 of the loopback.
const NOBODY: &str = "http://127.0.0.1:9";
/// What a student was before `born_on` and `notes`.
const STUDENT_BEFORE: &str = r#"{"type":"record","name":"Student","namespace":"forebay.entities","fields":[
    {"name":"first_name","type":"string"},{"name":"last_name","type":"string"},{"name":"email","type":"string"}]}"#;
/// Ada Byron, a@b, of that version.
const ADA_BEFORE: &[u8] = b"\x06Ada\x0aByron\x06a@b";

fn student(node: &Node, first_name: &str, version: i64) -> Entity {
    // three short strings, and nothing in two optional fields
    let mut data = Vec::new();
    for text in [first_name, "Byron", "a@b"] {
        data.push(2 * u8::try_from(text.len()).unwrap());
        data.extend_from_slice(text.as_bytes());
    }
    data.extend_from_slice(&[0, 0]);
    Entity {
        version,
        state: EntityState::Live,
        data: data.into(),
        schema: node.catalog.stream("entities").unwrap().kinds[0].schema.fingerprint.clone(),
        created_at: TS,
        created_by: None,
        updated_at: TS,
        updated_by: None,
        next: None,
    }
}

fn datum(entity: &Entity) -> Vec<u8> {
    let mut out = Vec::new();
    entity.encode(&mut out);
    out
}

/// Puts a row with this schema id and datum, final at once.
async fn put(node: &Node, schema: i32, datum: &[u8], seq: i64) {
    put_at(node, (SUBJECT, ""), schema, datum, seq).await;
}

/// The same at another place.
async fn put_at(node: &Node, (subject, sort): (&str, &str), schema: i32, datum: &[u8], seq: i64) {
    let partitions = node.catalog.stream("entities").unwrap().partitions;
    let shard = Shard { stream: "entities".into(), number: partition_of(subject, partitions) };
    let mut val = Vec::new();
    frame::begin(schema, &mut val);
    val.extend_from_slice(datum);
    let row = |sort: &str, val: Bytes| RowWrite {
        key: RowKey { subject: subject.into(), sort: sort.into() },
        val: Some(val),
        expire_at: None,
    };
    let head = Head { seq, ..Head::default() };
    let ts = TS + seq * 1_000;
    let frame = Frame {
        shard: shard.clone(),
        n: seq,
        ts,
        rows: vec![row(sort, val.into()), row(HEAD_SORT, head.encode())],
        agenda: Vec::new(),
        status: Vec::new(),
        dedupe: Vec::new(),
        dedupe_ended: Vec::new(),
    };
    node.store.apply(&frame).await.unwrap();
    let mark = Mark { applied: seq, n: seq, ts, positions: BTreeMap::new(), horizon: 0, agenda_floor: 0 };
    node.store.set_marks(&[(shard, mark)]).await.unwrap();
}

async fn put_current(node: &Node, entity: &Entity, seq: i64) {
    put(node, node.ids.id_of(Entity::RECORD).unwrap(), &datum(entity), seq).await;
}

async fn opened(node: Node) -> Node {
    let entities = node.catalog.stream("entities").unwrap();
    node.store.open_stream("entities", entities.partitions, entities.buckets).await.unwrap();
    node
}

async fn start() -> Node {
    opened(Node::start(|options| options.views.deadline = Duration::from_millis(1_000)).await).await
}

async fn get(node: &Node, path: &str) -> (u16, reqwest::header::HeaderMap, Value) {
    let answer = reqwest::get(node.url(path)).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.json().await.unwrap())
}

fn is_problem(answer: &(u16, reqwest::header::HeaderMap, Value), status: u16, name: &str) {
    assert_eq!((answer.0, &answer.2["type"]), (status, &format!("urn:forebay:problem:{name}").into()), "{answer:?}");
    assert_eq!(answer.1["content-type"], "application/problem+json");
}

/// Another version of a record, as its own catalog would have it.
fn version(schema: &str) -> Arc<RecordSchema> {
    let stream =
        "title = \"T\"\npartitions = 1\n[[event]]\ntype = \"a.b\"\nschema = \"t.avsc\"\nsubject = { generated = true }\n";
    Catalog::parse(&[("things", stream)], &[("t.avsc", schema)]).unwrap().event("a.b").unwrap().1.schema.clone()
}

async fn register(node: &Node, record: &RecordSchema) -> i32 {
    let registry = Registry::new(&testkit::engines().await.registry, None).unwrap();
    registry.id_of(&subject(&node.topics.log("entities"), &record.full_name), record, true).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_is_found_updated_and_gone() {
    let node = start().await;
    is_problem(&get(&node, "/v1/students/s1").await, 404, "view-not-found");

    put_current(&node, &student(&node, "Ada", 1), 1).await;
    let (status, headers, shown) = get(&node, "/v1/students/s1").await;
    assert_eq!((status, &headers["etag"]), (200, &"\"v1\"".parse().unwrap()), "{shown}");
    assert_eq!((&shown["version"], &shown["state"]), (&1.into(), &"live".into()));
    assert_eq!(shown["data"]["first_name"], "Ada");

    put_current(&node, &student(&node, "Augusta", 2), 2).await;
    let client = reqwest::Client::new();
    let ask = |tag: &str| client.get(node.url("/v1/students/s1")).header("if-none-match", tag.to_owned()).send();
    assert_eq!(ask("\"v2\"").await.unwrap().status(), 304);
    let shown: Value = ask("\"v1\"").await.unwrap().json().await.unwrap();
    assert_eq!((&shown["version"], &shown["data"]["first_name"]), (&2.into(), &"Augusta".into()));

    let deleted = Entity { state: EntityState::Deleted, data: Bytes::new(), ..student(&node, "", 3) };
    put_current(&node, &deleted, 3).await;
    is_problem(&get(&node, "/v1/students/s1").await, 404, "view-not-found");
    for bad in ["/v1/students/~head", "/v1/students/a%2Fb", "/v1/students/%00", "/v1/students/s1/x"] {
        assert_eq!(reqwest::get(node.url(bad)).await.unwrap().status(), 404, "{bad}");
    }
}

/// Puts a student into the list by last name.
async fn list(node: &Node, bucket: u8, last_name: &str, id: &str, seq: i64) {
    let summary = Summary { version: 1, fields: [("last_name".to_owned(), last_name.to_owned())].into() };
    let mut datum = Vec::new();
    summary.encode(&mut datum);
    let place = (&*list_subject("main", "student", bucket), &*format!("last_name:{}/{id}", last_name.to_lowercase()));
    put_at(node, place, node.ids.id_of(Summary::RECORD).unwrap(), &datum, seq).await;
}

/// Ids of a list, and the number of pages they came in.
async fn listed(node: &Node, query: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let (status, headers, page) = get(node, &format!("/v1/students?{query}{cursor}")).await;
        assert_eq!((status, &headers["cache-control"]), (200, &"no-store".parse().unwrap()), "{page}");
        ids.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["cursor"].as_str() else { return (ids, pages) };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_one_order_over_all_its_subjects_page_by_page() {
    let node = start().await;
    assert_eq!(listed(&node, "").await, (Vec::new(), 1));
    // one subject holds a run of neighbours, so that its share of a page is not enough
    let bucket = |n: usize| if n < 30 { 3 } else { (n % usize::from(LIST_BUCKETS)) as u8 };
    for n in 0..90 {
        list(&node, bucket(n), &format!("N{n:02}"), &format!("s{n}"), 1 + n as i64).await;
    }
    list(&node, 5, "Åse/Ö", "a1", 91).await;
    let ids: Vec<String> = (0..90).map(|n| format!("s{n}")).collect();
    for (limit, least) in [(1, 90), (7, 13), (40, 3), (1_000, 1)] {
        let (found, pages) = listed(&node, &format!("prefix=n&limit={limit}")).await;
        assert_eq!(found, ids, "{limit}");
        assert!((least..=least + 6).contains(&pages), "{limit}: {pages}");
    }
    assert_eq!(listed(&node, "sort=last_name&prefix=N1").await.0, ids[10..20]);
    let (_, _, page) = get(&node, "/v1/students?prefix=%C3%85SE/").await;
    assert_eq!(page, json!({"items": [{"id": "a1", "version": 1, "fields": {"last_name": "Åse/Ö"}}], "cursor": null}));
    let foreign = "6c6173745f6e616d653a78"; // last_name:x
    for bad in ["sort=email", "limit=0", "limit=1001", "limit=x", "cursor=zz", &format!("prefix=y&cursor={foreign}")] {
        is_problem(&get(&node, &format!("/v1/students?{bad}")).await, 400, "malformed-request");
    }
    is_problem(&get(&node, &format!("/v1/students?prefix={}", "x".repeat(101))).await, 400, "malformed-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_an_older_version_is_shown_with_the_defaults_of_today() {
    let node = start().await;
    let before = version(STUDENT_BEFORE);
    register(&node, &before).await;
    let entity = Entity { data: ADA_BEFORE.into(), schema: before.fingerprint.clone(), ..student(&node, "", 1) };
    put_current(&node, &entity, 1).await;
    let (status, _, shown) = get(&node, "/v1/students/s1").await;
    let expected = json!({"first_name": "Ada", "last_name": "Byron", "email": "a@b", "born_on": null, "notes": null});
    assert_eq!((status, &shown["data"]), (200, &expected), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_an_older_version_is_shown_with_the_defaults_of_today() {
    let node = start().await;
    let current = &node.catalog.stream("entities").unwrap().row(Entity::RECORD).unwrap().schema;
    let mut before: Value = serde_json::from_str(&current.json).unwrap();
    before["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "next");
    let id = register(&node, &version(&before.to_string())).await;
    assert_ne!(Some(id), node.ids.id_of(Entity::RECORD));
    // the last byte is the absent `next`
    let whole = datum(&student(&node, "Ada", 1));
    put(&node, id, &whole[..whole.len() - 1], 1).await;
    let (status, _, shown) = get(&node, "/v1/students/s1").await;
    assert_eq!((status, &shown["data"]["first_name"], &shown["next"]), (200, &"Ada".into(), &Value::Null), "{shown}");
    assert!(shown.as_object().unwrap().contains_key("next"), "{shown}");
    let (status, _, view) = get(&node, "/v1/views/entities/main%2Fstudent%2Fs1").await;
    assert_eq!((status, &view["rows"][0]["type"]), (200, &"Entity".into()), "{view}");
    assert!(view["rows"][0]["data"].as_object().unwrap().contains_key("next"), "{view}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_now_is_503_and_says_when_to_come_back() {
    let away = opened(Node::start_on(NOBODY, |options| options.views.deadline = Duration::from_millis(1_000)).await).await;
    put_current(&away, &student(&away, "Ada", 1), 1).await;
    let node = start().await;
    let unknown = Entity { schema: "0123456789abcdef".into(), ..student(&node, "Ada", 1) };
    put_current(&node, &unknown, 1).await;
    let mut seq = 1;
    for path in ["/v1/students/s1", "/v1/views/entities/main%2Fstudent%2Fs1", "/v1/views/entities"] {
        if path == "/v1/students/s1" {
            is_unavailable(&get(&node, path).await);
        }
        is_unavailable(&get(&away, path).await);
        for (schema, datum) in [(i32::MAX, &b"\x02"[..]), (node.ids.id_of(Entity::RECORD).unwrap(), b"\xff\xff\xff"), (0, b"")] {
            seq += 1;
            put(&node, schema, datum, seq).await;
            is_unavailable(&get(&node, path).await);
        }
        put_current(&node, &unknown, seq + 1).await;
        seq += 1;
    }
}

fn is_unavailable(answer: &(u16, reqwest::header::HeaderMap, Value)) {
    is_problem(answer, 503, "view-unavailable");
    assert!(answer.1["retry-after"].to_str().unwrap().parse::<u32>().unwrap() >= 1);
}
