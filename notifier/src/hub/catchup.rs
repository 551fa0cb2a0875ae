//! What is not the live path of a lane: subscriptions that read the ring at their own pace, losses, repairs, beacons.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::Pattern;
use crate::clock::now_ms;
use crate::hub::ConnectionId;
use crate::hub::group::{Batch, Group, Member};
use crate::hub::lane::{BEACON_BUSY, BEACON_RESULTS, Lane};
use crate::hub::outbox::Piece;
use crate::hub::subscription::{CatchingUp, Place, State};
use crate::protocol::client::{OnGap, Policy};
use crate::protocol::code::{Bye, Code};
use crate::protocol::server::{self, Gap, Push, Status};
use crate::ring::{Read, UNKNOWN};

/// Entries examined for one subscription before the others have their turn.
const TURN_ENTRIES: usize = 20_000;
/// Entries read from a ring at once.
const READ_ENTRIES: usize = 512;
/// `lag` is told after this long in catch-up.
const LAG_FIRST: Duration = Duration::from_secs(1);
/// And then again and again.
const LAG_EVERY: Duration = Duration::from_secs(5);

/// How a turn of one subscription ended.
enum Turn {
    /// Its connection has no room, or it waits for the lane.
    Waits,
    /// There is more to read at once.
    More,
    /// It has met the lane.
    Met,
    /// The ring lost what it needs.
    Lost,
}

impl Lane {
    /// The positions of a subscription that starts at a time; a gap if the rings do not reach back so far.
    pub(super) fn start_at(&self, group: u64, time_ms: i64) -> (Status, Option<&'static str>, Option<Vec<Place>>) {
        let mut places = self.places(group);
        for place in &mut places {
            match self.streams[place.stream].partitions[place.partition].offset_at(time_ms) {
                Some(offset) => place.next = offset,
                None => return (Status::Gap, Some("budget"), None),
            }
        }
        (Status::Resumed, None, Some(places))
    }

    /// How far the oldest of `places` is behind, ms.
    pub(super) fn behind_ms(&self, places: &[Place]) -> i64 {
        let oldest = places.iter().filter_map(|place| {
            let mut entries = Vec::new();
            self.streams[place.stream].partitions[place.partition].read(place.next, 1, &mut entries);
            entries.first().map(|entry| now_ms() - entry.timestamp_ms)
        });
        oldest.max().unwrap_or(0).max(0)
    }

    /// The cursors of every partition that a group's patterns touch.
    fn places(&self, group: u64) -> Vec<Place> {
        let Some(group) = self.groups.get(&group) else { return Vec::new() };
        let touched = self.streams.iter().enumerate().filter(|(_, stream)| group.touches(&stream.name));
        let places = touched.flat_map(|(stream, _)| {
            self.cursors[stream].iter().enumerate().map(move |(partition, &next)| Place { stream, partition, next })
        });
        places.filter(|place| place.next != UNKNOWN).collect()
    }

    /// A live subscription whose queue is full: it is cut, or reads on from before this round when there is room.
    pub(super) fn overflow(&mut self, (connection, id): Member) {
        let Some(group) = self.subscription(connection, id).map(|subscription| subscription.group) else { return };
        let mut places = self.places(group);
        for place in &mut places {
            if let Some(before) = self.moved.iter().find(|b| (b.stream, b.partition) == (place.stream, place.partition)) {
                place.next = before.next;
            }
        }
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        let Some(subscription) = connected.subscriptions.get_mut(&id) else { return };
        if subscription.policy == Policy::Cut {
            self.shared.pulse.slow("cut");
            connected.outbox.end(Bye::Slow);
            return;
        }
        self.shared.pulse.slow("catchup");
        subscription.state = State::CatchingUp(CatchingUp::from(places));
        connected.outbox.call_when_half_empty();
        if let Some(group) = self.groups.get_mut(&group) {
            group.live -= 1;
        }
        self.catching.insert((connection, id));
    }

    /// Gives every subscription that is catching up a turn, if its connection has room.
    pub(super) fn catch_up(&mut self) {
        let members: Vec<Member> = self.catching.iter().copied().collect();
        for member in members {
            match self.turn(member) {
                Turn::Waits => {}
                Turn::More => self.wake.notify_one(),
                Turn::Met => self.go_live(member),
                Turn::Lost => self.lose_place(member),
            }
        }
    }

