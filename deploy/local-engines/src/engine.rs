//! One engine: attach to it where it runs, else start it under its watcher and wait until it answers.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::folder::{Folder, Running, User, lock};
use crate::java::{self, Java};
use crate::kind::{Kind, Member, Port};
use crate::options::{Options, Owner};
use crate::software::Software;
use crate::{Error, cassandra, kafka, ready, registry};

const WATCH: &str = include_str!("watch.sh");

/// How long an engine may take from its start to its first answer, on a busy machine.
const START_MAX: Duration = Duration::from_secs(120);

/// How long an engine given by its address may take to answer.
const GIVEN_MAX: Duration = Duration::from_secs(10);

/// How long one look at a starting Kafka may take.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// How often to ask a starting engine.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Flags of every engine: quick to start and small, which matters more here than speed after minutes.
const JVM: [&str; 4] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto"];

/// Where one engine is to run.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) owner: Owner,
    pub(crate) member: Member,
    /// Ports of all controllers, node by node; one without others.
    pub(crate) controllers: Vec<u16>,
    /// See [`Options::kafka_advertised`].
    pub(crate) advertised: Option<u16>,
    pub(crate) folder: Folder,
    pub(crate) software: Software,
    pub(crate) java: Java,
    ports: Vec<u16>,
}

/// How to run one engine.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Arguments of `java`.
    pub(crate) arguments: Vec<String>,
    /// The signal that ends it.
    pub(crate) signal: &'static str,
}

/// A running engine this process is a user of.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Where its clients go.
    pub(crate) port: u16,
    pub(crate) user: User,
}

impl Site {
    /// The n-th of `Kind::ports`.
    pub(crate) fn port(&self, n: usize) -> u16 {
        self.ports.get(n).copied().unwrap_or_default()
    }
}

/// The folder of one engine of this owner.
pub(crate) fn folder(options: &Options, member: Member) -> Result<Folder, Error> {
    Folder::create(options.data.join(options.owner.folder()).join(member.name()))
}

/// The same, unless it is that of a node there never was.
pub(crate) fn known_folder(options: &Options, member: Member) -> Result<Option<Folder>, Error> {
    let exists = options.data.join(options.owner.folder()).join(member.name()).is_dir();
    if member.node > 0 && !exists { Ok(None) } else { folder(options, member).map(Some) }
}

/// Checks an engine that was given by its address.
pub(crate) async fn check(kind: Kind, address: &str) -> Result<(), Error> {
    let answered = match kind {
        Kind::Kafka => ready::kafka(address, GIVEN_MAX).await,
        Kind::Registry => ready::registry(address).await,
        Kind::Cassandra => ready::cql(address).await,
    };
    answered.map_err(|detail| Error::NoAnswer { engine: kind.name(), address: address.to_owned(), detail })
}

/// Attaches to the engine that runs in this owner's folder, or starts it there.
pub(crate) async fn obtain(options: &Options, member: Member) -> Result<Engine, Error> {
    let (folder, kind) = (folder(options, member)?, member.kind);
    let say = |text: String| (options.progress)(&format!("{}: {text}", member.name()));
    // Before the look at what runs: from here on its watcher keeps it.
    let user = folder.register(options.linger)?;
    let _lock = lock(&folder.path.join("lock"), || say("waiting for another process that is starting it".to_owned())).await?;
    if let Some(running) = attachable(&folder, &say).await {
        wait_answering(kind, &folder, &running.ports, || running.engine.lives()).await?;
        folder.set_ready()?;
        return Ok(Engine { port: client_port(&running.ports), user });
    }
    let begun = Instant::now();
    let ports = start(options, member, folder.clone(), &say).await?;
    let used = folder.running().and_then(|running| running.engine.cpu_seconds());
    let used = used.map_or(String::new(), |seconds| format!(", {seconds:.1} CPU s"));
    say(format!("ready on port {} after {:.1} s{used}", client_port(&ports), begun.elapsed().as_secs_f64()));
    Ok(Engine { port: client_port(&ports), user })
}

async fn start(options: &Options, member: Member, folder: Folder, say: &impl Fn(String)) -> Result<Vec<u16>, Error> {
    let kind = member.kind;
    let java = java::find().await?;
    let software = Software::new(&options.data, options.progress)?;
    let ports = free_ports(options.owner, member, &member.ports(options))?;
    let controllers = match member.node {
        0 => ports.iter().skip(1).copied().collect(),
        _ => Member::kafka(options.kafka_nodes).iter().map(|node| node.kafka_ports(&options.ports).1).collect(),
    };
    let advertised = options.kafka_advertised.get(usize::from(member.node.saturating_sub(1))).copied();
    let site = Site { owner: options.owner, member, controllers, advertised, folder, software, java, ports };
    let plan = match kind {
        Kind::Kafka => kafka::plan(&site).await?,
        Kind::Registry => registry::plan(&site, &kafka_address(options)?).await?,
        Kind::Cassandra => cassandra::plan(&site).await?,
    };
    let archive = site.software.archive(kind, &site.java.version);
    say(format!("starting {} on port {}", kind.version(), site.port(0)));
    loop {
        let archived = archive.is_file();
        let mut watcher = launch(&site, &plan, &archive, options.linger)?;
        let watched = || matches!(watcher.try_wait(), Ok(None));
        match wait_answering(kind, &site.folder, &site.ports, watched).await {
            Ok(()) => break,
            Err(Error::Died { .. }) if archived => {
                // The archive only saves time: without it the start must succeed.
                std::fs::remove_file(&archive).map_err(|source| Error::Folder { path: archive.clone(), source })?;
            }
            Err(error) => return Err(error),
        }
    }
    site.folder.set_ready()?;
    Ok(site.ports)
}

