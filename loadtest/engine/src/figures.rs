//! What a run found out, as a line for people and as JSON for whoever started it.

use serde::{Deserialize, Serialize};

use crate::reader::{Counted, Moment};

/// Marks the line with the figures in the output of a run.
const MARK: &str = "figures ";

/// The figures of one run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// What ran.
    pub(crate) name: String,
    /// Results seen.
    pub(crate) records: u64,
    /// Records/s from the start of the engine.
    pub(crate) rate: f64,
    /// Records/s in the second half, when everything is warm.
    pub(crate) rate_warm: f64,
    /// CPU of the process per record, reader included, from the first result on, µs.
    pub(crate) cpu_us: f64,
    /// The same in the second half, µs.
    pub(crate) cpu_us_warm: f64,
    /// As `cpu_us` without the reader's threads, µs.
    pub(crate) cpu_us_alone: f64,
    /// Resident memory at the end, MiB.
    pub(crate) rss_mib: u64,
    /// Its peak, MiB.
    pub(crate) peak_mib: u64,
    /// Transactions.
    pub(crate) commits: u64,
    /// The commit call, ms.
    pub(crate) commit_p50_ms: f64,
    /// The commit call, ms.
    pub(crate) commit_p99_ms: f64,
    /// From the append of an event to its visible result, ms; 0 where it was not measured.
    pub(crate) latency_p50_ms: f64,
    /// From the append of an event to its visible result, ms; 0 where it was not measured.
    pub(crate) latency_p99_ms: f64,
    /// The counts in the results add up to what they must.
    pub(crate) exact: bool,
}

impl Figures {
    /// From what the reader counted, since `begun`.
    pub(crate) fn of(name: &str, counted: &Counted, begun: Moment, exact: bool) -> Self {
        let Counted { first, half, last, latency, .. } = counted;
        let rate = |from: &Moment, to: &Moment| {
            (to.records - from.records) as f64 / to.at.duration_since(from.at).as_secs_f64().max(1e-9)
        };
        let records = last.records;
        let cpu = last.cpu.saturating_sub(first.cpu);
        let reader = last.reader_cpu.saturating_sub(first.reader_cpu);
        let warm = last.cpu.saturating_sub(half.cpu).as_secs_f64() * 1e6 / (last.records - half.records).max(1) as f64;
        let per_record = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / records.max(1) as f64;
        let ms = |quantile| if latency.is_empty() { 0.0 } else { latency.value_at_quantile(quantile) as f64 / 1e3 };
        Self {
            name: name.to_owned(),
            records,
            rate: rate(&begun, last),
            rate_warm: rate(half, last),
            cpu_us: per_record(cpu),
            cpu_us_warm: warm,
            cpu_us_alone: per_record(cpu.saturating_sub(reader)),
            latency_p50_ms: ms(0.5),
            latency_p99_ms: ms(0.99),
            exact,
            ..Self::default()
        }
    }

    /// Prints both forms.
    pub(crate) fn print(&self) {
        let Self { name, records, rate, rate_warm, cpu_us, cpu_us_warm, cpu_us_alone, rss_mib, peak_mib, exact, .. } = self;
        println!(
            "{name}: {records} records, {rate:.0}/s, warm {rate_warm:.0}/s; CPU {cpu_us:.2} µs/record, warm {cpu_us_warm:.2}, \
             {cpu_us_alone:.2} without the reader; RSS {rss_mib} MiB, peak {peak_mib}; {} commits, p50 {:.1} ms, p99 {:.1} ms; {}",
            self.commits,
            self.commit_p50_ms,
            self.commit_p99_ms,
            if *exact { "exact" } else { "NOT EXACT" },
        );
        if self.latency_p50_ms > 0.0 {
            println!("  append to visible result: p50 {:.1} ms, p99 {:.1} ms", self.latency_p50_ms, self.latency_p99_ms);
        }
        println!("{MARK}{}", serde_json::to_string(self).unwrap_or_default());
    }

    /// Takes the figures out of a line of a run's output.
    pub(crate) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(MARK)?).ok()
    }
}
