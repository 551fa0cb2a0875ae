//! Metrics of the engine. Label `stream` is from the catalog, `worker` the worker's number in its process; every other label is a
//! closed list. `docs/metrics.md` has them all with their alarms.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use state::{Mark, Shard};

use crate::dead_letter::Reason;
use crate::effects;
use crate::engine::Failure;
use crate::engine::decide::Tally;
use crate::engine::transaction::Transaction;

const INPUTS: &str = "forebay_runtime_inputs_total";
const DUPLICATES: &str = "forebay_runtime_duplicates_total";
const DEAD_LETTERS: &str = "forebay_runtime_dead_letters_total";
const COMMITS: &str = "forebay_runtime_commits_total";
const ABORTS: &str = "forebay_runtime_aborts_total";
const RESTARTS: &str = "forebay_runtime_restarts_total";
const RECYCLES: &str = "forebay_runtime_recycles_total";
const BATCH: &str = "forebay_runtime_batch_inputs";
const STEP: &str = "forebay_runtime_transaction_seconds";
const OWNED: &str = "forebay_runtime_shards_owned";
const SENDS: &str = "forebay_runtime_sends_total";
const INCOMPLETE: &str = "forebay_runtime_shards_incomplete";
const HALTED: &str = "forebay_runtime_shards_halted";
const RECOVERY: &str = "forebay_runtime_recovery_seconds";
const REPLAYED: &str = "forebay_runtime_replayed_frames";
const TORN: &str = "forebay_runtime_torn_frames_total";
const TORN_VIEWS: &str = "forebay_runtime_torn_views_total";
const APPLY_LAG: &str = "forebay_runtime_apply_lag_seconds";
const MARK_FRAME: &str = "forebay_runtime_mark_frame";
const APPLY_BACKLOG: &str = "forebay_runtime_apply_lag_frames";
const MARK_AGE: &str = "forebay_runtime_mark_age_seconds";
const LAG: &str = "forebay_runtime_lag_records";
const STABLE_END_AGE: &str = "forebay_runtime_stable_end_age_seconds";
const CLOCK_SKEW: &str = "forebay_runtime_clock_skew_seconds";
const FENCED: &str = "forebay_runtime_fenced_total";
const CLAIMS: &str = "forebay_runtime_claims_total";
const MISMATCH: &str = "forebay_runtime_offset_trailer_mismatch_total";
const WAITING: &str = "forebay_runtime_shards_waiting";
const DEDUPE: &str = "forebay_runtime_dedupe_window_seconds";
const RETRIES: &str = "forebay_runtime_retries_total";
const PARKED: &str = "forebay_runtime_parked_total";
const FIRED: &str = "forebay_runtime_agenda_fired_total";
const LATENESS: &str = "forebay_runtime_agenda_lateness_seconds";
const INDEX: &str = "forebay_runtime_agenda_index_entries";
const SINGLE: &str = "forebay_runtime_shards_single";
const ATTEMPTS: &str = "forebay_runtime_effect_attempts_total";
const RUNNING: &str = "forebay_runtime_effects_running";
const BREAKER: &str = "forebay_runtime_breaker_open";
const LEASES: &str = "forebay_runtime_leases_expired_total";
const HELD: &str = "forebay_runtime_held_subjects";
const PARK_DEPTH: &str = "forebay_runtime_park_depth_max";
const ROWS: &str = "forebay_runtime_rows_read_total";
const FETCHED: &str = "forebay_runtime_rows_fetched_total";

/// Labels of a worker's gauges: several workers of a process must not overwrite each other's.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    stream: Arc<str>,
    worker: Arc<str>,
}

impl Place {
    /// `number` counts the workers of the stream in this process.
    pub(crate) fn new(stream: &Arc<str>, number: usize) -> Self {
        Self { stream: stream.clone(), worker: number.to_string().into() }
    }

    fn stream(&self) -> Arc<str> {
        self.stream.clone()
    }

