//! Engines of the show's own, which may be killed without disturbing another test.

use std::path::Path;
use std::time::Duration;

use local_engines::kind::Kind;
use local_engines::{Engines, Options, Owner, Ports, Want, control};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

use super::stage::Stage;

/// How long an engine may take to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an engine stays away.
const AWAY: Duration = Duration::from_secs(2);

pub(crate) struct Bounced {
    options: Options,
    engines: Engines,
}

impl Bounced {
    /// Starts Kafka, the registry and a CQL node in a folder of their own, which is emptied before.
    pub(crate) async fn start() -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("show-engines");
        if data.exists() {
            std::fs::remove_dir_all(&data).expect("the folder of the last show can be removed");
        }
        std::fs::create_dir_all(&data).expect("a folder can be made");
        let software = local_engines::options::default_folder().join("software");
        std::fs::create_dir_all(&software).expect("the shared folder can be made");
        std::os::unix::fs::symlink(software, data.join("software")).expect("a link can be made");
        let mut options = Options::new(Owner::Tests);
        let port = free_port;
        options.ports = Ports { kafka: port(), controller: port(), registry: port(), cql: port(), storage: port() };
        (options.data, options.linger) = (data, Duration::ZERO);
        let engines = local_engines::start(options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        Self { options, engines }
    }

    pub(crate) fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Restarts the broker, then the store, and so on, evenly over the strokes of the stage.
    pub(crate) async fn bounce(&self, stage: &Stage) {
        let count = 2 * stage.plan().bounces;
        for bounce in 0..count {
            stage.await_part(bounce + 1, count + 1).await;
            if stage.is_over() {
                return;
            }
            let kind = if bounce % 2 == 0 { Kind::Kafka } else { Kind::Cassandra };
            // every other time without a chance to put things in order
            let signal = if bounce % 4 < 2 { Signal::KILL } else { Signal::TERM };
            self.restart(kind, signal).await;
            stage.bounced();
            let how = if signal == Signal::KILL { "killed" } else { "stopped" };
            println!("{:>5} s: {} was {how} and runs again", stage.elapsed().as_secs(), kind.name());
        }
    }

    async fn restart(&self, kind: Kind, signal: Signal) {
        let running = || control::status(&self.options).unwrap().into_iter().find(|status| status.kind == kind);
        let status = running().expect("the engine runs");
        let pid = Pid::from_raw(i32::try_from(status.pid).expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("may end an own engine");
        eventually(PATIENCE, || running().is_none().then_some(())).await;
        tokio::time::sleep(AWAY).await;
        let mut options = self.options.clone();
        options.want = Want { kafka: kind == Kind::Kafka, registry: false, cql: kind == Kind::Cassandra };
        let engine = local_engines::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            [&self.engines.kafka, self.engines.cql.as_ref().unwrap()]
                .iter()
                .any(|known| **known == engine.kafka || Some(*known) == engine.cql.as_ref()),
            "it runs where it ran"
        );
        // this process is registered as a user by the first start already
        drop(engine);
    }
}
