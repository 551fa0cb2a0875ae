//! The transactional producer: produce, drain, recycle.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chassis::ffi;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::TopicNames;
use crate::engine::Failure;
use crate::engine::input::Inlet;
use crate::engine::transaction::{Topic, Transaction};

/// Retriable transactional calls are repeated this long before the transaction is aborted.
const RETRY: Duration = Duration::from_secs(5);
/// Taking the transactional id over waits for what its last owner left open, at most twice as long: less than the watchdog.
const INIT: Duration = Duration::from_secs(30);
/// The broker's transaction time-out is 10 s: a drain that takes longer is lost anyway.
const DRAIN: Duration = Duration::from_secs(10);
/// An EndTxn that took longer may have been sent twice (F4).
const SLOW_END: Duration = Duration::from_secs(1);

/// Delivery reports of the open transaction, and what the client's log told.
#[derive(Default)]
pub(crate) struct ReportContext {
    delivered: AtomicUsize,
    failed: Mutex<Option<String>>,
    trailers: Mutex<Vec<(i32, i64, i64)>>,
    /// An EndTxn may have been sent twice: the producer must be recycled before the next transaction (F4).
    suspect: Arc<AtomicBool>,
}

impl ReportContext {
    fn reset(&self) {
        self.delivered.store(0, Ordering::Release);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.trailers.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ClientContext for ReportContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if matches!(facility, "FAIL" | "REQTMOUT") && message.contains("TxnCoordinator") {
            self.suspect.store(true, Ordering::Release);
        }
        if (level as i32) <= RDKafkaLogLevel::Warning as i32 {
            tracing::warn!(facility, message, "producer");
        } else {
            tracing::debug!(facility, message, "producer");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if reason.contains("TxnCoordinator") {
            self.suspect.store(true, Ordering::Release);
        }
        tracing::warn!(%error, reason, "producer");
    }
}

impl ProducerContext for ReportContext {
    /// 1 for a trailer or a claim, 0 for everything else.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, marker: usize) {
        match result {
            Ok(message) => {
                if marker == 1 {
                    let at = (message.partition(), message.offset(), message.timestamp().to_millis().unwrap_or_default());
                    self.trailers.lock().unwrap_or_else(PoisonError::into_inner).push(at);
                }
                self.delivered.fetch_add(1, Ordering::AcqRel);
            }
            Err((error, _)) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// One producer instance.
pub(crate) struct Producer {
    client: ThreadedProducer<ReportContext>,
    context: Arc<ReportContext>,
    /// The broker ends an open transaction after this, and fences its producer.
    transaction_max: Duration,
    /// When the open transaction began.
    begun: Cell<Option<Instant>>,
}

impl Producer {
    /// Creates the producer and fences whatever its transactional id left open.
    pub(crate) fn start(settings: &chassis::kafka::Settings, transactional_id: &str) -> Result<Self, Failure> {
        let config = settings.transactional(transactional_id);
        let transaction_max = config.get("transaction.timeout.ms").and_then(|text| text.parse().ok()).unwrap_or(10_000);
        let client: ThreadedProducer<ReportContext> = config
            .create_with_context(ReportContext::default())
            .map_err(|error| Failure::Restart(format!("the producer cannot be created: {error}")))?;
        let context = client.context().clone();
        let made = Self { client, context, transaction_max: Duration::from_millis(transaction_max), begun: Cell::new(None) };
        let begun = Instant::now();
        loop {
            match made.client.init_transactions(INIT) {
                Ok(()) => return Ok(made),
                Err(error) if is_retriable(&error) && begun.elapsed() < INIT => {}
                Err(error) => return Err(made.beyond_repair("init_transactions", &error)),
            }
        }
    }

    /// True when a late copy of an EndTxn may still be on its way: the producer must be replaced before the next begin.
    pub(crate) fn is_suspect(&self) -> bool {
        self.context.suspect.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) -> Result<(), Failure> {
        self.context.reset();
        self.begun.set(Some(Instant::now()));
        self.retried("begin", || self.client.begin_transaction())
    }

    /// Produces every record and waits for every report; returns where each trailer went.
    pub(crate) fn produce(&self, transaction: &Transaction, topics: &TopicNames) -> Result<Vec<(i32, i64, i64)>, Failure> {
        for record in &transaction.records {
            // trailers and claims: where they went matters, and the broker's clock shows before the first frame is written
            let marker = record.topic == Topic::Log && record.key.is_none();
            let mut out = BaseRecord::with_opaque_to(topics.of(record.topic), usize::from(marker))
                .partition(record.shard)
                .payload(&record.value[..]);
            if record.headers.size() > 0 {
                let mut headers = OwnedHeaders::new_with_capacity(record.headers.count());
                for (key, value) in record.headers.iter() {
                    headers = headers.insert(Header { key, value: Some(value) });
                }
                out = out.headers(headers);
            }
            if let Some(key) = &record.key {
                out = out.key(&key[..]);
            }
            if let Some(at) = record.timestamp_ms {
                out = out.timestamp(at);
            }
            self.send(out)?;
        }
        if !ffi::flush(&self.client, DRAIN) {
            return Err(Failure::Abort("the records were not acknowledged in time".into()));
        }
        if let Some(error) = self.context.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let why = format!("a record was not written: {error}");
            let fatal = self.client.client().fatal_error().is_some();
            return Err(if fatal { self.dead(why) } else { Failure::Abort(why) });
        }
        let delivered = self.context.delivered.load(Ordering::Acquire);
        if delivered != transaction.records.len() {
            return Err(Failure::Abort(format!("{delivered} of {} records are acknowledged", transaction.records.len())));
        }
        Ok(std::mem::take(&mut *self.context.trailers.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Waits for reports while the local queue is full.
    fn send<'a>(&self, mut record: BaseRecord<'a, [u8], [u8], usize>) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if begun.elapsed() < DRAIN => {
                    record = back;
                    ffi::flush(&self.client, Duration::from_millis(10));
                }
                Err((error, _)) => return Err(self.failure("produce", &error)),
            }
        }
    }

