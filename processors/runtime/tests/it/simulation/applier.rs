//! The applier's hands: many writes in flight, identical retries, watermarks as the ledger says.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use runtime::engine::ledger::Ledger;
use state::{Frame, Shard, StateStore};

use super::hands::Channel;
use super::plan::Mutant;
use super::world::Place;
use super::{polled, turn};

/// Writes in flight.
const IN_FLIGHT: usize = 6;

/// A frame was too old to be applied from memory.
struct TooOld;

type Write = Pin<Box<dyn Future<Output = Result<(Shard, i64), TooOld>>>>;

/// Applies frames until the session is over and everything is acknowledged.
pub(super) async fn run(place: Place, channel: Rc<RefCell<Channel>>) {
    let mut ledger = Ledger::new(place.shared.plan.rules);
    let mut running: Vec<Write> = Vec::new();
    let mut marking: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
    loop {
        turn().await;
        let job = if running.len() < IN_FLIGHT { channel.borrow_mut().jobs.pop_front() } else { None };
        if let Some((committed, at)) = job {
            ledger.begin(&committed);
            running.push(Box::pin(apply(place.clone(), committed.frame, at)));
        }
        if marking.is_none() && ledger.has_marks() {
            let (store, marks) = (place.shared.store.clone(), ledger.take_marks());
            marking = Some(Box::pin(async move { while store.set_marks(&marks).await.is_err() {} }));
        }
        if let Some(write) = &mut marking
            && polled(write.as_mut()).await.is_some()
        {
            marking = None;
        }
        if !running.is_empty() {
            let at = place.below(running.len());
            match polled(running[at].as_mut()).await {
                None => {}
                Some(Ok((shard, n))) => {
                    drop(running.swap_remove(at));
                    channel.borrow_mut().acks.extend(ledger.settle(&shard, n));
                }
                Some(Err(TooOld)) => {
                    place.stop();
                    return;
                }
            }
        }
        let idle = running.is_empty() && marking.is_none() && !ledger.has_marks();
        if idle && channel.borrow().closed && channel.borrow().jobs.is_empty() {
            return;
        }
    }
}

/// The identical write until it is acknowledged (S3), or too old (rule Z).
async fn apply(place: Place, mut frame: Frame, at_us: i64) -> Result<(Shard, i64), TooOld> {
    let age_max = place.shared.settings.limits.apply_age.as_micros() as i64;
    loop {
        if place.boot_us() - at_us > age_max {
            return Err(TooOld);
        }
        if place.lacks(Mutant::WallClock) {
            frame.ts = place.now_us();
        }
        if place.shared.store.apply(&frame).await.is_ok() {
            return Ok((frame.shard.clone(), frame.n));
        }
    }
}