    fn worker(&self) -> Arc<str> {
        self.worker.clone()
    }
}

/// Tells the recorder what each metric is; once per process is enough, more do no harm.
pub(crate) fn describe() {
    describe_counter!(INPUTS, "inputs taken up, by outcome: processed, rejected");
    describe_counter!(DUPLICATES, "inputs dropped as duplicates");
    describe_counter!(DEAD_LETTERS, "inputs that became dead letters, by reason");
    describe_counter!(COMMITS, "committed transactions");
    describe_counter!(ABORTS, "failed steps by why: abort, ownership, restart, fenced");
    describe_counter!(RESTARTS, "new starts of a worker, by why: failed, fenced");
    describe_counter!(RECYCLES, "producers replaced because an EndTxn may have been sent twice");
    describe_histogram!(BATCH, Unit::Count, "inputs of a transaction");
    describe_histogram!(STEP, Unit::Seconds, "time of a step: fetch, begin, produce, send_offsets, commit, abort");
    describe_gauge!(OWNED, "shards that run here");
    describe_counter!(SENDS, "events sent to other subjects");
    describe_gauge!(INCOMPLETE, "shards assigned without all their input topics: workers of two versions run");
    describe_gauge!(HALTED, "shards that are halted here: somebody must look");
    describe_histogram!(RECOVERY, Unit::Seconds, "time to read an assignment back");
    describe_counter!(REPLAYED, "frames read back from the log into the store");
    describe_counter!(TORN, "frames ignored in the log because they were not whole");
    describe_counter!(TORN_VIEWS, "times the store showed an owner what cannot be");
    describe_histogram!(APPLY_LAG, Unit::Seconds, "from commit to the store's acknowledgement");
    describe_gauge!(APPLY_BACKLOG, "committed frames the store has not acknowledged");
    describe_gauge!(MARK_AGE, Unit::Seconds, "age of the oldest committed frame that no watermark covers");
    describe_gauge!(LAG, "records of the inputs up to their stable ends that were not polled yet");
    describe_gauge!(STABLE_END_AGE, Unit::Seconds, "how long an open transaction has held the stable end of an input");
    describe_gauge!(CLOCK_SKEW, Unit::Seconds, "difference between the own clock and the broker's append times");
    describe_counter!(FENCED, "times another producer or consumer took the worker's slot");
    describe_counter!(CLAIMS, "shards taken over");
    describe_counter!(MISMATCH, "shards whose offset in the group was not the log's position; the log won");
    describe_gauge!(WAITING, "shards that wait for the registry to name the schema of their next record");
    describe_gauge!(DEDUPE, Unit::Seconds, "how far back duplicates are found; less than set when keys_max was reached");
    describe_counter!(RETRIES, "inputs that will be tried again");
    describe_counter!(PARKED, "inputs that wait behind another of their subject");
    describe_counter!(FIRED, "agenda items that were carried out");
    describe_histogram!(LATENESS, Unit::Seconds, "how late the latest item of a batch was");
    describe_gauge!(INDEX, "agenda items of the near future that are known in memory");
    describe_gauge!(SINGLE, "shards whose inputs are tried one at a time, because one may have ended processes");
    describe_counter!(ATTEMPTS, "attempts at effects, by effect and outcome: ok, retry, terminal");
    describe_gauge!(RUNNING, "attempts at effects that are being made, by target");
    describe_gauge!(BREAKER, "1 while a target that kept failing is left alone or probed, by target");
    describe_counter!(LEASES, "attempts at effects that nobody heard of until their lease ended");
    describe_gauge!(HELD, "subjects that wait for an input of theirs to be tried again, as far as this owner has met them");
    describe_gauge!(PARK_DEPTH, "inputs that wait of the subject with most of them");
    describe_counter!(ROWS, "rows that inputs looked at one by one, heads included");
    describe_counter!(FETCHED, "rows read from the store because they were not in the cache");
    describe_gauge!(MARK_FRAME, "number of the last frame below the watermark, summed over shards by the reader");
}

