//! Lanes, groups and subscriptions: from the rings to the queues of the connections.
//!
//! A lane is one OS thread; it alone touches its connections, groups and cursors, so no lock is held across lanes and a slow
//! lane only falls behind in the ring. Handlers on the main runtime talk to it by messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use chassis::lifecycle::Lifecycle;

use crate::feed::Streams;
use crate::protocol::Subscribe;
use crate::pulse::Pulse;

pub use outbox::{Chunk, Outbox, Piece, Taken, push_event};

mod catchup;
mod group;
mod lane;
mod outbox;
mod subscription;

/// Messages that wait for a lane; senders wait when there are more.
const MAILBOX: usize = 1_024;

/// Bounds of the hub.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes queued for one connection.
    pub queue_bytes: usize,
    /// Pieces queued for one connection.
    pub queue_pieces: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Bytes of the JSON of one result's data; larger ones are sent as `bad`.
    pub json_bytes: usize,
}

/// Why the hub cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No thread for a lane.
    #[error(transparent)]
    Thread(#[from] chassis::lifecycle::Error),
    /// No runtime for a lane.
    #[error("a lane's runtime cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Names a connection inside the process.
pub type ConnectionId = u64;

/// What handlers ask of a lane.
#[derive(Debug)]
pub(crate) enum Command {
    Open { connection: ConnectionId, outbox: Arc<Outbox>, heartbeat_s: u32 },
    Subscribe { connection: ConnectionId, asked: Subscribe },
    Unsubscribe { connection: ConnectionId, id: u32 },
    Repair { connection: ConnectionId, id: u32, channel: crate::channel::Pattern, last: i64 },
}

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) streams: Arc<Streams>,
    pub(crate) pulse: Arc<Pulse>,
    groups: AtomicU64,
}

impl Shared {
    /// A group number never used before in this process.
    fn next_group(&self) -> u64 {
        self.groups.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[derive(Debug)]
struct LaneHandle {
    mailbox: mpsc::Sender<Command>,
    wake: Arc<Notify>,
    connections: Arc<AtomicUsize>,
}

/// All lanes of the process.
#[derive(Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    lanes: Vec<LaneHandle>,
    connections: AtomicU64,
}

impl Hub {
    /// Starts `lanes` threads.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn start(
        lanes: usize,
        limits: Limits,
        streams: Arc<Streams>,
        pulse: Arc<Pulse>,
        lifecycle: &Lifecycle,
    ) -> Result<Arc<Self>, Error> {
        let shared = Arc::new(Shared { limits, streams, pulse, groups: AtomicU64::new(0) });
        let lanes = (0..lanes.max(1)).map(|_| start_lane(&shared, lifecycle)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { shared, lanes, connections: AtomicU64::new(0) }))
    }

    /// There is something new in the rings.
    pub fn wake(&self) {
        for lane in &self.lanes {
            lane.wake.notify_one();
        }
    }

    /// Opens a connection on the lane that has the fewest.
    pub(crate) async fn open(self: &Arc<Self>, heartbeat_s: u32) -> Connection {
        let fewest = (0..self.lanes.len()).min_by_key(|&index| self.lanes[index].connections.load(Ordering::Relaxed));
        let lane = fewest.unwrap_or_default();
        let limits = outbox::Limits { bytes: self.shared.limits.queue_bytes, pieces: self.shared.limits.queue_pieces };
        let outbox = Arc::new(Outbox::new(limits, Arc::clone(&self.lanes[lane].wake)));
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.lanes[lane].connections.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { hub: Arc::clone(self), lane, id, outbox: Arc::clone(&outbox) };
        connection.send(Command::Open { connection: id, outbox, heartbeat_s }).await;
        connection
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.lanes.iter().map(|lane| lane.connections.load(Ordering::Relaxed)).sum()
    }
}

/// A handler's end of a connection; dropping it makes the lane forget the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    hub: Arc<Hub>,
    lane: usize,
    pub(crate) id: ConnectionId,
    pub(crate) outbox: Arc<Outbox>,
}

impl Connection {
    /// Asks the lane; what it has to say comes through the outbox.
    pub(crate) async fn send(&self, command: Command) {
        // a lane that is gone has ended the process; there is nobody to tell
        let _ = self.hub.lanes[self.lane].mailbox.send(command).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.lanes[self.lane].connections.fetch_sub(1, Ordering::Relaxed);
        self.outbox.leave();
    }
}

fn start_lane(shared: &Arc<Shared>, lifecycle: &Lifecycle) -> Result<LaneHandle, Error> {
    let (mailbox, commands) = mpsc::channel(MAILBOX);
    let wake = Arc::new(Notify::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let lane = lane::Lane::new(Arc::clone(shared), Arc::clone(&wake));
    lifecycle.thread("notifier-lane", move |stop| {
        runtime.block_on(lane.run(commands, stop));
        Ok::<(), std::convert::Infallible>(())
    })?;
    Ok(LaneHandle { mailbox, wake, connections: Arc::default() })
}
