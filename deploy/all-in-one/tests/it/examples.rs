//! The commands that the documents give are sent as a reader would send them, and answered as the documents say.

use std::fs;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::machines::{AllInOne, Machine};
use crate::tidy::root;

const PATIENCE: Duration = Duration::from_secs(30);

/// Where the documents' Forebay listens.
const DOCUMENTED: &str = "http://127.0.0.1:8080";

/// What stands for a receipt in the documents.
const RECEIPT: &str = "AQ…";

/// A `curl` command of a document, and what the document says of its answer.
struct Example {
    words: Vec<String>,
    status: u16,
    /// The members the answer has, where the document shows one.
    members: Vec<String>,
}

impl Example {
    /// The `curl` commands of a document; each stands at the begin of a line.
    fn all(text: &str) -> Vec<Self> {
        let begins = text.match_indices("curl ").map(|(at, _)| at);
        let begins = begins.filter(|at| text[..*at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty()));
        begins.map(|at| Self::read(&text[at..])).collect()
    }

    fn read(text: &str) -> Self {
        let (words, rest) = words(text);
        let shown = rest.trim_start_matches("\n```\n");
        let status = shown.strip_prefix("```http\nHTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let answer =
            shown.strip_prefix("```json\n").and_then(|rest| serde_json::from_str::<Value>(rest.split("```").next()?).ok());
        let members = answer.and_then(|answer| Some(answer.as_object()?.keys().cloned().collect())).unwrap_or_default();
        Self { words, status: status.unwrap_or(200), members }
    }

    fn is_live(&self) -> bool {
        self.words.iter().any(|word| word == "-N")
    }

    fn request(&self, client: &Client, api: &str, receipt: &str) -> RequestBuilder {
        let (mut method, mut url, mut headers, mut body) = (None, String::new(), Vec::new(), None);
        let mut words = self.words.iter().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "-i" | "-N" | "-s" => {}
                "-X" => method = words.next().cloned(),
                "-H" => headers.extend(words.next().and_then(|header| header.split_once(": "))),
                "-d" => body = words.next().cloned(),
                address => {
                    assert!(address.starts_with(DOCUMENTED), "no flag that this test knows: {address}");
                    url = address.replace(DOCUMENTED, api).replace(RECEIPT, receipt);
                }
            }
        }
        let default = if body.is_some() { Method::POST } else { Method::GET };
        let method = method.map_or(default, |method| method.parse().unwrap());
        let request = headers.into_iter().fold(client.request(method, url), |request, (name, value)| request.header(name, value));
        body.into_iter().fold(request, RequestBuilder::body)
    }
}

/// The words of the command at the begin of `text`, as a shell reads them, and what comes after it.
fn words(text: &str) -> (Vec<String>, &str) {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (None, '\'' | '"') => quote = Some(sign),
            (None, '\\') => drop(signs.next()),
            (None, '\n') => {
                words.push(word);
                words.retain(|word| !word.is_empty());
                return (words, &text[at..]);
            }
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(sign),
        }
    }
    panic!("a command without an end: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_commands_are_answered_as_documented() {
    let mut machine = AllInOne::new("examples").await;
    machine.start().await;
    let client = Client::new();
    let (mut receipt, mut sent, mut shown) = (String::new(), 0, 0);
    for document in ["docs/api.md", "README.md", "docs/adding-a-processor.md"] {
        for example in Example::all(&fs::read_to_string(root().join(document)).unwrap()) {
            let told = format!("{document}: {}", example.words.join(" "));
            if example.is_live() {
                let mut live = example.request(&client, &machine.api(), &receipt).send().await.unwrap();
                let mut heard = String::new();
                while !heard.contains("event: ready") {
                    let chunk = tokio::time::timeout(PATIENCE, live.chunk()).await.expect("a stream begins at once");
                    heard.push_str(std::str::from_utf8(&chunk.unwrap().expect("a stream goes on")).unwrap());
                }
            } else {
                let answer = testkit::eventually_async(PATIENCE, || async {
                    let answer = example.request(&client, &machine.api(), &receipt).send().await.unwrap();
                    // a view comes into being shortly after its first event
                    (answer.status() != 404).then_some(answer)
                });
                let answer = answer.await;
                let status = answer.status();
                let body: Value = answer.json().await.unwrap();
                assert_eq!(status, example.status, "{told}: {body}");
                let missing: Vec<_> = example.members.iter().filter(|name| body.get(name.as_str()).is_none()).collect();
                assert!(missing.is_empty(), "{told}: {missing:?} are not in {body}");
                receipt = body["receipt"].as_str().map_or(receipt, str::to_owned);
            }
            (sent, shown) = (sent + 1, shown + usize::from(!example.members.is_empty()));
        }
    }
    assert!(sent >= 9 && shown >= 2, "only {sent} commands and {shown} answers were found");
    machine.stop().await;
}
