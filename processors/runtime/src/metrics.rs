//! Metrics of the engine. Label `stream` is from the catalog; every other label is a closed list.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use state::{Mark, Shard};

use crate::engine::Failure;
use crate::engine::decide::Tally;

const INPUTS: &str = "forebay_runtime_inputs_total";
const DUPLICATES: &str = "forebay_runtime_duplicates_total";
const DEAD_LETTERS: &str = "forebay_runtime_dead_letters_total";
const COMMITS: &str = "forebay_runtime_commits_total";
const ABORTS: &str = "forebay_runtime_aborts_total";
const RESTARTS: &str = "forebay_runtime_restarts_total";
const RECYCLES: &str = "forebay_runtime_recycles_total";
const BATCH: &str = "forebay_runtime_batch_inputs";
const PRODUCE: &str = "forebay_runtime_transaction_seconds";
const OWNED: &str = "forebay_runtime_shards_owned";
const HALTED: &str = "forebay_runtime_shards_halted";
const RECOVERY: &str = "forebay_runtime_recovery_seconds";
const REPLAYED: &str = "forebay_runtime_replayed_frames";
const TORN: &str = "forebay_runtime_torn_frames_total";
const APPLY_LAG: &str = "forebay_runtime_apply_lag_seconds";
const MARK_FRAME: &str = "forebay_runtime_mark_frame";

/// Tells the recorder what each metric is; once per process is enough, more do no harm.
pub(crate) fn describe() {
    describe_counter!(INPUTS, "inputs taken up, by outcome: processed, rejected");
    describe_counter!(DUPLICATES, "inputs dropped as duplicates");
    describe_counter!(DEAD_LETTERS, "inputs that became dead letters");
    describe_counter!(COMMITS, "committed transactions");
    describe_counter!(ABORTS, "failed steps by why: abort, ownership, restart, fenced");
    describe_counter!(RESTARTS, "new starts of a worker");
    describe_counter!(RECYCLES, "producers replaced because an EndTxn may have been sent twice");
    describe_histogram!(BATCH, Unit::Count, "inputs of a transaction");
    describe_histogram!(PRODUCE, Unit::Seconds, "time of a step of the transaction");
    describe_gauge!(OWNED, "shards that run here");
    describe_gauge!(HALTED, "shards that are halted here: somebody must look");
    describe_histogram!(RECOVERY, Unit::Seconds, "time to read an assignment back");
    describe_counter!(REPLAYED, "frames read back from the log into the store");
    describe_counter!(TORN, "frames ignored in the log because they were not whole");
    describe_histogram!(APPLY_LAG, Unit::Seconds, "from commit to the store's acknowledgement");
    describe_gauge!(MARK_FRAME, "number of the last frame below the watermark, summed over shards by the reader");
}

pub(crate) fn committed(stream: &str, tally: Tally) {
    let stream = || stream.to_owned();
    counter!(COMMITS, "stream" => stream()).increment(1);
    counter!(INPUTS, "stream" => stream(), "outcome" => "processed").increment(tally.processed);
    counter!(INPUTS, "stream" => stream(), "outcome" => "rejected").increment(tally.rejected);
    counter!(DUPLICATES, "stream" => stream()).increment(tally.duplicates);
    counter!(DEAD_LETTERS, "stream" => stream()).increment(tally.dead);
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

pub(crate) fn restarted(stream: &str) {
    counter!(RESTARTS, "stream" => stream.to_owned()).increment(1);
}

pub(crate) fn recycled(stream: &str) {
    counter!(RECYCLES, "stream" => stream.to_owned()).increment(1);
}

pub(crate) fn batch(stream: &str, inputs: usize, produce: Duration) {
    histogram!(BATCH, "stream" => stream.to_owned()).record(inputs as f64);
    histogram!(PRODUCE, "stream" => stream.to_owned(), "step" => "produce").record(produce);
}

pub(crate) fn owned(stream: &str, running: usize, halted: usize) {
    gauge!(OWNED, "stream" => stream.to_owned()).set(running as f64);
    gauge!(HALTED, "stream" => stream.to_owned()).set(halted as f64);
}

pub(crate) fn recovered(stream: &str, took: Duration, running: usize, halted: usize) {
    histogram!(RECOVERY, "stream" => stream.to_owned()).record(took);
    owned(stream, running, halted);
}

pub(crate) fn replayed(shard: &Shard, frames: usize, torn: usize) {
    let stream = || shard.stream.to_string();
    counter!(REPLAYED, "stream" => stream()).increment(frames as u64);
    counter!(TORN, "stream" => stream()).increment(torn as u64);
    if torn > 0 {
        tracing::error!(%shard, torn, "frames in the log are not whole and were ignored");
    }
}

pub(crate) fn applied(shard: &Shard, lag: Duration) {
    histogram!(APPLY_LAG, "stream" => shard.stream.to_string()).record(lag);
}

pub(crate) fn mark(shard: &Shard, mark: &Mark) {
    gauge!(MARK_FRAME, "stream" => shard.stream.to_string(), "shard" => shard.number.to_string()).set(mark.n as f64);
}
