//! Effects whose target speaks HTTPS: a real TLS server with a certificate of an authority of our own.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use chassis::lifecycle::Lifecycle;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use runtime::effects::{Effects, Policy};
use runtime::http::Request;
use runtime::{Context, Decision, Outcome, Processor, Reads, Rejection, Rows, logic};
use schemas::catalog::Retry;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::ServerConfig;

use crate::deployment::Deployment;
use crate::streams::{Streams, Words, text_of, words};

const PAYMENTS: &str = r#"
title = "Payments"
partitions = 4
[[event]]
type = "payment.ask"
schema = "test/words.avsc"
subject = { attribute = true }
[[result]]
type = "payment.told"
schema = "test/words.avsc"
[[row]]
schema = "test/words.avsc"
"#;

/// Calls the address that an event names, twice at the most, and tells what came of it.
struct Payments;

impl Processor for Payments {
    const NAME: &'static str = "payments";
    type Input = Words;
    type Row = Words;
    type ResultEvent = Words;
    type SendEvent = Words;

    fn reads(&self, _input: &Words) -> Reads {
        Reads::none()
    }

    fn decide(&self, input: Words, _rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        Ok(Decision::new().effect("pay", input.text))
    }

    fn effects(&self) -> Effects {
        let retry = Retry { base_ms: 50, attempts: 2, ..Retry::default() };
        Effects::default().with("pay", Policy { retry, ..Policy::default() }, |call| async move {
            let url = String::from_utf8_lossy(&call.argument).into_owned();
            Ok(call.send(Request::post_json(&url, "{}")).await?.body)
        })
    }

    fn outcome(&self, outcome: Outcome, _rows: &Rows<Words>, _ctx: &Context) -> Result<Decision<Self>, Rejection> {
        let came = match outcome.result {
            Ok(body) => String::from_utf8_lossy(&body).into_owned(),
            Err(why) => why,
        };
        Ok(Decision::new().emit(words("payment.told", &format!("attempt {}: {came}", outcome.attempts))))
    }
}

/// A bank at 127.0.0.1, and nowhere else as its certificate says.
struct Bank {
    port: u16,
    /// The certificate of the authority that made the bank's.
    authority: NamedTempFile,
    _runs: Lifecycle,
}

impl Bank {
    async fn open() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut authority = NamedTempFile::new().unwrap();
        authority.write_all(issuer.pem().as_bytes()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let tls = tls.unwrap().with_no_client_auth().with_single_cert(vec![own.der().clone()], secret).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let runs = Lifecycle::new();
        runs.spawn_request("bank", async move {
            while let Ok((socket, _)) = listener.accept().await {
                // a client that does not trust us hangs up
                let Ok(socket) = acceptor.accept(socket).await else { continue };
                let mut socket = BufReader::new(socket);
                let mut line = String::new();
                while socket.read_line(&mut line).await.is_ok_and(|length| length > 2) {}
                let asked = if line.contains("idempotency-key: ") { "paid" } else { "who asks?" };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{asked}", asked.len());
                let _hung_up = socket.write_all(answer.as_bytes()).await;
                let _hung_up = socket.shutdown().await;
            }
        });
        Self { port, authority, _runs: runs }
    }
}

/// What is told of a call, by a worker that trusts this file.
async fn told(streams: &Streams, ca_file: Option<PathBuf>, url: &str, nth: usize) -> String {
    let worker = streams.start_as(logic::of(Payments), "a", |options| options.effects_ca_file = ca_file).await;
    streams.send("payments", "payment.ask", "account/1", url, &nth.to_string()).await;
    let results = streams.results("payments", nth).await;
    Deployment::stop(worker).await;
    text_of(&results[nth - 1])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_target_is_called_when_its_authority_is_trusted_and_else_every_attempt_fails_with_the_next_step() {
    let bank = Bank::open().await;
    let streams = Streams::open("tls", &[("payments", PAYMENTS)]).await;
    let (here, elsewhere) = (format!("https://127.0.0.1:{}/pay", bank.port), format!("https://localhost:{}/pay", bank.port));
    let file = || Some(bank.authority.path().to_owned());
    let said = told(&streams, None, &here, 1).await;
    assert!(said.starts_with("attempt 2: the target's certificate is of an unknown authority"), "{said}");
    assert!(said.contains("effects.ca_file (FOREBAY__EFFECTS__CA_FILE)"), "{said}");
    assert_eq!(told(&streams, file(), &here, 2).await, "attempt 1: paid");
    let said = told(&streams, file(), &elsewhere, 3).await;
    assert!(said.starts_with("attempt 2: the target's certificate is refused: "), "{said}");
    streams.audit("payments").await;
}