    fn turn(&mut self, (connection, id): Member) -> Turn {
        let Some(connected) = self.connections.get_mut(&connection) else { return Turn::Waits };
        let outbox = Arc::clone(&connected.outbox);
        if !outbox.is_half_empty() {
            outbox.call_when_half_empty();
            return Turn::Waits;
        }
        let Some(subscription) = connected.subscriptions.get_mut(&id) else { return Turn::Waits };
        let State::CatchingUp(catching) = &mut subscription.state else { return Turn::Waits };
        let Some(group) = self.groups.get(&subscription.group) else { return Turn::Waits };
        let (mut batch, mut examined, room) = (Batch::default(), 0, outbox.room());
        let (mut lost, mut met) = (false, true);
        for place in &mut catching.positions {
            let ring = &self.streams[place.stream].partitions[place.partition];
            let cursor = self.cursors[place.stream][place.partition];
            while place.next < cursor && batch.bytes < room && examined < TURN_ENTRIES && !lost {
                self.scratch.clear();
                match ring.read(place.next, READ_ENTRIES, &mut self.scratch) {
                    Read::Below { .. } => lost = true,
                    Read::Upto { next } => {
                        examined += self.scratch.len();
                        place.next = next.min(cursor);
                        let below = self.scratch.iter().filter(|entry| entry.offset < cursor && group.matches(&entry.channel));
                        for entry in below {
                            if batch.bytes >= room {
                                place.next = entry.offset;
                                break;
                            }
                            batch.add(group.number, place.stream, entry, self.shared.limits.json_bytes);
                        }
                    }
                }
            }
            met &= place.next == cursor;
        }
        self.scratch.clear();
        let pieces = batch.finish();
        // the queue was less than half full and only this lane adds results to it; an over-long last result still goes in
        for piece in pieces {
            outbox.append(piece);
        }
        if lost {
            Turn::Lost
        } else if met {
            Turn::Met
        } else if outbox.is_half_empty() && catching.positions.iter().any(|p| p.next < self.cursors[p.stream][p.partition]) {
            Turn::More
        } else {
            outbox.call_when_half_empty();
            Turn::Waits
        }
    }

    /// Position = cursor everywhere, in the same synchronous step: neither gap nor duplicate.
    fn go_live(&mut self, (connection, id): Member) {
        self.catching.remove(&(connection, id));
        let Some(connected) = self.connections.get_mut(&connection) else { return };
        let Some(subscription) = connected.subscriptions.get_mut(&id) else { return };
        let State::CatchingUp(catching) = std::mem::replace(&mut subscription.state, State::Live) else { return };
        self.shared.pulse.caught_up(catching.since.elapsed());
        if catching.told.is_some() {
            connected.outbox.answer(Push::Lag { g: subscription.group, state: "live", behind_ms: 0 }.frame());
        }
        if let Some(group) = self.groups.get_mut(&subscription.group) {
            group.live += 1;
            // the next beacon comes soon
            subscription.beacon_sent = group.sent.saturating_sub(BEACON_RESULTS);
        }
    }

    /// The ring no longer holds what a subscription was about to read.
    fn lose_place(&mut self, member: Member) {
        self.go_live(member);
        self.tell_gap(member, "budget");
    }

    /// Tells every live subscription of a stream that something is lost.
    pub(super) fn lose(&mut self, stream: usize, reason: &'static str) {
        let name = Arc::clone(&self.streams[stream].name);
        let hit = self.groups.values().filter(|group| group.touches(&name)).flat_map(|group| group.members.iter().copied());
        let members: Vec<Member> = hit.collect();
        for (connection, id) in members {
            if self.subscription(connection, id).is_some_and(|subscription| matches!(subscription.state, State::Live)) {
                self.tell_gap((connection, id), reason);
            }
        }
    }

    fn tell_gap(&mut self, (connection, id): Member, reason: &'static str) {
        let Some(subscription) = self.subscription(connection, id) else { return };
        let (group, on_gap) = (subscription.group, subscription.on_gap);
        let next = if on_gap == OnGap::Stop { "stop" } else { "live" };
        self.shared.pulse.gap(reason);
        if let Some(outbox) = self.outbox(connection) {
            outbox.answer(Push::Gap { g: group, gap: Gap { reason, from: None, to: None, next } }.frame());
        }
        if on_gap == OnGap::Stop {
            self.leave(connection, id);
            self.tell_end(connection, id, group, "stopped", false);
        }
    }

