//! The quick start and the command `local-engines` are two doors to the same engines.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::Process;

use crate::machines::binary;
use crate::start::told;

const PATIENCE: Duration = Duration::from_secs(120);

/// Listens nowhere anybody else does.
const PUBLIC: [&str; 6] = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--sample", "0"];

/// A build of one's own: both programs in a folder that cargo would have marked, and the engines' programs shared, so that
/// nothing is downloaded twice.
struct Build {
    folder: tempfile::TempDir,
}

impl Build {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::write(folder.path().join("CACHEDIR.TAG"), "").unwrap();
        let software = local_engines::options::default_folder().join("software");
        fs::create_dir_all(&software).unwrap();
        for made in ["debug", "engines", "elsewhere", "nowhere"] {
            fs::create_dir(folder.path().join(made)).unwrap();
        }
        std::os::unix::fs::symlink(software, folder.path().join("engines/software")).unwrap();
        for name in ["forebay", "local-engines"] {
            fs::hard_link(binary(name), folder.path().join("debug").join(name)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str, working_folder: &str) -> Command {
        let mut command = Command::new(self.path("debug").join(program));
        command.current_dir(self.path(working_folder));
        command
    }
}

#[tokio::test]
async fn forebay_finds_the_engines_of_local_engines_from_any_working_folder() {
    let registry = &testkit::engines().await.registry;
    let build = Build::new();
    let [kafka, controller] = [(); 2].map(|()| testkit::free_port().to_string());
    let mut up = build.command("local-engines", "elsewhere");
    up.args(["up", "--kafka-only", "--kafka-port", &kafka, "--controller-port", &controller]);
    let engines = Process::start(up);
    engines.line(PATIENCE, "Ctrl-C stops them").await;

    let mut forebay = build.command("forebay", "nowhere");
    forebay.args(PUBLIC).args(["--registry", registry]);
    let mut forebay = Process::start(forebay);
    forebay.line(PATIENCE, "Forebay runs").await;

    let started = forebay.lines().into_iter().find(|line| line.contains("kafka: starting"));
    assert_eq!(started, None, "it starts no second Kafka");
    let status = build.command("local-engines", "nowhere").arg("status").output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(&format!("process {}", forebay.pid())), "{status}");
    assert!(build.path("forebay/state").is_dir(), "state lies beside the engines");
    assert!(fs::read_dir(build.path("nowhere")).unwrap().next().is_none(), "the working folder stays empty");
    forebay.terminate(PATIENCE).await;
}

#[tokio::test]
async fn a_taken_engine_port_is_named_with_flags_that_forebay_has() {
    let given = testkit::engines().await;
    let folder = tempfile::tempdir().unwrap();
    let dir = format!("engines.dir={}", folder.path().display());
    // another program may be faster
    let taken = std::iter::repeat_with(|| TcpListener::bind(("127.0.0.1", testkit::free_port()))).find_map(Result::ok).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let free = testkit::free_port().to_string();
    let (kafka, registry) = (["--kafka", &given.kafka], ["--registry", &given.registry]);
    let cql = [&kafka[..], &registry, &["--set", "store.kind=cql"]].concat();
    let cases: [(&str, &[&str]); 5] = [
        ("--kafka-port", &registry),
        ("--controller-port", &[&registry[..], &["--kafka-port", &free]].concat()),
        ("--registry-port", &kafka),
        ("--cql-port", &cql),
        ("--storage-port", &[&cql[..], &["--cql-port", &free]].concat()),
    ];
    for (flag, more) in cases {
        let text = told(&[&PUBLIC[..], more, &["--set", &dir, flag, &port]].concat()).await;
        assert!(text.contains(&format!("port {port} for ")) && text.contains(&format!("({flag} N)")), "{text}");
        // the other way out must be one too
        let (_, instead) = text.trim().rsplit_once("use what runs there: ").unwrap();
        let mut forebay = Command::new(Path::new(env!("CARGO_BIN_EXE_forebay")));
        let dumped = forebay.args(instead.split(' ')).arg("--dump-config").output().unwrap();
        let address = instead.split(' ').nth(1).unwrap();
        assert!(String::from_utf8(dumped.stdout).unwrap().contains(&format!("\"{address}\"")), "{instead}");
    }
}
