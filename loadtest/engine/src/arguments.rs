//! The command line.

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::aggregate::Aggregate;
use crate::compare::Compare;
use crate::curves::Curves;
use crate::engines::Engines;
use crate::feed;
use crate::peer::Peer;
use crate::raw::Raw;
use crate::recovery::{Recovery, Serve};
use crate::size::Sizes;
use crate::stream::{Deployment, Shape};

/// Measures the engine and its peers.
#[derive(Parser)]
#[command(about = "Records/s, CPU per record and memory of the engine, beside Kafka Streams and the bare client")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The engine: one stateful aggregate per key.
    Aggregate(Box<Aggregate>),
    /// The bare client: consume, transform, produce in transactions, without any state.
    Raw(Raw),
    /// Kafka Streams: the same aggregate in Java.
    Streams(Peer),
    /// All of them one after another, and the ratios.
    Compare(Compare),
    /// Shards, keys, size of rows, workers, commit interval; latency at half of the load.
    Curves(Curves),
    /// From SIGKILL to new commits.
    Recovery(Recovery),
    /// How recovery, the backlog after an outage, and memory depend on the number of keys.
    Size(Sizes),
    /// The engine until it is killed; started by the others.
    Serve(Box<Serve>),
    /// Writes events; started by the others.
    Feed(Feed),
}

#[derive(Args)]
struct Feed {
    #[command(flatten)]
    engines: Engines,
    #[command(flatten)]
    shape: Shape,
    /// Prefix of the topics.
    #[arg(long)]
    prefix: String,
    /// Number of the first event.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// And of the one behind the last.
    #[arg(long)]
    to: u64,
    /// Events a second; as fast as possible when left out.
    #[arg(long)]
    rate: Option<u64>,
    /// One key after the other instead of any.
    #[arg(long)]
    in_turn: bool,
}

impl Arguments {
    /// Does what was asked for.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Aggregate(aggregate) => aggregate.run(),
            Command::Raw(raw) => raw.run(),
            Command::Streams(peer) => peer.run(),
            Command::Compare(compare) => compare.run(),
            Command::Curves(curves) => curves.run(),
            Command::Recovery(recovery) => recovery.run(),
            Command::Size(sizes) => sizes.run(),
            Command::Serve(serve) => serve.run(),
            Command::Feed(feed) => feed.run(),
        }
    }
}

impl Feed {
    fn run(&self) -> Result<()> {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let deployment = tokio.block_on(Deployment::open(&self.engines, &self.prefix, &self.shape))?;
        let keys = if self.in_turn { feed::key_in_turn } else { feed::key_of };
        let took = feed::write(&deployment, &self.shape, self.from..self.to, self.rate, keys)?;
        println!("{} events in {:.2} s", self.to - self.from, took.as_secs_f64());
        Ok(())
    }
}
