//! Sharing engines between processes, and their end, with a real Kafka in a folder of its own. The programs are taken from
//! the folder all test runs share, so nothing is downloaded twice.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use testkit::{Process, eventually};

/// Generous: the machine may be busy with other test binaries.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of engines of a test's own, with ports of its own.
struct Place {
    folder: PathBuf,
    ports: [u16; 2],
}

impl Place {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the folder of the last run can be removed");
        }
        fs::create_dir_all(&folder).expect("a folder can be made");
        let software = local_engines::options::default_folder().join("software");
        fs::create_dir_all(&software).expect("the shared folder can be made");
        std::os::unix::fs::symlink(software, folder.join("software")).expect("a link can be made");
        Self { folder, ports: [(); 2].map(|()| testkit::free_port()) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-engines"));
        command.args(arguments).arg("--data").arg(&self.folder);
        command
    }

    /// `up` with Kafka alone, in the foreground.
    fn up(&self, linger: &str) -> Process {
        let [kafka, controller] = self.ports.map(|port| port.to_string());
        let ports = ["--kafka-port", &kafka, "--controller-port", &controller];
        Process::start(self.command(&[&["up", "--kafka-only", "--linger", linger][..], &ports].concat()))
    }

    fn status(&self) -> String {
        text(&self.command(&["status"]).output().expect("the command runs"))
    }

    /// The process id of the Kafka that runs here.
    fn kafka(&self) -> Option<u32> {
        let status = self.status();
        let words: Vec<_> = status.split_whitespace().collect();
        let place = words.iter().position(|word| *word == "process")?;
        words[place + 1].trim_end_matches(',').parse().ok()
    }

    async fn gone(&self, pid: u32) {
        let gone = || (self.kafka().is_none() && !Path::new(&format!("/proc/{pid}")).exists()).then_some(());
        eventually(PATIENCE, gone).await;
    }
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

#[tokio::test]
async fn processes_share_an_engine_that_outlives_their_deaths_by_the_linger_alone() {
    let place = Place::new("shared");
    let mut owner = place.up("2");
    owner.line(PATIENCE, "Ctrl-C stops them").await;
    let kafka = place.kafka().unwrap();

    let mut second = place.up("2");
    second.line(PATIENCE, "Ctrl-C stops them").await;
    assert!(!second.lines().iter().any(|line| line.contains("starting")), "{:?}", second.lines());

    owner.kill();
    eventually(PATIENCE, || (!place.status().contains(&format!("process {}", owner.pid()))).then_some(())).await;
    // That nothing happens can only be seen by waiting: twice the linger. The second user alone keeps it.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(place.kafka(), Some(kafka));

    second.kill();
    place.gone(kafka).await;
}

#[tokio::test]
async fn an_engine_whose_watcher_was_killed_is_replaced() {
    let place = Place::new("orphan");
    let mut owner = place.up("0");
    owner.line(PATIENCE, "Ctrl-C stops them").await;
    let state = fs::read_to_string(place.folder.join("quickstart/kafka/running.json")).unwrap();
    let watcher = state.split(['{', ':', ',', '}']).find_map(|word| word.parse::<i32>().ok()).unwrap();
    let kafka = place.kafka().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(watcher).unwrap(), rustix::process::Signal::KILL).unwrap();
    owner.kill();

    let second = place.up("0");
    second.line(PATIENCE, "Ctrl-C stops them").await;
    let replaced = place.kafka().unwrap();
    assert_ne!(replaced, kafka);
    let stopped = text(&place.command(&["stop"]).output().unwrap());
    assert!(stopped.contains("kafka stopped"), "{stopped}");
    place.gone(replaced).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_both_ways_out() {
    let place = Place::new("taken");
    let _other = TcpListener::bind(("127.0.0.1", place.ports[0])).unwrap();
    let mut up = place.up("0");
    assert!(!up.wait(PATIENCE).await.success());
    let port = place.ports[0];
    up.line(PATIENCE, &format!("port {port} for kafka is in use")).await;
    let line = up.line(PATIENCE, "--kafka-port N").await;
    assert!(line.contains(&format!("--kafka 127.0.0.1:{port}")), "{line}");
}

#[test]
fn an_address_where_nothing_answers_is_refused_with_a_sentence() {
    let place = Place::new("nobody");
    let output = place.command(&["up", "--kafka", "127.0.0.1:1", "--kafka-only"]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("no kafka answers at 127.0.0.1:1"), "{}", text(&output));
}

#[test]
fn missing_java_and_missing_maven_say_what_to_install() {
    let place = Place::new("bare");
    let tools = place.folder.join("bin");
    fs::create_dir_all(&tools).unwrap();
    let up = |java_says: Option<&str>| {
        if let Some(says) = java_says {
            fs::write(tools.join("java"), format!("#!/bin/sh\necho '{says}' >&2\n")).unwrap();
            let runnable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(tools.join("java"), runnable).unwrap();
        }
        let _replaced = fs::remove_file(place.folder.join("software"));
        let mut command = place.command(&["up", "--kafka-only", "--kafka-port", &place.ports[0].to_string()]);
        command.arg("--controller-port").arg(place.ports[1].to_string()).env("PATH", &tools).env_remove("JAVA_HOME");
        text(&command.output().unwrap())
    };
    let absent = up(None);
    assert!(absent.contains("java is not installed") && absent.contains("apt-get install"), "{absent}");
    let old = up(Some("openjdk version \"11.0.2\" 2019-01-15"));
    assert!(old.contains("version 11.0.2") && old.contains("java 17 or newer"), "{old}");
    let no_maven = up(Some("openjdk version \"17.0.15\" 2025-04-15"));
    assert!(no_maven.contains("maven (mvn) is not installed"), "{no_maven}");
}

#[test]
fn without_a_network_the_first_start_names_the_cause_and_the_command_that_mends_it() {
    let place = Place::new("offline");
    fs::remove_file(place.folder.join("software")).unwrap();
    let [kafka, controller] = place.ports.map(|port| port.to_string());
    let mut command = place.command(&["up", "--kafka-only", "--kafka-port", &kafka, "--controller-port", &controller]);
    let repository = place.folder.join("repository");
    // Nothing was ever downloaded, and the way out is a proxy that does not answer.
    let proxy = "-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1 -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=1";
    command.env("MAVEN_OPTS", format!("-Dmaven.repo.local={} {proxy}", repository.display()));
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let told = text(&output);
    let error: Vec<_> = told.lines().filter(|line| line.starts_with("local-engines: ")).collect();
    let [error] = error[..] else { panic!("not one sentence: {told}") };
    assert!(told.trim_end().ends_with(error), "{told}");
    assert!(error.contains("could not download kafka") && error.contains("Connection refused"), "{error}");
    let (_, by_hand) = error.rsplit_once("needs nothing more: mvn ").unwrap();
    let pom = by_hand.split(' ').skip_while(|word| *word != "-f").nth(1).unwrap();
    assert!(Path::new(pom).is_file(), "{by_hand}");
}
