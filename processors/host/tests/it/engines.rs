//! Engines of a test's own, which may be killed without disturbing another one.

use std::path::Path;
use std::time::Duration;

use local_engines::kind::Member;
use local_engines::{Engines, Options, Owner, Ports, control};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

/// How long an engine may take to end.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct OwnEngines {
    options: Options,
    engines: Engines,
}

impl OwnEngines {
    /// Starts engines in a folder of their own, which is emptied before; `change` says which.
    pub(crate) async fn start(folder: &str, change: impl FnOnce(&mut Options)) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
        if data.exists() {
            std::fs::remove_dir_all(&data).expect("the folder of the last run can be removed");
        }
        std::fs::create_dir_all(&data).expect("a folder can be made");
        let software = local_engines::options::default_folder().join("software");
        std::fs::create_dir_all(&software).expect("the shared folder can be made");
        std::os::unix::fs::symlink(software, data.join("software")).expect("a link can be made");
        let mut options = Options::new(Owner::Tests);
        // six in a row for three nodes of Kafka; ports are given out in order
        let [kafka, _, _, _, _, _, registry, cql, storage] = [(); 9].map(|()| free_port());
        options.ports = Ports { kafka, controller: kafka + 1, registry, cql, storage };
        (options.data, options.linger) = (data, Duration::ZERO);
        change(&mut options);
        let engines = local_engines::start(options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        Self { options, engines }
    }

    pub(crate) fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Ends one process and waits until it is gone.
    pub(crate) async fn end(&self, member: Member, signal: Signal) {
        let running = || control::status(&self.options).unwrap().into_iter().find(|status| status.member == member);
        let status = running().expect("the engine runs");
        let pid = Pid::from_raw(i32::try_from(status.pid).expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("may end an own engine");
        eventually(PATIENCE, || running().is_none().then_some(())).await;
    }

    /// Starts again what does not run.
    pub(crate) async fn mend(&self) {
        let engines = local_engines::start(self.options.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let place = |engines: &Engines| (engines.kafka.clone(), engines.registry.clone(), engines.cql.clone());
        assert_eq!(place(&engines), place(&self.engines), "it runs where it ran");
        // this process has been their user since the first start
        drop(engines);
    }
}
