//! Answers of a target that says what it is told to.

use std::net::SocketAddr;

use chassis::lifecycle::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::effects::Error;

/// A target that answers every request with these bytes and then hangs up; none at all when there are none.
async fn target(answer: String) -> (SocketAddr, Lifecycle, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, questions) = tokio::sync::mpsc::unbounded_channel();
    let lifecycle = Lifecycle::new();
    lifecycle.spawn_request("target", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await.unwrap();
            let _listening = asked.send(String::from_utf8_lossy(&request[..length]).into_owned());
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            let _sent = socket.write_all(answer.as_bytes()).await;
        }
    });
    (address, lifecycle, questions)
}

fn call() -> Call {
    Call { id: "abc123".into(), argument: Bytes::new(), attempt: 1, http: Client::new(None).unwrap() }
}

async fn ask(answer: &str) -> (Result<Answer, Error>, String) {
    let (address, _lifecycle, mut questions) = target(answer.to_owned()).await;
    let mut request = Request::post_json(&format!("http://{address}/pay?token=secret"), "{}");
    request.timeout = Duration::from_secs(2);
    let answer = call().send(request).await;
    (answer, questions.recv().await.unwrap_or_default())
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn the_effect_is_named_to_the_target_and_its_answer_comes_back() {
    let (answered, asked) = ask(&answer("201 Created", "", "done")).await;
    assert_eq!(answered.unwrap(), Answer { status: 201, body: Bytes::from_static(b"done") });
    assert!(asked.starts_with("POST /pay?token=secret HTTP/1.1") && asked.contains("idempotency-key: abc123"), "{asked}");
    assert!(asked.contains("content-type: application/json") && asked.ends_with("{}"), "{asked}");
}

#[tokio::test]
async fn answers_are_told_apart_by_whether_another_attempt_may_do_better() {
    for status in ["500 Oops", "503 Away", "408 Slow", "429 Many", "425 Early"] {
        let (answered, _) = ask(&answer(status, "", "")).await;
        assert!(matches!(answered, Err(Error::Retry(_))), "{status}: {answered:?}");
    }
    for status in ["400 Bad", "404 Gone", "409 Conflict", "501 Never", "302 Found"] {
        let (answered, _) = ask(&answer(status, "location: /elsewhere\r\n", "")).await;
        assert!(matches!(answered, Err(Error::Terminal(_))), "{status}: {answered:?}");
    }
    let (answered, _) = ask(&answer("503 Away", "retry-after: 7\r\n", "")).await;
    assert_eq!(answered, Err(Error::Later("the target answered 503 Service Unavailable".into(), Duration::from_secs(7))));
}

#[tokio::test]
async fn no_answer_a_broken_one_and_too_much_of_one_have_their_outcome() {
    let (answered, _) = ask("").await;
    assert_eq!(answered, Err(Error::Retry("no answer in time".into())));
    let (answered, _) = ask("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    assert_eq!(answered, Err(Error::Retry("the connection broke".into())), "and the address is not told");
    let (answered, _) = ask(&answer("200 OK", "", &"x".repeat(EFFECT_BYTES_MAX + 1))).await;
    assert_eq!(answered, Err(Error::Terminal(format!("the answer is over {EFFECT_BYTES_MAX} bytes"))));
    for nowhere in ["no address", "/pay", "ftp://bank/pay", "http://name:secret@bank/pay"] {
        let refused = call().send(Request::post_json(nowhere, "")).await;
        assert!(matches!(refused, Err(Error::Terminal(_))), "{nowhere}: {refused:?}");
    }
}

#[test]
fn a_date_says_when_as_well_as_seconds_do() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
    let wait = |text: &'static str| retry_after(&HeaderValue::from_static(text), now);
    assert_eq!(wait("120"), Some(Duration::from_secs(120)));
    assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
    assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
    assert_eq!(wait("soon"), None);
}

#[test]
fn a_file_of_authorities_that_is_none_is_named() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, why) in [("nowhere.pem", ""), ("Cargo.toml", "it holds no certificate")] {
        let said = Client::new(Some(&here.join(file))).unwrap_err().to_string();
        assert!(said.starts_with("effects.ca_file ") && said.contains(&format!("{file}: {why}")), "{said}");
    }
}
