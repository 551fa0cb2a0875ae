//! `latency`: POST → WebSocket at a fixed rate, measured from the time each send was planned.
//!
//! Open loop: a slow answer never delays the next send, so waiting in the system shows as latency and not as a lower rate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use hdrhistogram::Histogram;
use loadtest::flights::{airport_code, numbered};
use loadtest::live::{Arrival, Follower};
use loadtest::machine::{Process, Shape, cpu_time};
use loadtest::seq::{SeqLines, Step};
use loadtest::target::Target;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A send that starts later than this after its planned time counts as late.
const LATE: Duration = Duration::from_millis(5);

/// More late sends than this share make the run void: the generator, not the system, was measured.
const LATE_SHARE_MAX: f64 = 0.01;

/// Highest latency the histograms can hold, in µs.
const LATENCY_US_MAX: u64 = 120_000_000;

#[derive(Parser)]
#[command(about = "POST → WebSocket latency of single events at a fixed open-loop rate")]
struct Options {
    /// Base URL of the write side.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Base URL of the read side, if another.
    #[arg(long)]
    live_url: Option<String>,
    /// Bearer token.
    #[arg(long, env = "FOREBAY_TOKEN")]
    token: Option<String>,
    /// Events per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Measured seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Seconds before, whose figures are thrown away.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(..=600))]
    warmup: u32,
    /// Airports the events are spread over.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_296))]
    airports: u32,
    /// Requests without an answer at one time; a planned send that finds none free ends the run.
    #[arg(long, default_value_t = 2_000)]
    in_flight_max: usize,
    /// Seconds to wait for the last results.
    #[arg(long, default_value_t = 15)]
    drain: u64,
    /// A process to watch, NAME=PID; may be given several times.
    #[arg(long = "pid")]
    pids: Vec<Process>,
}

/// The plan: event number `n` is to be sent at `start + n / rate`.
#[derive(Clone, Copy)]
struct Plan {
    start: Instant,
    rate: u32,
    warmup: u32,
    total: u32,
}

impl Plan {
    fn at(&self, n: u32) -> Instant {
        self.start + Duration::from_secs(1) * n / self.rate
    }

    fn is_measured(&self, n: u32) -> bool {
        n >= self.warmup * self.rate
    }
}

/// What came back over the socket.
struct Received {
    latency_us: Histogram<u64>,
    seen: Vec<bool>,
    lines: SeqLines,
}

/// What came back as answers.
struct Sent {
    latency_us: Histogram<u64>,
    late: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let read = options.live_url.clone().unwrap_or_else(|| options.url.clone());
    let target = Target::new(&options.url, &read, options.token.clone());
    let shape = Shape::now();
    let run = airport_code('R', std::process::id());
    let channels: Vec<String> = (0..options.airports).map(|n| format!("flights/{}", airport_code('Q', n))).collect();
    let follower = Follower::open(target.read_url(), target.token(), &channels).await?;

    let cpu_before = cpu_of(&options.pids)?;
    let total = options.rate.checked_mul(options.warmup + options.seconds).context("rate × seconds is too large")?;
    let start = Instant::now() + Duration::from_millis(200);
    let plan = Plan { start, rate: options.rate, warmup: options.warmup, total };
    let deadline = plan.at(total) + Duration::from_secs(options.drain);
    let (sent, received) = tokio::join!(send_all(&target, plan, &options, &run), receive_all(follower, plan, &run, deadline));
    let (sent, received) = (sent?, received?);
    let cpu_after = cpu_of(&options.pids)?;

    println!("{shape}");
    println!(
        "{} events/s for {} s after {} s warm-up, over {} airports, one event per POST\n",
        options.rate, options.seconds, options.warmup, options.airports
    );
    print_latencies(&sent, &received);
    print_cpu(&options.pids, &cpu_before, &cpu_after, total);
    judge(&sent, &received, total)
}

async fn send_all(target: &Target, plan: Plan, options: &Options, run: &str) -> Result<Sent> {
    let free = Arc::new(Semaphore::new(options.in_flight_max));
    let mut answers = JoinSet::new();
    let mut sent = Sent { latency_us: histogram()?, late: 0 };
    for n in 0..plan.total {
        let planned = plan.at(n);
        sleep_until(planned).await;
        if plan.is_measured(n) && planned.elapsed() > LATE {
            sent.late += 1;
        }
        let permit = Arc::clone(&free).try_acquire_owned();
        let permit =
            permit.with_context(|| format!("{} requests wait for answers: the rate is too high", options.in_flight_max))?;
        let flight = numbered(i32::try_from(n)?, n % options.airports, run);
        let target = target.clone();
        answers.spawn(async move {
            let answer = target.post_one(&flight).await;
            drop(permit);
            (n, planned.elapsed(), answer)
        });
        while let Some(done) = answers.try_join_next() {
            note_answer(plan, &mut sent, done?)?;
        }
    }
    while let Some(done) = answers.join_next().await {
        note_answer(plan, &mut sent, done?)?;
    }
    Ok(sent)
}

