//! `throughput`: posts the sample of real flights in batches and waits until all of them stand in the state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use loadtest::flights::Flight;
use loadtest::machine::{Process, Shape, cpu_time};
use loadtest::target::Target;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How often the state is asked how far it is; its cost is part of the read side's figure.
const POLL: Duration = Duration::from_millis(100);

#[derive(Parser)]
#[command(about = "Events per second from batch POST to applied state, and CPU per event of each process")]
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
    /// How often the whole sample is posted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat: u32,
    /// Events per POST.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// POSTs under way at one time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    connections: u8,
    /// Seconds to wait for the state after the last answer.
    #[arg(long, default_value_t = 60)]
    drain: u64,
    /// A process to watch, NAME=PID; may be given several times, one per room when rooms are separate processes.
    #[arg(long = "pid")]
    pids: Vec<Process>,
}

/// When things were done, from the first POST on.
struct Times {
    accepted: Duration,
    applied: Duration,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let read = options.live_url.clone().unwrap_or_else(|| options.url.clone());
    let target = Target::new(&options.url, &read, options.token.clone());
    let flights = Arc::new(sample::flights()?);
    let events = flights.len() * options.repeat as usize;
    let shape = Shape::now();

    let before = target.applied().await.context("reading the state before the run")?;
    let mut watched = options.pids.clone();
    watched.push(Process { name: "this generator".to_owned(), pid: std::process::id() });
    let cpu_before = cpu_of(&watched)?;
    let times = run(&target, &flights, &options, before + events as u64).await?;
    let cpu_after = cpu_of(&watched)?;

    println!("{shape}");
    println!(
        "{events} events ({} × the sample) in batches of {}, {} connections\n",
        options.repeat, options.batch, options.connections
    );
    print_rates(events, &times);
    print_cpu(events, &watched, &cpu_before, &cpu_after);
    Ok(())
}

async fn run(target: &Target, flights: &Arc<Vec<Flight>>, options: &Options, goal: u64) -> Result<Times> {
    let start = Instant::now();
    post_all(target, flights, options).await?;
    let accepted = start.elapsed();
    let deadline = Instant::now() + Duration::from_secs(options.drain);
    loop {
        let now = target.applied().await?;
        if now == goal {
            return Ok(Times { accepted, applied: start.elapsed() });
        }
        if now > goal {
            bail!(
                "the state holds {} flights more than were posted: another feed runs, or an event took effect twice",
                now - goal
            );
        }
        if Instant::now() > deadline {
            bail!("{} flights are still missing in the state {} s after the last answer", goal - now, options.drain);
        }
        sleep(POLL).await;
    }
}

/// Posts all batches; every connection takes the next one as soon as its last was answered.
async fn post_all(target: &Target, flights: &Arc<Vec<Flight>>, options: &Options) -> Result<()> {
    let batch = usize::from(options.batch);
    let per_round = flights.len().div_ceil(batch);
    let batches = per_round * options.repeat as usize;
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        let (target, flights, next) = (target.clone(), Arc::clone(flights), Arc::clone(&next));
        connections.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= batches {
                    return Ok::<(), loadtest::target::Error>(());
                }
                let from = (n % per_round) * batch;
                let to = (from + batch).min(flights.len());
                target.post_batch(&flights[from..to]).await?;
            }
        });
    }
    while let Some(done) = connections.join_next().await {
        done??;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn print_rates(events: usize, times: &Times) {
    let rate = |time: Duration| events as f64 / time.as_secs_f64();
    println!("| from the first POST to | s | events/s |\n|---|---|---|");
    println!("| all accepted, in the log | {:.2} | {:.0} |", times.accepted.as_secs_f64(), rate(times.accepted));
    println!("| all applied, in the state | {:.2} | {:.0} |", times.applied.as_secs_f64(), rate(times.applied));
    println!("\napplied ÷ accepted rate: {:.2}", rate(times.applied) / rate(times.accepted));
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn print_cpu(events: usize, watched: &[Process], before: &[Duration], after: &[Duration]) {
    let used: Vec<f64> = before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before).as_secs_f64()).collect();
    let whole: f64 = used.iter().sum();
    println!("\n| process | CPU s | CPU µs per event | share |\n|---|---|---|---|");
    for (process, used) in watched.iter().zip(&used) {
        let share = if whole > 0.0 { used / whole * 100.0 } else { 0.0 };
        println!("| {} | {used:.2} | {:.1} | {share:.0} % |", process.name, used * 1e6 / events as f64);
    }
}

fn cpu_of(watched: &[Process]) -> Result<Vec<Duration>> {
    watched.iter().map(|process| Ok(cpu_time(process.pid)?)).collect()
}
