//! Broker and store end and are started again, every other time without a chance to put things in order.

use std::time::Duration;

use local_engines::kind::{Kind, Member};
use rustix::process::Signal;

use super::stage::Stage;
use crate::engines::OwnEngines;

/// How long an engine stays away.
const AWAY: Duration = Duration::from_secs(2);

/// Restarts the broker, then the store, and so on, evenly over the strokes of the stage.
pub(crate) async fn bounce(engines: &OwnEngines, stage: &Stage) {
    let count = 2 * stage.plan().bounces;
    for bounce in 0..count {
        stage.await_part(bounce + 1, count + 1).await;
        if stage.is_over() {
            return;
        }
        let kind = if bounce % 2 == 0 { Kind::Kafka } else { Kind::Cassandra };
        let (signal, how) = if bounce % 4 < 2 { (Signal::KILL, "killed") } else { (Signal::TERM, "stopped") };
        engines.end(Member::only(kind), signal).await;
        tokio::time::sleep(AWAY).await;
        engines.mend().await;
        stage.bounced();
        println!("{:>5} s: {} was {how} and runs again", stage.elapsed().as_secs(), kind.name());
    }
}