fn note_answer(
    plan: Plan,
    sent: &mut Sent,
    (n, took, answer): (u32, Duration, Result<(), loadtest::target::Error>),
) -> Result<()> {
    answer.with_context(|| format!("event {n}"))?;
    if plan.is_measured(n) {
        sent.latency_us.saturating_record(micros(took));
    }
    Ok(())
}

async fn receive_all(mut follower: Follower, plan: Plan, run: &str, deadline: Instant) -> Result<Received> {
    let mut received = Received { latency_us: histogram()?, seen: vec![false; plan.total as usize], lines: SeqLines::default() };
    let mut missing = plan.total;
    while missing > 0 {
        let Ok(arrival) = timeout_at(deadline, follower.next()).await else { break };
        let arrival = arrival?;
        let now = Instant::now();
        if received.lines.note(&arrival.channel, arrival.seq) == Step::Again {
            continue;
        }
        let Some(n) = number_of(&arrival, run) else { continue };
        let Some(seen) = received.seen.get_mut(n as usize) else { continue };
        ensure!(!*seen, "event {n} took effect twice: {arrival:?}");
        *seen = true;
        missing -= 1;
        if plan.is_measured(n) {
            received.latency_us.saturating_record(micros(now - plan.at(n)));
        }
    }
    Ok(received)
}

/// The number an event of this run carries; none for other results.
fn number_of(arrival: &Arrival, run: &str) -> Option<u32> {
    if arrival.kind != "flight.recorded" || arrival.data.get("destination")?.as_str()? != run {
        return None;
    }
    u32::try_from(arrival.data.get("delay_minutes")?.as_i64()?).ok()
}

fn print_latencies(sent: &Sent, received: &Received) {
    println!("| from the planned send to | events | p50 ms | p90 ms | p99 ms | p99.9 ms | max ms |");
    println!("|---|---|---|---|---|---|---|");
    for (name, histogram) in [("the answer of the POST", &sent.latency_us), ("the result at the socket", &received.latency_us)] {
        let at = |quantile: f64| millis(histogram.value_at_quantile(quantile));
        let (p50, p90, p99, p999, max) = (at(0.5), at(0.9), at(0.99), at(0.999), millis(histogram.max()));
        println!("| {name} | {} | {p50:.1} | {p90:.1} | {p99:.1} | {p999:.1} | {max:.1} |", histogram.len());
    }
}

fn print_cpu(pids: &[Process], before: &[Duration], after: &[Duration], events: u32) {
    if pids.is_empty() {
        return;
    }
    println!("\n| process | CPU s | CPU µs per event |\n|---|---|---|");
    for (process, (before, after)) in pids.iter().zip(before.iter().zip(after)) {
        let used = after.saturating_sub(*before).as_secs_f64();
        println!("| {} | {used:.2} | {:.0} |", process.name, used * 1e6 / f64::from(events));
    }
}

/// A run counts only when everything came once and the generator kept its plan.
fn judge(sent: &Sent, received: &Received, total: u32) -> Result<()> {
    let came = received.seen.iter().filter(|seen| **seen).count();
    let (duplicates, missing) = (received.lines.duplicates, received.lines.missing);
    println!("\n{came} of {total} results came; {duplicates} came again, {missing} seq missing; {} sends were late", sent.late);
    ensure!(came == total as usize && duplicates == 0 && missing == 0, "results were lost or repeated");
    let measured = sent.latency_us.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let late_share = f64::from(sent.late) / measured as f64;
    ensure!(
        late_share <= LATE_SHARE_MAX,
        "void: {:.1} % of the sends were more than 5 ms late; lower --rate",
        late_share * 100.0
    );
    Ok(())
}

fn cpu_of(pids: &[Process]) -> Result<Vec<Duration>> {
    pids.iter().map(|process| Ok(cpu_time(process.pid)?)).collect()
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "latencies far below 2^52 µs")]
fn millis(us: u64) -> f64 {
    us as f64 / 1e3
}