pub(crate) fn committed(stream: &str, tally: Tally) {
    let stream = || stream.to_owned();
    counter!(COMMITS, "stream" => stream()).increment(1);
    counter!(INPUTS, "stream" => stream(), "outcome" => "processed").increment(tally.processed);
    counter!(INPUTS, "stream" => stream(), "outcome" => "rejected").increment(tally.rejected);
    counter!(DUPLICATES, "stream" => stream()).increment(tally.duplicates);
    for (reason, count) in Reason::ALL.iter().zip(tally.dead).filter(|(_, count)| *count > 0) {
        counter!(DEAD_LETTERS, "stream" => stream(), "reason" => reason.name()).increment(count);
    }
    counter!(SENDS, "stream" => stream()).increment(tally.sends);
    counter!(RETRIES, "stream" => stream()).increment(tally.retries);
    counter!(PARKED, "stream" => stream()).increment(tally.parked);
    counter!(ROWS, "stream" => stream()).increment(tally.rows);
    counter!(LEASES, "stream" => stream()).increment(tally.leases_expired);
    if tally.fired > 0 {
        counter!(FIRED, "stream" => stream()).increment(tally.fired);
        histogram!(LATENESS, "stream" => stream()).record(tally.lateness_us as f64 / 1e6);
    }
}

pub(crate) fn failed(stream: &str, failure: &Failure) {
    let why = match failure {
        Failure::Abort(_) => "abort",
        Failure::Ownership(_) => "ownership",
        Failure::Restart(_) => "restart",
        Failure::Fenced(_) => "fenced",
    };
    counter!(ABORTS, "stream" => stream.to_owned(), "why" => why).increment(1);
}

pub(crate) fn restarted(stream: &str, fenced: bool) {
    let why = if fenced { "fenced" } else { "failed" };
    counter!(RESTARTS, "stream" => stream.to_owned(), "why" => why).increment(1);
    if fenced {
        counter!(FENCED, "stream" => stream.to_owned()).increment(1);
    }
}

pub(crate) fn recycled(stream: &str) {
    counter!(RECYCLES, "stream" => stream.to_owned()).increment(1);
}

pub(crate) fn step(stream: &str, step: &'static str, took: Duration) {
    histogram!(STEP, "stream" => stream.to_owned(), "step" => step).record(took);
}

/// A transaction is in the broker's log; `trailers` are partition, offset and append time (ms).
pub(crate) fn produced(place: &Place, transaction: &Transaction, trailers: &[(i32, i64, i64)], now_us: i64) {
    if transaction.claim {
        let claims = transaction.records.iter().filter(|record| record.key.is_none() && !record.trailer).count();
        counter!(CLAIMS, "stream" => place.stream()).increment(claims as u64);
    } else if !transaction.changes.is_empty() {
        histogram!(BATCH, "stream" => place.stream()).record(transaction.inputs as f64);
    }
    let skew = trailers.iter().map(|(_, _, appended_ms)| (now_us - appended_ms * 1_000).abs()).max();
    if let Some(skew) = skew {
        gauge!(CLOCK_SKEW, "stream" => place.stream(), "worker" => place.worker()).set(skew as f64 / 1e6);
    }
}

pub(crate) fn fetched(stream: &str, rows: usize) {
    counter!(FETCHED, "stream" => stream.to_owned()).increment(rows as u64);
}

pub(crate) fn owned(place: &Place, running: usize, halted: usize) {
    gauge!(OWNED, "stream" => place.stream(), "worker" => place.worker()).set(running as f64);
    gauge!(HALTED, "stream" => place.stream(), "worker" => place.worker()).set(halted as f64);
}

/// Shards that came without all their input topics.
pub(crate) fn incomplete(place: &Place, shards: usize) {
    gauge!(INCOMPLETE, "stream" => place.stream(), "worker" => place.worker()).set(shards as f64);
}

