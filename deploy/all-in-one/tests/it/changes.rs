//! Changes of resources, from the HTTP request to who listens live.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::oneshot::Sender;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, http::HeaderValue};

use crate::machines::{AllInOne, Machine};

/// How long everything may take together.
const PATIENCE: Duration = Duration::from_secs(120);
/// What both subscribers listen to.
const CHANNELS: &str = "entities/*/student/*";
const STUDENTS: usize = 4;
/// What each of them goes through.
const LIFE: [&str; 5] = ["student.created", "student.updated", "student.rejected", "student.deleted", "student.rejected"];

/// Channel, number and type of a result.
type Heard = (String, i64, String);

fn heard(result: &Value) -> Heard {
    let text = |name: &str| result[name].as_str().unwrap_or_else(|| panic!("{result}")).to_owned();
    let told = (text("ch"), result["seq"].as_i64().unwrap(), text("type"));
    if told.1 == 3 {
        let data = &result["data"];
        assert_eq!((&data["code"], &data["actual"]), (&json!("version_conflict"), &json!("2")), "the version there is: {result}");
    }
    told
}

async fn over_websocket(machine: &AllInOne, ready: Sender<()>) -> Vec<Heard> {
    let mut request = format!("{}/v1/ws", machine.reads().replace("http", "ws")).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("forebay.v1.json"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for said in [json!({ "op": "hello" }), json!({ "op": "sub", "id": 1, "ch": [CHANNELS] })] {
        socket.send(Message::text(said.to_string())).await.unwrap();
    }
    let (mut ready, mut all) = (Some(ready), Vec::new());
    while all.len() < STUDENTS * LIFE.len() {
        let Some(Ok(Message::Text(text))) = socket.next().await else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        match message["op"].as_str() {
            Some("ready") => ready.take().unwrap().send(()).unwrap(),
            Some("result") => all.push(heard(&message)),
            _ => {}
        }
    }
    all
}

async fn over_sse(machine: &AllInOne, ready: Sender<()>) -> Vec<Heard> {
    let mut body = reqwest::get(format!("{}/v1/sse?ch={CHANNELS}", machine.reads())).await.unwrap();
    let (mut ready, mut all, mut rest) = (Some(ready), Vec::new(), String::new());
    while all.len() < STUDENTS * LIFE.len() {
        rest.push_str(std::str::from_utf8(&body.chunk().await.unwrap().expect("the stream goes on")).unwrap());
        while let Some((event, after)) = rest.split_once("\n\n") {
            if event.contains("event: ready") {
                ready.take().unwrap().send(()).unwrap();
            }
            if let Some((_, data)) = event.split_once("event: result\ndata: ") {
                all.push(heard(&serde_json::from_str(data).unwrap()));
            }
            rest = after.to_owned();
        }
    }
    all
}

/// One student's life. A late writer, who still names the first version, is refused.
async fn live(client: &reqwest::Client, api: &str, n: usize) {
    let student = |notes: &str| json!({ "first_name": "Ada", "last_name": "Byron", "email": format!("ada{n}@example.org"), "notes": notes });
    let created = client.post(format!("{api}/v1/students")).json(&student("")).send().await.unwrap();
    assert_eq!(created.status().as_u16(), 201);
    let place = format!("{api}{}", created.headers()["location"].to_str().unwrap());
    let put = |notes| client.put(&place).header("if-match", "\"v1\"").json(&student(notes)).send();
    assert_eq!(put("likes engines").await.unwrap().status().as_u16(), 200);
    let late = put("likes looms").await.unwrap();
    assert_eq!(late.status().as_u16(), 409);
    let problem: Value = late.json().await.unwrap();
    assert_eq!(problem["code"], "version_conflict", "{problem}");
    assert_eq!(client.delete(&place).send().await.unwrap().status().as_u16(), 200);
    let gone = put("too late").await.unwrap();
    assert_eq!(gone.json::<Value>().await.unwrap()["code"], "gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_reaches_sse_and_websocket_once() {
    let mut machine = AllInOne::new("changes").await;
    machine.start().await;
    let (socket_ready, socket_is) = tokio::sync::oneshot::channel();
    let (sse_ready, sse_is) = tokio::sync::oneshot::channel();
    let living = async {
        socket_is.await.unwrap();
        sse_is.await.unwrap();
        let (client, api) = (reqwest::Client::new(), machine.api());
        for n in 0..STUDENTS {
            live(&client, &api, n).await;
        }
    };
    let all = futures::future::join3(over_websocket(&machine, socket_ready), over_sse(&machine, sse_ready), living);
    let (socket, sse, ()) = tokio::time::timeout(PATIENCE, all).await.expect("both hear everything");
    let channels: BTreeSet<_> = socket.iter().map(|(channel, ..)| channel).collect();
    assert_eq!(channels.len(), STUDENTS);
    for told in [&socket, &sse] {
        for channel in &channels {
            let of_channel = told.iter().filter(|(other, ..)| other == *channel).map(|(_, seq, name)| (*seq, name.as_str()));
            assert!(of_channel.take(LIFE.len()).eq((1..).zip(LIFE)), "{channel}: {told:?}");
        }
    }
    machine.stop().await;
}
