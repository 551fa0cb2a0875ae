//! Unique fields over HTTP: a caller hears at once whether an address was free, whatever happens to the process.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::machines::{AllInOne, Machine};

/// Callers that want the same address.
const CALLERS: usize = 1_000;
/// Of them at once.
const AT_ONCE: usize = 100;
/// How long a list may take to show what there is.
const PATIENCE: Duration = Duration::from_secs(60);
/// A caller gives up after so many tries.
const TRIES: usize = 300;

fn ada(email: &str) -> Value {
    json!({ "first_name": "Ada", "last_name": "Byron", "email": email })
}

/// Posts until the outcome is known, as the API's contract allows: the same key, again.
async fn create(client: &reqwest::Client, api: &str, key: &str, student: &Value) -> (u16, String, Value) {
    for _ in 0..TRIES {
        let request = client.post(format!("{api}/v1/students")).header("idempotency-key", format!("\"{key}\"")).json(student);
        if let Ok(answer) = request.timeout(Duration::from_secs(20)).send().await {
            let status = answer.status().as_u16();
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            let body: Value = answer.json().await.unwrap_or_default();
            // 409 is also said while the first request with this key is under way
            if matches!(status, 200 | 201 | 422) || (status == 409 && body["code"].is_string()) {
                return (status, location, body);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{key} has no outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_email_one_student_under_1000_parallel_creates_and_a_kill() {
    let mut machine = AllInOne::new("students").await;
    machine.start().await;
    let (client, api) = (reqwest::Client::new(), machine.api());
    let same = ada("ada@example.org");
    let creating = stream::iter(0..CALLERS)
        .map(|caller| {
            let (client, api, same) = (client.clone(), api.clone(), same.clone());
            async move { create(&client, &api, &format!("caller-{caller}"), &same).await }
        })
        .buffer_unordered(AT_ONCE)
        .enumerate();
    let mut creating = std::pin::pin!(creating);
    let mut answers = Vec::new();
    while let Some((n, answer)) = creating.next().await {
        answers.push(answer);
        if n == CALLERS / 4 {
            machine.kill_and_restart().await;
        }
    }
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, ..)| *status == 201);
    assert_eq!((won.len(), lost.len()), (1, CALLERS - 1));
    for (status, _, body) in &lost {
        assert_eq!((*status, &body["code"]), (409, &json!("taken")), "{body}");
    }

    // the winner is readable; its address is free again after a change
    let location = &won[0].1;
    let student = format!("{api}{location}");
    let shown: Value = client.get(&student).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["version"], 1, "{shown}");
    let changed = client.put(&student).json(&ada("byron@example.org")).send().await.unwrap();
    assert_eq!(changed.status().as_u16(), 200);
    let (status, again, body) = create(&client, &api, "afterwards", &same).await;
    assert_eq!(status, 201, "{body}");

    // what was refused is in no list
    let list = format!("{api}/v1/students?sort=last_name&prefix=BYR&limit=1");
    let pages = testkit::eventually_async(PATIENCE, || async {
        let page = async |url: String| client.get(url).send().await.unwrap().json::<Value>().await.unwrap();
        let first = page(list.clone()).await;
        let cursor = first["cursor"].as_str()?;
        Some([page(format!("{list}&cursor={cursor}")).await, first])
    });
    let [second, first] = pages.await;
    assert_eq!((&second["cursor"], second["items"].as_array().map(Vec::len)), (&Value::Null, Some(1)), "{second}");
    let mut ids = [&first, &second].map(|page| page["items"][0]["id"].as_str().unwrap().to_owned());
    ids.sort_unstable();
    let mut created = [location, &again].map(|location| location.rsplit('/').next().unwrap().to_owned());
    created.sort_unstable();
    assert_eq!(ids, created);
    machine.stop().await;
}