    pub(crate) fn send_offsets(
        &self,
        inputs: &[String],
        positions: &[(Inlet, i64)],
        metadata: &ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (Inlet { feed, shard }, offset) in positions {
            offsets
                .add_partition_offset(&inputs[feed.0], *shard, Offset::Offset(*offset))
                .map_err(|error| Failure::Abort(format!("offset {offset}: {error}")))?;
        }
        self.retried("send_offsets", || self.client.send_offsets_to_transaction(&offsets, metadata, Timeout::Never))
    }

    /// Only two outcomes: committed, or unknown (F5). An unknown one is never guessed.
    pub(crate) fn commit(&self) -> Result<(), Failure> {
        loop {
            match self.timed_end(|| self.client.commit_transaction(Timeout::Never)) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) => {}
                Err(error) => return Err(self.beyond_repair("the outcome of a commit is unknown", &error)),
            }
        }
    }

    pub(crate) fn abort(&self) -> Result<(), Failure> {
        loop {
            match self.timed_end(|| self.client.abort_transaction(Timeout::Never)) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) => {}
                Err(error) => return Err(self.beyond_repair("abort", &error)),
            }
        }
    }

    /// What an error of a call means (F6). A fatal one is reported under the code of its cause, so the client is asked.
    fn failure(&self, step: &str, error: &KafkaError) -> Failure {
        if self.client.client().fatal_error().is_some() { self.beyond_repair(step, error) } else { classify(step, error) }
    }

    /// Never guess: start again. Says whether another producer is the cause.
    fn beyond_repair(&self, step: &str, error: &KafkaError) -> Failure {
        self.dead(format!("{step}: {error}"))
    }

    /// A transaction that is open for too long, because this process was stopped, is ended by the broker, which looks
    /// like a fence: nobody else uses the slot then.
    fn is_overdue(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.elapsed() >= self.transaction_max)
    }

    fn dead(&self, text: String) -> Failure {
        match self.client.client().fatal_error() {
            Some((code, _)) if is_fenced(code) && self.is_overdue() => {
                Failure::Restart(format!("{text}; the transaction was open for longer than {:?}", self.transaction_max))
            }
            Some((code, why)) if is_fenced(code) => Failure::Fenced(format!("{text} ({why})")),
            Some((_, why)) => Failure::Restart(format!("{text} ({why})")),
            None => Failure::Restart(text),
        }
    }

    fn timed_end(&self, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
        let begun = Instant::now();
        let result = call();
        if begun.elapsed() > SLOW_END {
            self.context.suspect.store(true, Ordering::Release);
        }
        result
    }

    fn retried(&self, step: &str, call: impl Fn() -> Result<(), KafkaError>) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            match call() {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && begun.elapsed() < RETRY => {}
                Err(error) => return Err(self.failure(step, &error)),
            }
        }
    }
}

/// Another producer with our transactional id was started, or the broker ended our transaction for its time-out.
fn is_fenced(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable())
}

/// The one place where client errors become decisions (F6): abort, ownership lost, or start again.
fn classify(step: &str, error: &KafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    let text = format!("{step}: {error}");
    match error {
        KafkaError::Transaction(transaction) => match transaction.code() {
            _ if transaction.is_fatal() => Failure::Restart(text),
            Code::IllegalGeneration | Code::UnknownMemberId | Code::FencedInstanceId | Code::RebalanceInProgress => {
                Failure::Ownership(text)
            }
            _ if transaction.txn_requires_abort() || transaction.is_retriable() => Failure::Abort(text),
            _ => Failure::Restart(text),
        },
        KafkaError::MessageProduction(Code::Fatal | Code::State | Code::Fenced) => Failure::Restart(text),
        KafkaError::MessageProduction(_) => Failure::Abort(text),
        _ => Failure::Restart(text),
    }
}
