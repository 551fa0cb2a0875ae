//! What the peers have in common: events without headers in a stream of their own, all there before the run begins.

use anyhow::Result;
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use crate::children;
use crate::engines::Engines;
use crate::stream::{self, Deployment, Headers, Shape, Tracking};

/// The input of a peer.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plain {
    #[command(flatten)]
    pub(crate) engines: Engines,
    /// Partitions.
    #[arg(long, default_value_t = 8)]
    shards: i32,
    /// Different keys.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Events.
    #[arg(long, default_value_t = 500_000)]
    pub(crate) events: u64,
}

impl Plain {
    /// Makes the stream and writes all events. The runtime is for the deployment's end.
    ///
    /// # Errors
    /// Kafka or the registry refused something, or the feeding process failed.
    pub(crate) fn fed(&self) -> Result<(Runtime, Deployment)> {
        let Self { shards, keys, size, .. } = *self;
        let shape = Shape { shards, keys, size, row_bytes: 0, headers: Headers::Bare, tracking: Tracking::None };
        let prefix = stream::fresh_prefix();
        let tokio = Builder::new_current_thread().enable_all().build()?;
        let deployment = tokio.block_on(Deployment::open(&self.engines, &prefix, &shape))?;
        children::ended(&mut children::feed(&self.engines, &shape, &prefix, 0..self.events, None)?)?;
        Ok((tokio, deployment))
    }
}
