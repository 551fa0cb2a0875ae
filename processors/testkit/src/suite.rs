//! Runs scenarios as cargo tests, one after another. Called by the command `chaos`.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::scenarios::{ALL, Proof, Scenario};

/// Lines of a failed test's errors that are shown.
const ERRORS_MAX: usize = 60;

/// How to run them.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Each as long as it takes.
    pub long: bool,
    /// With an optimised build.
    pub release: bool,
}

/// What became of one scenario.
struct Outcome {
    scenario: &'static Scenario,
    /// Tests that ran, and how many of them failed.
    ran: usize,
    failed: usize,
    took: Duration,
}

/// The scenarios of these names; none named = all.
///
/// # Errors
/// The first name that is none.
pub fn choose(names: &[String]) -> Result<Vec<&'static Scenario>, String> {
    let known = |name: &&String| !ALL.iter().any(|scenario| scenario.name.eq_ignore_ascii_case(name));
    if let Some(unknown) = names.iter().find(known) {
        return Err(unknown.clone());
    }
    let wanted = |scenario: &&Scenario| names.is_empty() || names.iter().any(|name| scenario.name.eq_ignore_ascii_case(name));
    Ok(ALL.iter().filter(wanted).collect())
}

/// Prints the scenarios with their claims and tests.
pub fn list(scenarios: &[&Scenario]) {
    for Scenario { name, claim, proofs, missing } in scenarios {
        println!("{name:<5} {claim}");
        for proof in *proofs {
            let (file, function) = proof.place();
            let length = match (proof.only_long, proof.long) {
                (true, _) => " (only with --long)",
                (false, []) => "",
                (false, _) => " (longer with --long)",
            };
            println!("      {file} {function}{length}");
        }
        if !missing.is_empty() {
            println!("      not tested: {missing}");
        }
    }
}

/// Runs them and prints a report; true when every test passed.
///
/// # Errors
/// Cargo cannot be called, or the tests cannot be built.
pub fn run(scenarios: &[&'static Scenario], options: Options) -> io::Result<bool> {
    build(scenarios, options)?;
    let begun = Instant::now();
    let (mut outcomes, mut total) = (Vec::new(), Account::new("total"));
    for (number, scenario) in scenarios.iter().enumerate() {
        let scenario_begun = Instant::now();
        let proofs = scenario.proofs.iter().filter(|proof| options.long || !proof.only_long);
        let (mut ran, mut failed) = (0, 0);
        for proof in proofs {
            let (_, name) = proof.place();
            println!("[{}/{}] {:>5} s  {} {name}", number + 1, scenarios.len(), begun.elapsed().as_secs(), scenario.name);
            let passed = prove(proof, options, &mut total)?;
            ran += 1;
            failed += usize::from(!passed);
        }
        outcomes.push(Outcome { scenario, ran, failed, took: scenario_begun.elapsed() });
    }
    report(&outcomes, &total, begun.elapsed());
    Ok(outcomes.iter().all(|outcome| outcome.failed == 0))
}

/// Builds all tests before the clock runs.
fn build(scenarios: &[&Scenario], options: Options) -> io::Result<()> {
    let folders: BTreeSet<_> = scenarios.iter().flat_map(|scenario| scenario.proofs).map(|proof| proof.folder).collect();
    for folder in folders {
        println!("building the tests of {folder}");
        let status = cargo(folder, options).arg("--no-run").status()?;
        if !status.success() {
            return Err(io::Error::other(format!("the tests of {folder} do not build")));
        }
    }
    Ok(())
}

fn cargo(folder: &str, options: Options) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "--test", "it", "--manifest-path"]).arg(root().join(folder).join("Cargo.toml"));
    if options.release {
        cargo.arg("--release");
    }
    cargo
}

/// Runs one test, hands its lines on and takes the accounts out of them.
fn prove(proof: &Proof, options: Options, total: &mut Account) -> io::Result<bool> {
    let mut cargo = cargo(proof.folder, options);
    if options.long {
        cargo.envs(proof.long.iter().copied());
    }
    cargo.args(["--", "--exact", proof.test, "--nocapture"]).stdin(Stdio::null());
    let mut child = cargo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let errors = child.stderr.take().map(|errors| thread::spawn(move || last_lines(errors)));
    let (begun, mut ran) = (Instant::now(), false);
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        ran |= line.contains("running 1 test");
        if let Some(account) = Account::parse(&line) {
            total.add(&account);
        }
        if !line.trim().is_empty() && !line.starts_with("running ") && !line.starts_with("test result") {
            println!("        {line}");
        }
    }
    let passed = child.wait()?.success() && ran;
    println!("        {} after {} s", if passed { "passed" } else { "FAILED" }, begun.elapsed().as_secs());
    let errors = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
    if !passed {
        errors.iter().for_each(|line| println!("        {line}"));
    }
    Ok(passed)
}

fn last_lines(pipe: impl Read) -> Vec<String> {
    let mut lines = std::collections::VecDeque::new();
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        if lines.len() == ERRORS_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    lines.into()
}

fn report(outcomes: &[Outcome], total: &Account, took: Duration) {
    println!("\nscenario  tests  result      seconds  claim");
    for Outcome { scenario, ran, failed, took } in outcomes {
        let result = match (ran, failed) {
            (0, _) => "not run",
            (_, 0) => "passed",
            _ => "FAILED",
        };
        println!("{:<8}  {ran:>5}  {result:<10}  {:>7}  {}", scenario.name, took.as_secs(), scenario.claim);
        if !scenario.missing.is_empty() {
            println!("{:<8}  not tested: {}", "", scenario.missing);
        }
    }
    let failed: usize = outcomes.iter().map(|outcome| outcome.failed).sum();
    let ran: usize = outcomes.iter().map(|outcome| outcome.ran).sum();
    println!("\n{ran} tests, {failed} failed, {} s", took.as_secs());
    for (figure, count) in &total.figures {
        println!("  {figure:<16}{count:>12}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