/// Frames the store has not acknowledged, and shards that wait for the registry.
pub(crate) fn waiting(place: &Place, frames: usize, shards: usize) {
    gauge!(APPLY_BACKLOG, "stream" => place.stream(), "worker" => place.worker()).set(frames as f64);
    gauge!(WAITING, "stream" => place.stream(), "worker" => place.worker()).set(shards as f64);
}

pub(crate) fn attempted(stream: &str, effect: &str, outcome: &Result<Bytes, effects::Error>) {
    let outcome = match outcome {
        Ok(_) => "ok",
        Err(effects::Error::Retry(_) | effects::Error::Later(..)) => "retry",
        Err(effects::Error::Terminal(_)) => "terminal",
    };
    counter!(ATTEMPTS, "stream" => stream.to_owned(), "effect" => effect.to_owned(), "outcome" => outcome).increment(1);
}

/// Targets: attempts that are being made, and whether it is left alone.
pub(crate) fn targets(place: &Place, targets: Vec<(Arc<str>, usize, bool)>) {
    for (target, running, open) in targets {
        let labels = [("stream", place.stream()), ("worker", place.worker()), ("target", target)];
        gauge!(RUNNING, &labels).set(running as f64);
        gauge!(BREAKER, &labels).set(f64::from(u8::from(open)));
    }
}

pub(crate) fn agenda(place: &Place, entries: usize) {
    gauge!(INDEX, "stream" => place.stream(), "worker" => place.worker()).set(entries as f64);
}

/// Held subjects, and the most inputs that wait of one.
pub(crate) fn held(place: &Place, subjects: usize, deepest: i64) {
    gauge!(HELD, "stream" => place.stream(), "worker" => place.worker()).set(subjects as f64);
    gauge!(PARK_DEPTH, "stream" => place.stream(), "worker" => place.worker()).set(deepest as f64);
}

pub(crate) fn single(place: &Place, shards: usize) {
    gauge!(SINGLE, "stream" => place.stream(), "worker" => place.worker()).set(shards as f64);
}

pub(crate) fn lag(place: &Place, records: i64, stable_end_age: Duration) {
    gauge!(LAG, "stream" => place.stream(), "worker" => place.worker()).set(records as f64);
    gauge!(STABLE_END_AGE, "stream" => place.stream(), "worker" => place.worker()).set(stable_end_age.as_secs_f64());
}

pub(crate) fn mark_age(place: &Place, age: Duration) {
    gauge!(MARK_AGE, "stream" => place.stream(), "worker" => place.worker()).set(age.as_secs_f64());
}

pub(crate) fn dedupe_window(place: &Place, reach_ms: i64) {
    gauge!(DEDUPE, "stream" => place.stream(), "worker" => place.worker()).set(reach_ms as f64 / 1e3);
}

pub(crate) fn offsets_differ(stream: &str) {
    counter!(MISMATCH, "stream" => stream.to_owned()).increment(1);
}

pub(crate) fn recovered(stream: &str, took: Duration) {
    histogram!(RECOVERY, "stream" => stream.to_owned()).record(took);
}

pub(crate) fn replayed(shard: &Shard, frames: usize, torn: usize) {
    let stream = || shard.stream.to_string();
    counter!(REPLAYED, "stream" => stream()).increment(frames as u64);
    counter!(TORN, "stream" => stream()).increment(torn as u64);
    if torn > 0 {
        tracing::error!(%shard, torn, "frames in the log are not whole and were ignored");
    }
}

/// The store showed what no history can have led to.
pub(crate) fn torn_view(stream: &str) {
    counter!(TORN_VIEWS, "stream" => stream.to_owned()).increment(1);
}

pub(crate) fn applied(shard: &Shard, lag: Duration) {
    histogram!(APPLY_LAG, "stream" => shard.stream.to_string()).record(lag);
}

pub(crate) fn mark(shard: &Shard, mark: &Mark) {
    gauge!(MARK_FRAME, "stream" => shard.stream.to_string(), "shard" => shard.number.to_string()).set(mark.n as f64);
}
