//! The deployment under test over HTTP: posts flights, reads back how many were applied.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use crate::flights::Flight;

/// A single answer may take this long, the edge's own deadline (15 s) included.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// A batch that was refused as a whole is sent again at most this often.
const BATCH_TRIES_MAX: u32 = 20;

/// Rows per page of a view, the most the route gives.
const PAGE_ROWS: u32 = 1_000;

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base URL cannot be used.
    #[error("{url} is no address: {error}")]
    Address {
        /// What was made of it.
        url: String,
        /// What is wrong.
        error: String,
    },
    /// No answer.
    #[error("{url} does not answer: {source}; is it running there?")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the client said.
        source: reqwest::Error,
    },
    /// An answer that ends the run.
    #[error("{url} answered {status}: {body}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: StatusCode,
        /// The first part of the body.
        body: String,
    },
    /// Some events of a batch were not accepted, so the run's counts would not be comparable.
    #[error("{accepted} of {sent} events of a batch were accepted: {body}")]
    Partly {
        /// Events in the batch.
        sent: usize,
        /// Events accepted.
        accepted: usize,
        /// The first part of the body.
        body: String,
    },
}

/// One deployment: where to write, where to read, and as whom. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Target {
    client: Client,
    write: String,
    read: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct BatchAnswer {
    counts: Counts,
}

#[derive(Deserialize)]
struct Counts {
    accepted: usize,
}

#[derive(Deserialize)]
struct Refusal {
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    sort: String,
    data: serde_json::Value,
}

impl Target {
    /// A target with its write and read side (base URLs such as `http://127.0.0.1:8080`) and a bearer token if one is needed.
    #[must_use]
    pub fn new(write: &str, read: &str, token: Option<String>) -> Self {
        let trim = |url: &str| url.trim_end_matches('/').to_owned();
        Self { client: Client::new(), write: trim(write), read: trim(read), token }
    }

    /// The read side's base URL.
    #[must_use]
    pub fn read_url(&self) -> &str {
        &self.read
    }

    /// The bearer token, if any.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Posts one flight and waits for its verdict.
    ///
    /// # Errors
    /// No answer, or any status but 200.
    pub async fn post_one(&self, flight: &Flight) -> Result<(), Error> {
        let url = format!("{}/v1/flights", self.write);
        let response = self.send(&url, self.client.post(&url).json(flight)).await?;
        if response.status() == StatusCode::OK {
            // Read to the end, else the connection is not used again.
            let _ = text_of(response, &url).await?;
            return Ok(());
        }
        Err(refused(response, &url).await)
    }

    /// Posts a batch; sends it again, after the time asked for, when it was refused as a whole for now (nothing was written then, E3).
    ///
    /// # Errors
    /// No answer, a refusal for good, or a batch that was accepted in part.
    pub async fn post_batch(&self, flights: &[Flight]) -> Result<(), Error> {
        let url = format!("{}/v1/flights", self.write);
        let mut tries = 0;
        loop {
            tries += 1;
            let request = self.client.post(&url).header("prefer", "return=minimal").json(flights);
            let response = self.send(&url, request).await?;
            let status = response.status();
            let body = text_of(response, &url).await?;
            let again = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
                && !body.contains("\"unknown\"");
            if again && tries < BATCH_TRIES_MAX {
                let asked = serde_json::from_str::<Refusal>(&body).ok().and_then(|refusal| refusal.retry_after_ms);
                tokio::time::sleep(Duration::from_millis(asked.unwrap_or(1_000))).await;
                continue;
            }
            let Ok(answer) = serde_json::from_str::<BatchAnswer>(&body) else {
                return Err(Error::Refused { url, status, body: head(&body) });
            };
            let (sent, accepted) = (flights.len(), answer.counts.accepted);
            return if accepted == sent { Ok(()) } else { Err(Error::Partly { sent, accepted, body: head(&body) }) };
        }
    }

    /// How many flights the state holds: the sum of `flights` over all airports' root rows.
    ///
    /// # Errors
    /// No answer, or a status that is not 200.
    pub async fn applied(&self) -> Result<u64, Error> {
        let mut sum = 0;
        let mut cursor: Option<String> = None;
        loop {
            let url = format!("{}/v1/views/flights?limit={PAGE_ROWS}", self.read);
            let mut page = Url::parse(&url).map_err(|error| Error::Address { url: url.clone(), error: error.to_string() })?;
            if let Some(cursor) = &cursor {
                page.query_pairs_mut().append_pair("cursor", cursor);
            }
            let request = self.client.get(page);
            let response = self.send(&url, request).await?;
            if response.status() != StatusCode::OK {
                return Err(refused(response, &url).await);
            }
            let page: Page = response.json().await.map_err(|source| Error::Unreachable { url: url.clone(), source })?;
            sum += page.items.iter().map(flights_of).sum::<u64>();
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(sum);
            }
        }
    }

    async fn send(&self, url: &str, request: RequestBuilder) -> Result<Response, Error> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.timeout(ANSWER_WAIT).send().await.map_err(|source| Error::Unreachable { url: url.to_owned(), source })
    }
}

fn flights_of(item: &Item) -> u64 {
    let root = item.rows.iter().find(|row| row.sort.is_empty());
    root.and_then(|row| row.data.get("flights")).and_then(serde_json::Value::as_u64).unwrap_or_default()
}

async fn text_of(response: Response, url: &str) -> Result<String, Error> {
    response.text().await.map_err(|source| Error::Unreachable { url: url.to_owned(), source })
}

async fn refused(response: Response, url: &str) -> Error {
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    Error::Refused { url: url.to_owned(), status, body: head(&body) }
}

fn head(body: &str) -> String {
    body.chars().take(400).collect()
}
