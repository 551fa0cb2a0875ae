//! One subscription of one connection.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::hub::outbox::Outbox;
use crate::protocol::client::{OnGap, Policy};

/// A connection as its lane knows it.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) outbox: Arc<Outbox>,
    /// Seconds between beacons of an idle subscription.
    pub(super) heartbeat_s: u32,
    pub(super) subscriptions: HashMap<u32, Subscription>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) group: u64,
    pub(super) policy: Policy,
    pub(super) on_gap: OnGap,
    pub(super) state: State,
    /// When the last beacon went out.
    pub(super) beacon_at: Instant,
    /// The group's count at that time.
    pub(super) beacon_sent: u64,
}

#[derive(Debug)]
pub(super) enum State {
    /// Every round reaches it.
    Live,
    /// It reads the ring at its own pace until it has met the lane's cursors.
    CatchingUp(CatchingUp),
}

#[derive(Debug)]
pub(super) struct CatchingUp {
    /// Next offset per partition.
    pub(super) positions: Vec<Place>,
    pub(super) since: Instant,
    /// When `lag` was last told, if it was.
    pub(super) told: Option<Instant>,
}

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index among the node's streams.
    pub(super) stream: usize,
    pub(super) partition: usize,
    /// The next offset.
    pub(super) next: i64,
}

impl CatchingUp {
    pub(super) fn from(positions: Vec<Place>) -> Self {
        Self { positions, since: Instant::now(), told: None }
    }
}