    /// Sends a channel's results behind `last` again, from the ring.
    pub(super) fn repair(&mut self, connection: ConnectionId, id: u32, channel: &Pattern, last: i64) {
        let Some(subscription) = self.subscription(connection, id) else { return self.refuse_unknown(connection, id) };
        let (number, live) = (subscription.group, matches!(subscription.state, State::Live));
        let (Some(outbox), Some(group)) = (self.outbox(connection), self.groups.get(&number)) else { return };
        if !group.matches(channel.as_str()) {
            let text = "ch is not a channel of this subscription";
            return outbox.answer(server::err(Some(id), Code::BadField, text));
        }
        let json_bytes = self.shared.limits.json_bytes;
        let (mut batch, mut through, mut newest) = (Batch::default(), last, None);
        for (stream, feed) in self.streams.iter().enumerate().filter(|(_, feed)| channel.touches(&feed.name)) {
            for (partition, ring) in feed.partitions.iter().enumerate() {
                let mut entries = Vec::new();
                ring.read(ring.start().max(0), usize::MAX, &mut entries);
                let cursor = self.cursors[stream][partition];
                for entry in entries.iter().filter(|entry| entry.offset < cursor && *entry.channel == *channel.as_str()) {
                    newest = newest.max(entry.origin.seq);
                    // only a line without holes closes the hole
                    if entry.origin.seq == Some(through + 1) {
                        through += 1;
                        batch.add(number, stream, entry, json_bytes);
                    }
                }
            }
        }
        match newest {
            Some(newest) if newest < last => {
                return outbox.answer(server::err(Some(id), Code::BadField, "last is above the newest seq of the channel"));
            }
            // a subscription that is catching up gets the rest anyway
            Some(newest) if newest == through || !live => {}
            _ => {
                self.shared.pulse.repaired("gap");
                return self.tell_gap((connection, id), "budget");
            }
        }
        self.shared.pulse.repaired("ring");
        if !outbox.offer(&batch.finish()) {
            return outbox.answer(server::err(Some(id), Code::LimitRate, "the connection has no room for the repair"));
        }
        outbox.answer(Push::Repaired { g: number, ch: channel.as_str(), through }.frame());
    }

    /// Beacons, lag, and connections that are gone.
    pub(super) fn tick(&mut self) {
        self.forget_gone();
        let now = Instant::now();
        let beacons: Vec<(u64, Option<String>)> = self.groups.values().map(|group| (group.number, self.as_of(group))).collect();
        for (number, as_of) in beacons {
            let beacon = Push::Pos { g: number, token: None, asof: as_of.as_deref() }.frame();
            let Some(group) = self.groups.get(&number) else { continue };
            for (connection, id) in &group.members {
                let Some(connected) = self.connections.get_mut(connection) else { continue };
                let heartbeat = Duration::from_secs(u64::from(connected.heartbeat_s));
                let Some(subscription) = connected.subscriptions.get_mut(id) else { continue };
                let (sent, quiet) = (group.sent - subscription.beacon_sent, now - subscription.beacon_at);
                let due = sent >= BEACON_RESULTS || (sent > 0 && quiet >= BEACON_BUSY) || quiet >= heartbeat;
                match &mut subscription.state {
                    State::Live if due && connected.outbox.offer(&[Piece::Own(beacon.clone())]) => {
                        (subscription.beacon_at, subscription.beacon_sent) = (now, group.sent);
                    }
                    State::Live => {}
                    State::CatchingUp(catching) => {
                        let lag_due = catching.told.map_or(catching.since + LAG_FIRST, |told| told + LAG_EVERY) <= now;
                        let behind_ms = i64::try_from(catching.since.elapsed().as_millis()).unwrap_or(i64::MAX);
                        let lag = Push::Lag { g: number, state: "catching_up", behind_ms };
                        if lag_due && connected.outbox.offer(&[Piece::Own(lag.frame())]) {
                            catching.told = Some(now);
                        }
                    }
                }
            }
        }
    }

    /// Complete up to this time for a group; `None` while a partition's is not known.
    fn as_of(&self, group: &Group) -> Option<String> {
        let touched = self.streams.iter().filter(|stream| group.touches(&stream.name));
        let times = touched.flat_map(|stream| stream.partitions.iter().map(crate::ring::Partition::as_of_ms));
        times.min().filter(|ms| *ms > 0).map(server::time)
    }

    fn forget_gone(&mut self) {
        let gone: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, connected)| connected.outbox.is_gone()).map(|(id, _)| *id).collect();
        for connection in gone {
            let ids: Vec<u32> =
                self.connections.get(&connection).map_or_else(Vec::new, |c| c.subscriptions.keys().copied().collect());
            for id in ids {
                self.leave(connection, id);
            }
            self.connections.remove(&connection);
        }
    }
}
