//! Effects at work: what the executor and the targets of a worker do.

use std::cell::RefCell;
use std::rc::Rc;

use runtime::effects::{Error, LEASE_MARGIN};
use runtime::engine::{Attempt, Ended};
use state::AgendaKey;

use super::hands::Channel;
use super::turn;
use super::world::Place;

/// One call of a target.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) shard: i32,
    /// Its item.
    pub(super) key: AgendaKey,
    pub(super) attempt: i32,
    /// When it was made, in ticks of the cluster.
    pub(super) at: u64,
}

/// Makes an attempt. What it brought is heard by its session, if that is not over.
pub(super) async fn attempt(place: Place, channel: Rc<RefCell<Channel>>, assignment: u64, attempt: Attempt) {
    let Attempt { shard, key, subject, attempt, lease, .. } = attempt;
    let began = place.boot_us();
    let number = place.shared.call(Call { shard, key: key.clone(), attempt, at: place.shared.kafka.borrow().ticks() });
    place.tell(|| format!("calls the target of {} for the {attempt}. time, as call {number}", key.id));
    let hangs = place.chance(place.faults().hang);
    let within = lease.saturating_sub(LEASE_MARGIN).as_micros() as i64;
    let outcome = loop {
        turn().await;
        if place.boot_us() - began > within {
            break Err(Error::Retry("no answer".into()));
        }
        if !hangs && place.chance(0.2) {
            break if place.chance(place.faults().refused) {
                Err(if place.chance(0.7) { Error::Retry("not now".into()) } else { Error::Terminal("never".into()) })
            } else {
                Ok(number.to_string().into())
            };
        }
    };
    place.tell(|| format!("call {number} ends: {outcome:?}"));
    channel.borrow_mut().ended.push(Ended { assignment, shard, key, subject, outcome });
}