/// The engine that runs here, after one that is just ending has ended and what a dead watcher left is cleared away.
async fn attachable(folder: &Folder, say: &impl Fn(String)) -> Option<Running> {
    let mut told = false;
    loop {
        let running = folder.running();
        // Looked at twice, as a stop may be called off between two looks.
        let Some(state) = running.clone().or_else(|| folder.stopping()).or_else(|| folder.running()) else {
            folder.forget();
            return None;
        };
        match (state.watcher.lives(), state.engine.lives()) {
            (true, true) if running.is_some() => return running,
            (true, _) => {}
            // Without its watcher nobody would ever stop it.
            (false, true) => state.engine.signal(Signal::KILL),
            (false, false) => {
                folder.forget();
                return None;
            }
        }
        if !told {
            say("waiting for the one before to stop".to_owned());
            told = true;
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Where the owner's Kafka is or will be.
fn kafka_address(options: &Options) -> Result<String, Error> {
    if options.kafka_nodes > 1 {
        return Ok(Kind::Kafka.address(options.ports.kafka));
    }
    let running = folder(options, Member::only(Kind::Kafka))?.running();
    let port = running.map_or(options.ports.kafka, |running| client_port(&running.ports));
    Ok(options.kafka.clone().unwrap_or_else(|| Kind::Kafka.address(port)))
}

fn client_port(ports: &[u16]) -> u16 {
    ports.first().copied().unwrap_or_default()
}

/// How many ports above a taken one tests try. All stay below the range from which the kernel serves outgoing
/// connections: one of those could take a port between this check and the engine's own bind.
const TRIED_PORTS: u16 = 500;

/// The wanted ports where they are free. Tests take the next free one instead of a taken one, as nobody has to know it.
/// Nodes of several know each other by their ports.
fn free_ports(owner: Owner, member: Member, wanted: &[Port]) -> Result<Vec<u16>, Error> {
    let kind = member.kind;
    // All stay bound until all are chosen: no port is chosen twice.
    let mut bound = Vec::new();
    for port in wanted {
        let more = if owner == Owner::Tests && member.node == 0 { TRIED_PORTS } else { 0 };
        let tried = port.number..=port.number.saturating_add(more);
        let listener = tried.into_iter().find_map(|number| TcpListener::bind(("127.0.0.1", number)).ok());
        bound.push(listener.ok_or_else(|| Error::PortInUse {
            engine: kind.name(),
            port: port.number,
            flag: port.flag,
            instead: kind.instead(port.number),
        })?);
    }
    Ok(bound.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.port()).collect())
}

/// Starts the watcher, which starts the engine. Both are a process group of their own: a Ctrl-C in the owner's terminal
/// does not reach them, and a kill -9 of the owner leaves the watcher to clean up.
fn launch(site: &Site, plan: &Plan, archive: &Path, linger: Duration) -> Result<Child, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Folder { path, source }
    };
    let log = site.folder.log();
    let out = File::create(&log).map_err(failed(&log))?;
    let copy = out.try_clone().map_err(failed(&log))?;
    let folder = &site.folder.path;
    let script = folder.join("watch.sh");
    crate::folder::write(&script, WATCH)?;
    let ports = serde_json::to_string(&site.ports).unwrap_or_default();
    let mut watcher = Command::new("sh");
    watcher.arg(&script).arg(folder).arg(ports);
    if archive.is_file() {
        watcher.arg(plan.signal).arg(linger.as_secs().to_string()).arg("-").arg(&site.java.command);
        watcher.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
    } else {
        // The archive is written by an orderly end only.
        watcher.arg("TERM").arg(linger.as_secs().to_string()).arg(archive).arg(&site.java.command);
        watcher.arg(format!("-XX:ArchiveClassesAtExit={}", folder.join("classes.jsa").display()));
    }
    watcher.args(JVM).args(&plan.arguments).process_group(0);
    watcher.stdin(Stdio::null()).stdout(out).stderr(copy);
    watcher.spawn().map_err(failed(&script))
}

/// Waits until the engine answers; ends early when it does not live any more.
async fn wait_answering(kind: Kind, folder: &Folder, ports: &[u16], mut lives: impl FnMut() -> bool) -> Result<(), Error> {
    let begun = Instant::now();
    let port = client_port(ports);
    loop {
        if !lives() {
            return Err(died(kind, folder));
        }
        if answers(kind, port, folder.is_ready()).await.is_ok() {
            return Ok(());
        }
        if begun.elapsed() > START_MAX {
            let (log, tail) = (folder.log(), folder.tail());
            return Err(Error::NotReady { engine: kind.name(), seconds: START_MAX.as_secs(), log, tail });
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Why the engine ended while it started, as its log tells it.
fn died(kind: Kind, folder: &Folder) -> Error {
    let log = std::fs::read(folder.log()).unwrap_or_default();
    match kafka::newer_format(&String::from_utf8_lossy(&log)) {
        Some((found, highest)) if kind == Kind::Kafka => {
            let (engine, version) = (kind.name(), kind.version());
            Error::NewerFolder { engine, version, folder: kafka::data(folder), found, highest }
        }
        _ => Error::Died { engine: kind.name(), log: folder.log(), tail: folder.tail() },
    }
}

async fn answers(kind: Kind, port: u16, was_ready: bool) -> Result<(), String> {
    let address = kind.address(port);
    match kind {
        // A broker that could make topics before still can when its port is open.
        Kind::Kafka if was_ready => ready::connect(&address).await.map(drop),
        Kind::Kafka => ready::kafka(&address, LOOK_MAX).await,
        Kind::Registry => ready::registry(&address).await,
        Kind::Cassandra => ready::cql(&address).await,
    }
}
