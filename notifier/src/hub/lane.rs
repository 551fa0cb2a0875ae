//! A lane: its loop, its dispatch rounds, and what connections ask of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use chassis::lifecycle::Stop;

use crate::channel::{Pattern, Trie};
use crate::feed::Stream;
use crate::hub::group::{Group, Member};
use crate::hub::outbox::Outbox;
use crate::hub::subscription::{CatchingUp, Connected, Place, State, Subscription};
use crate::hub::{Command, ConnectionId, Shared};
use crate::protocol::Subscribe;
use crate::protocol::client::{OnGap, Refusal, Since};
use crate::protocol::code::Code;
use crate::protocol::server::{self, Gap, Push, Status};
use crate::ring::{Entry, Read, UNKNOWN};

/// Entries of one partition looked at before the next one has its turn.
const TURN_ENTRIES: usize = 256;
/// A round ends when a group has this many bytes, so that a round fits the queues.
const ROUND_BYTES: usize = 64 * 1024;
/// How often beacons are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Longest time without a beacon while results flow.
pub(super) const BEACON_BUSY: Duration = Duration::from_secs(5);
/// Most results without a beacon.
pub(super) const BEACON_RESULTS: u64 = 1_000;

pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) wake: Arc<Notify>,
    /// Streams known to this lane; their index names them.
    pub(super) streams: Vec<Arc<Stream>>,
    /// Per stream and partition the next offset; [`UNKNOWN`] until the ring knows where it begins.
    pub(super) cursors: Vec<Vec<i64>>,
    epochs: Vec<Vec<u64>>,
    pub(super) connections: HashMap<ConnectionId, Connected>,
    pub(super) groups: HashMap<u64, Group>,
    by_patterns: HashMap<Vec<Pattern>, u64>,
    interest: Trie<u64>,
    pub(super) catching: HashSet<Member>,
    /// Groups with something framed in this round.
    touched: Vec<u64>,
    /// Places as they were before this round.
    pub(super) moved: Vec<Place>,
    /// Most bytes that a group has in this round.
    largest: usize,
    pub(super) scratch: Vec<Arc<Entry>>,
    found: Vec<u64>,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, wake: Arc<Notify>) -> Self {
        Self {
            shared,
            wake,
            streams: Vec::new(),
            cursors: Vec::new(),
            epochs: Vec::new(),
            connections: HashMap::new(),
            groups: HashMap::new(),
            by_patterns: HashMap::new(),
            interest: Trie::default(),
            catching: HashSet::new(),
            touched: Vec::new(),
            moved: Vec::new(),
            largest: 0,
            scratch: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Runs until the stop; connections are told `drain` by their sockets.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: Stop) {
        let wake = Arc::clone(&self.wake);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    self.obey(command);
                }
                () = wake.notified() => {}
                _ = tick.tick() => self.tick(),
            }
            // all that is there: one round may serve many
            while let Ok(command) = commands.try_recv() {
                self.obey(command);
            }
            if self.round() {
                wake.notify_one();
            }
            self.catch_up();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { connection, outbox, heartbeat_s } => {
                self.connections.insert(connection, Connected { outbox, heartbeat_s, subscriptions: HashMap::new() });
            }
            Command::Subscribe { connection, asked } => {
                let Some(outbox) = self.outbox(connection) else { return };
                if let Err(refusal) = self.subscribe(connection, &asked) {
                    outbox.answer(server::err(refusal.id, refusal.code, &refusal.text));
                }
            }
            Command::Unsubscribe { connection, id } => match self.leave(connection, id) {
                Some(group) => self.tell_end(connection, id, group, "done", false),
                None => self.refuse_unknown(connection, id),
            },
            Command::Repair { connection, id, channel, last } => self.repair(connection, id, &channel, last),
        }
    }

    pub(super) fn outbox(&self, connection: ConnectionId) -> Option<Arc<Outbox>> {
        self.connections.get(&connection).map(|connected| Arc::clone(&connected.outbox))
    }

    pub(super) fn subscription(&self, connection: ConnectionId, id: u32) -> Option<&Subscription> {
        self.connections.get(&connection)?.subscriptions.get(&id)
    }

    pub(super) fn refuse_unknown(&self, connection: ConnectionId, id: u32) {
        if let Some(outbox) = self.outbox(connection) {
            outbox.answer(server::err(Some(id), Code::IdUnknown, "no open subscription has this id"));
        }
    }

    pub(super) fn tell_end(&self, connection: ConnectionId, id: u32, group: u64, code: &str, retry: bool) {
        if let Some(outbox) = self.outbox(connection) {
            outbox.answer(Push::End { id, g: group, code, retry }.frame());
        }
    }

    fn subscribe(&mut self, connection: ConnectionId, asked: &Subscribe) -> Result<(), Refusal> {
        self.learn_streams();
        let refuse = |code, text: &str| Refusal::new(Some(asked.id), code, text);
        if !self.shared.streams.is_ready() {
            return Err(refuse(Code::Warming, "this node has not caught up with its streams yet"));
        }
        let Some(connected) = self.connections.get(&connection) else { return Ok(()) };
        if connected.subscriptions.contains_key(&asked.id) {
            return Err(refuse(Code::IdInUse, "this id names an open subscription"));
        }
        if connected.subscriptions.len() >= self.shared.limits.subscriptions {
            return Err(refuse(Code::LimitSubscriptions, "this connection has as many subscriptions as it may"));
        }
        let known = self.by_patterns.get(&asked.patterns).copied();
        if known.is_some_and(|group| connected.subscriptions.values().any(|subscription| subscription.group == group)) {
            return Err(refuse(Code::DuplicateSubscription, "a subscription with these patterns is open"));
        }
        if asked.since == Since::Snapshot {
            return Err(refuse(Code::SnapshotUnavailable, "this server sends no snapshots; read the view, then subscribe"));
        }
        self.join(connection, asked);
        Ok(())
    }

    /// Takes the subscription into its group and says `ready`.
    fn join(&mut self, connection: ConnectionId, asked: &Subscribe) {
        // snapshots cannot be sent, so a loss goes on live unless the client wants to stop
        let on_gap = if asked.on_gap == Some(OnGap::Stop) { OnGap::Stop } else { OnGap::Live };
        let number = self.group_of(&asked.patterns);
        let (status, reason, positions) = match &asked.since {
            Since::Now => (Status::Live, None, None),
            Since::Token(_) | Since::Snapshot => (Status::Gap, Some("token"), None),
            Since::Earliest => self.start_at(number, i64::MIN),
            Since::Time(time_ms) => self.start_at(number, *time_ms),
        };
        let next = if on_gap == OnGap::Stop { "stop" } else { "live" };
        let gap = reason.map(|reason| Gap { reason, from: None, to: None, next });
        let source = if positions.is_some() { "ring" } else { "none" };
        let behind_ms = positions.as_ref().map_or(0, |positions| self.behind_ms(positions));
        let ready = Push::Ready { id: asked.id, g: number, status, source, token: None, behind_ms, gap };
        let Some(outbox) = self.outbox(connection) else { return };
        outbox.answer(ready.frame());
        self.shared.pulse.readied(status, source);
        if status == Status::Gap && on_gap == OnGap::Stop {
            self.drop_if_empty(number);
            self.tell_end(connection, asked.id, number, "stopped", false);
            return;
        }
        let Some(group) = self.groups.get_mut(&number) else { return };
        group.members.push((connection, asked.id));
        let state = match positions {
            None => {
                group.live += 1;
                State::Live
            }
            Some(positions) => {
                self.catching.insert((connection, asked.id));
                State::CatchingUp(CatchingUp::from(positions))
            }
        };
        let (beacon_at, beacon_sent) = (Instant::now(), group.sent);
        let subscription = Subscription { group: number, policy: asked.policy, on_gap, state, beacon_at, beacon_sent };
        if let Some(connected) = self.connections.get_mut(&connection) {
            connected.subscriptions.insert(asked.id, subscription);
        }
    }

    fn group_of(&mut self, patterns: &[Pattern]) -> u64 {
        if let Some(number) = self.by_patterns.get(patterns) {
            return *number;
        }
        let number = self.shared.next_group();
        for pattern in patterns {
            self.interest.insert(pattern, number);
        }
        self.by_patterns.insert(patterns.to_vec(), number);
        self.groups.insert(number, Group::new(number, patterns.to_vec()));
        number
    }

    /// Ends a subscription without a word; gives its group number.
    pub(super) fn leave(&mut self, connection: ConnectionId, id: u32) -> Option<u64> {
        let subscription = self.connections.get_mut(&connection)?.subscriptions.remove(&id)?;
        self.left(connection, id, &subscription);
        Some(subscription.group)
    }

    fn left(&mut self, connection: ConnectionId, id: u32, subscription: &Subscription) {
        self.catching.remove(&(connection, id));
        if let Some(group) = self.groups.get_mut(&subscription.group) {
            group.members.retain(|member| *member != (connection, id));
            if matches!(subscription.state, State::Live) {
                group.live -= 1;
            }
        }
        self.drop_if_empty(subscription.group);
    }

    fn drop_if_empty(&mut self, number: u64) {
        if self.groups.get(&number).is_some_and(|group| group.members.is_empty()) {
            let Some(group) = self.groups.remove(&number) else { return };
            for pattern in &group.patterns {
                self.interest.remove(pattern, number);
            }
            self.by_patterns.remove(&group.patterns);
        }
    }

    /// Takes over streams that were discovered since.
    pub(super) fn learn_streams(&mut self) {
        let all = self.shared.streams.all();
        for stream in all.iter().skip(self.streams.len()) {
            self.cursors.push(vec![UNKNOWN; stream.partitions.len()]);
            self.epochs.push(vec![0; stream.partitions.len()]);
            self.streams.push(Arc::clone(stream));
        }
    }

    /// One dispatch round over all partitions; true if there is more.
    fn round(&mut self) -> bool {
        self.learn_streams();
        let anybody = self.groups.values().any(|group| group.live > 0);
        let mut more = false;
        for stream in 0..self.streams.len() {
            for partition in 0..self.cursors[stream].len() {
                if self.largest >= ROUND_BYTES {
                    self.deliver();
                }
                more |= self.take(stream, partition, anybody);
            }
        }
        self.deliver();
        more
    }

    /// Takes a turn of one partition into the groups; true if there is more.
    fn take(&mut self, stream: usize, partition: usize, anybody: bool) -> bool {
        let feed = Arc::clone(&self.streams[stream]);
        let ring = &feed.partitions[partition];
        let epoch = ring.epoch();
        if epoch != self.epochs[stream][partition] {
            self.epochs[stream][partition] = epoch;
            // forward: the log was cut off below us; backward: it is another log
            let reason = if ring.start() >= self.cursors[stream][partition] { "retention" } else { "epoch" };
            self.lose(stream, reason);
            self.cursors[stream][partition] = UNKNOWN;
        }
        let cursor = &mut self.cursors[stream][partition];
        if *cursor == UNKNOWN {
            *cursor = ring.start();
        }
        if *cursor == UNKNOWN || *cursor >= ring.position() {
            return false;
        }
        if !anybody {
            *cursor = ring.position();
            return false;
        }
        let mut entries = std::mem::take(&mut self.scratch);
        let read = ring.read(*cursor, TURN_ENTRIES, &mut entries);
        self.moved.push(Place { stream, partition, next: *cursor });
        match read {
            Read::Upto { next } => *cursor = next,
            Read::Below { start } => {
                *cursor = start;
                self.lose(stream, "budget");
            }
        }
        let more = entries.len() == TURN_ENTRIES || matches!(read, Read::Below { .. });
        for entry in &entries {
            self.dispatch(stream, entry);
        }
        entries.clear();
        self.scratch = entries;
        more
    }

    fn dispatch(&mut self, stream: usize, entry: &Arc<Entry>) {
        let found = &mut self.found;
        self.interest.matching(&entry.channel, &mut |number| found.push(number));
        // a group whose patterns overlap is found more than once
        found.sort_unstable();
        found.dedup();
        for number in self.found.drain(..) {
            if let Some(group) = self.groups.get_mut(&number).filter(|group| group.live > 0) {
                if group.round_bytes() == 0 {
                    self.touched.push(number);
                }
                group.add(stream, entry, self.shared.limits.json_bytes);
                self.largest = self.largest.max(group.round_bytes());
            }
        }
    }

    /// Hands what was framed to the live members.
    fn deliver(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for number in &touched {
            let Some(group) = self.groups.get_mut(number) else { continue };
            let pieces = group.finish_round();
            if pieces.is_empty() {
                continue;
            }
            let mut full = Vec::new();
            for (connection, id) in &group.members {
                let Some(connected) = self.connections.get(connection) else { continue };
                let live = connected.subscriptions.get(id).is_some_and(|s| matches!(s.state, State::Live));
                if live && !connected.outbox.offer(&pieces) {
                    full.push((*connection, *id));
                }
            }
            for member in full {
                self.overflow(member);
            }
        }
        touched.clear();
        self.touched = touched;
        self.moved.clear();
        self.largest = 0;
    }
}
