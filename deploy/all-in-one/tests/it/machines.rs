//! The two ways a deployment is put together, as child processes that can be killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// How long a process may take until it is ready.
const READY: Duration = Duration::from_secs(60);

/// A deployment under test.
pub(crate) trait Machine {
    async fn start(&mut self);
    /// Base URL of the write side.
    fn api(&self) -> String;
    /// Base URL of the read side.
    fn reads(&self) -> String;
    /// Kafka's address.
    fn kafka(&self) -> String;
    fn results_topic(&self) -> String;
    /// SIGKILL to whatever processes events, and a new start at once.
    async fn kill_and_restart(&mut self);
    /// SIGTERM, and the end of every process.
    async fn stop(&mut self);
    /// Flags that tell `forebay audit` where the deployment is.
    fn audited(&self) -> Vec<String>;

    /// Runs `forebay audit` with further flags; nothing may be wrong.
    async fn audit(&self, how: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.arg("audit").args(["--stream", "flights"]).args(self.audited()).args(how).stdin(Stdio::null());
        let told = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, error) = (text(&told.stdout), text(&told.stderr));
        assert!(told.status.success(), "forebay audit {how:?}: {}\n{out}\n{error}", told.status);
        assert!(out.contains("clean"), "{out}");
    }
}

/// A child process with the addresses it was told.
struct Process {
    binary: PathBuf,
    arguments: Vec<String>,
    admin: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    fn new(binary: PathBuf, folder: &Path, admin: &str, arguments: &[(&str, &str)]) -> Self {
        let log = folder.join(binary.file_name().unwrap()).with_extension("log");
        let arguments = arguments.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]);
        Self { binary, arguments: arguments.filter(|text| !text.is_empty()).collect(), admin: admin.to_owned(), log, child: None }
    }

    async fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.binary);
        command.args(&self.arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.binary.display())));
        self.ready().await;
    }

    async fn ready(&mut self) {
        let url = format!("http://{}/health/ready", self.admin);
        let begun = Instant::now();
        loop {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{} ended: {}", self.binary.display(), self.told());
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(begun.elapsed() < READY, "{} is not ready: {}", self.binary.display(), self.told());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().await.unwrap();
    }

    async fn terminate(&mut self) {
        let mut child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = tokio::time::timeout(READY, child.wait()).await;
        assert!(ended.is_ok(), "{} does not end: {}", self.binary.display(), self.told());
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", testkit::free_port())
}

/// Folder for state and logs of one deployment, below the target folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Everything in one process, embedded store.
pub(crate) struct AllInOne {
    process: Process,
    public: String,
    kafka: String,
    prefix: String,
}

impl AllInOne {
    pub(crate) async fn new(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    /// The same with further flags.
    pub(crate) async fn with(name: &str, flags: &[(&str, &str)]) -> Self {
        let engines = testkit::engines().await;
        let prefix = format!("{}.", testkit::unique(name));
        let folder = folder(&prefix);
        let (public, admin) = (free_address(), free_address());
        let prefixed = format!("kafka.topic_prefix={prefix}");
        let own = [
            ("--kafka", engines.kafka.as_str()),
            ("--registry", &engines.registry),
            ("--http", &public),
            ("--admin", &admin),
            ("--data", folder.to_str().unwrap()),
            ("--sample", "0"),
            ("--set", &prefixed),
        ];
        let arguments = [&own[..], flags].concat();
        let process = Process::new(env!("CARGO_BIN_EXE_forebay").into(), &folder, &admin, &arguments);
        Self { process, public, kafka: engines.kafka.clone(), prefix }
    }
}

impl AllInOne {
    /// Prefix of its topics.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Machine for AllInOne {
    async fn start(&mut self) {
        self.process.start().await;
    }

    fn api(&self) -> String {
        format!("http://{}", self.public)
    }

    fn reads(&self) -> String {
        self.api()
    }

    fn kafka(&self) -> String {
        self.kafka.clone()
    }

    fn results_topic(&self) -> String {
        format!("{}flights.results", self.prefix)
    }

    async fn kill_and_restart(&mut self) {
        self.process.kill().await;
        self.process.start().await;
    }

    async fn stop(&mut self) {
        self.process.terminate().await;
    }

    fn audited(&self) -> Vec<String> {
        // the same flags; addresses to listen on do no harm, but --sample says something else to an audit
        let pairs = self.process.arguments.chunks(2).filter(|pair| pair[0] != "--sample");
        pairs.flatten().cloned().collect()
    }
}

/// `forebay-ingest`, `forebay-processor` and `forebay-notifier` on the CQL store.
pub(crate) struct Separate {
    ingest: Process,
    processor: Process,
    notifier: Process,
    public: String,
    reads: String,
    kafka: String,
    cql: String,
    prefix: String,
}

impl Separate {
    pub(crate) async fn new(name: &str) -> Self {
        let engines = testkit::engines().await;
        let cql = engines.cql.clone().expect("tests have a CQL node");
        let unique = testkit::unique(name);
        let prefix = format!("{unique}.");
        let folder = folder(&prefix);
        let keyspace = format!("store.cql.keyspace={}", unique.replace('-', "_"));
        let nodes = format!("store.cql.nodes={cql}");
        let registry = format!("registry.url={}", engines.registry);
        let kafka = format!("kafka.bootstrap={}", engines.kafka);
        let (public, reads) = (free_address(), free_address());
        let process = |name: &str, more: &[String]| {
            let admin = free_address();
            let mut settings =
                vec![kafka.clone(), registry.clone(), nodes.clone(), keyspace.clone(), "store.kind=cql".to_owned()];
            settings.push(format!("admin.addr={admin}"));
            settings.extend_from_slice(more);
            let arguments: Vec<_> = settings.iter().map(|setting| ("--set", setting.as_str())).collect();
            Process::new(binary(name), &folder, &admin, &arguments)
        };
        let data = |room: &str| format!("data_dir={}", folder.join(room).display());
        let topics = format!("kafka.topic_prefix={prefix}");
        // both sides tag and open receipts with the same key
        let processor = process("forebay-processor", &[topics.clone(), "topics.create=true".into(), "worker.slot=killed".into()]);
        let ingest = process("forebay-ingest", &[topics.clone(), data("edge"), format!("http.addr={public}")]);
        let notifier = process("forebay-notifier", &[topics, data("edge"), format!("http.addr={reads}")]);
        Self { ingest, processor, notifier, public, reads, kafka: engines.kafka.clone(), cql, prefix }
    }
}

impl Machine for Separate {
    async fn start(&mut self) {
        self.processor.start().await;
        self.ingest.start().await;
        self.notifier.start().await;
    }

    fn api(&self) -> String {
        format!("http://{}", self.public)
    }

    fn reads(&self) -> String {
        format!("http://{}", self.reads)
    }

    fn kafka(&self) -> String {
        self.kafka.clone()
    }

    fn results_topic(&self) -> String {
        format!("{}flights.results", self.prefix)
    }

    async fn kill_and_restart(&mut self) {
        self.processor.kill().await;
        self.processor.start().await;
    }

    async fn stop(&mut self) {
        for process in [&mut self.ingest, &mut self.processor, &mut self.notifier] {
            process.terminate().await;
        }
    }

    fn audited(&self) -> Vec<String> {
        let flags = ["--kafka", &self.kafka, "--cql", &self.cql];
        let keyspace = self.prefix.trim_end_matches('.').replace('-', "_");
        let settings = [
            format!("kafka.topic_prefix={}", self.prefix),
            "store.kind=cql".to_owned(),
            format!("store.cql.keyspace={keyspace}"),
        ];
        let settings = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]);
        flags.into_iter().map(str::to_owned).chain(settings).collect()
    }
}

/// A binary of another room, which `cargo test --workspace` builds beside ours.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_forebay")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run `cargo test --workspace`, or `cargo build --workspace` first", path.display());
    path
}
