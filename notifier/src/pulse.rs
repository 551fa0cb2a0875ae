//! What the console's numbers are made of: rates and latencies of the last minute, per stream, and the counters behind the
//! metrics. Written from the feed, the lanes and the sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::clock::now_ms;
use crate::guarded::Guarded;
use crate::metrics as names;
use crate::protocol::server::Status;
use crate::ring::Total;

pub use window::Window;

mod process;
pub(crate) mod report;
mod window;

/// Seconds that rates and latencies look back.
pub const SECONDS: usize = 60;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// WebSocket.
    WebSocket,
    /// Server-Sent Events.
    Sse,
}

impl Transport {
    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }
}

/// Rates and latencies of one stream.
#[derive(Debug)]
pub struct Meter {
    results: Counter,
    bad: Counter,
    input: Histogram,
    age: Gauge,
    /// Results read, by second.
    pub read: Guarded<Window>,
    /// Input's append → result's timestamp, ms.
    pub input_to_commit: Guarded<Window>,
    /// Result's timestamp → written to a socket, ms.
    pub commit_to_write: Guarded<Window>,
    total: AtomicU64,
}

impl Meter {
    fn new(stream: &str) -> Self {
        let stream = stream.to_owned();
        Self {
            results: counter!(names::RESULTS, "stream" => stream.clone()),
            bad: counter!(names::BAD_RESULTS, "stream" => stream.clone()),
            input: histogram!(names::INPUT_TO_COMMIT, "stream" => stream.clone()),
            age: gauge!(names::FEED_AGE, "stream" => stream),
            read: Guarded::default(),
            input_to_commit: Guarded::default(),
            commit_to_write: Guarded::default(),
            total: AtomicU64::new(0),
        }
    }

    /// A result was read.
    pub fn result(&self, timestamp_ms: i64, caused_at_ms: Option<i64>) {
        self.results.increment(1);
        self.total.fetch_add(1, Ordering::Relaxed);
        let now = now_ms();
        self.read.lock().add(now, 0);
        // at the start of a process old results pass by; they say nothing about now
        if let Some(caused_at_ms) = caused_at_ms.filter(|_| now - timestamp_ms < 60_000) {
            let took_ms = (timestamp_ms - caused_at_ms).max(0);
            self.input_to_commit.lock().add(now, took_ms);
            self.input.record(seconds(took_ms));
        }
    }

    /// A partition's position moved; the slowest one's is `age_ms` old.
    pub fn position(&self, age_ms: Option<i64>) {
        if let Some(age_ms) = age_ms {
            self.age.set(seconds(age_ms));
        }
    }

    /// Its schema is unknown.
    pub fn bad(&self) {
        self.bad.increment(1);
    }

    /// A chunk whose oldest result has this timestamp was written.
    pub fn wrote(&self, oldest_ms: i64) {
        let now = now_ms();
        self.commit_to_write.lock().add(now, (now - oldest_ms).max(0));
    }

    /// Results read since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// The room's counters.
#[derive(Debug)]
pub struct Pulse {
    ring: Arc<Total>,
    open: [AtomicUsize; 2],
    deliveries: [Counter; 2],
    bytes: [Counter; 2],
    latency: [Histogram; 2],
    /// Results written, by second.
    pub delivered: Guarded<Window>,
    started_ms: i64,
}

impl Default for Pulse {
    fn default() -> Self {
        let both = [Transport::WebSocket, Transport::Sse].map(Transport::as_str);
        Self {
            ring: Arc::default(),
            open: Default::default(),
            deliveries: both.map(|transport| counter!(names::DELIVERIES, "transport" => transport)),
            bytes: both.map(|transport| counter!(names::SENT_BYTES, "transport" => transport)),
            latency: both.map(|transport| histogram!(names::COMMIT_TO_WRITE, "transport" => transport)),
            delivered: Guarded::default(),
            started_ms: now_ms(),
        }
    }
}

impl Pulse {
    /// A meter for a stream.
    #[must_use]
    pub fn meter(&self, stream: &str) -> Meter {
        Meter::new(stream)
    }

    /// Bytes of the rings.
    #[must_use]
    pub fn ring_total(&self) -> Arc<Total> {
        Arc::clone(&self.ring)
    }

    /// Milliseconds since the Unix epoch at which the room was built.
    #[must_use]
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Open connections of a transport.
    #[must_use]
    pub fn open(&self, transport: Transport) -> usize {
        self.open[transport as usize].load(Ordering::Relaxed)
    }

    /// A connection begins; the returned guard ends it.
    pub fn opened(self: &Arc<Self>, transport: Transport) -> Opened {
        counter!(names::OPENS, "transport" => transport.as_str(), "outcome" => "ok").increment(1);
        let open = self.open[transport as usize].fetch_add(1, Ordering::Relaxed) + 1;
        show_open(transport, open);
        Opened { pulse: Arc::clone(self), transport, code: "closed" }
    }

    /// `results` results in `bytes` bytes were written.
    pub fn wrote(&self, transport: Transport, results: usize, bytes: usize) {
        self.deliveries[transport as usize].increment(results as u64);
        self.bytes[transport as usize].increment(bytes as u64);
        if results > 0 {
            self.delivered.lock().count(now_ms(), results as u64);
        }
    }

    /// One write of a result with this timestamp, for the histogram.
    pub fn timed(&self, transport: Transport, oldest_ms: i64) {
        self.latency[transport as usize].record(seconds((now_ms() - oldest_ms).max(0)));
    }

    /// A subscription began.
    pub fn readied(&self, status: Status, source: &'static str) {
        let status = match status {
            Status::Live => "live",
            Status::Resumed => "resumed",
            Status::Gap => "gap",
        };
        counter!(names::READY, "status" => status, "source" => source).increment(1);
    }

    /// A loss was told.
    pub fn gap(&self, reason: &'static str) {
        counter!(names::GAPS, "reason" => reason).increment(1);
    }

    /// A repair was asked for.
    pub fn repaired(&self, outcome: &'static str) {
        counter!(names::REPAIRS, "outcome" => outcome).increment(1);
    }

    /// A queue was full.
    pub fn slow(&self, action: &'static str) {
        counter!(names::SLOW, "action" => action).increment(1);
    }

    /// A subscription is live again.
    pub fn caught_up(&self, took: Duration) {
        histogram!(names::CATCHUP).record(took);
    }
}

/// An open connection in the books.
#[derive(Debug)]
pub struct Opened {
    pulse: Arc<Pulse>,
    transport: Transport,
    /// Why it ended, for the label.
    pub code: &'static str,
}

impl Drop for Opened {
    fn drop(&mut self) {
        let open = self.pulse.open[self.transport as usize].fetch_sub(1, Ordering::Relaxed) - 1;
        show_open(self.transport, open);
        counter!(names::CLOSES, "transport" => self.transport.as_str(), "code" => self.code).increment(1);
    }
}

fn show_open(transport: Transport, open: usize) {
    gauge!(names::CONNECTIONS, "transport" => transport.as_str()).set(u32::try_from(open).unwrap_or(u32::MAX));
}

fn seconds(ms: i64) -> f64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
}
