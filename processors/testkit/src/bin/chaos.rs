//! `chaos`: breaks things in every way there is a scenario for, and tells what held. `docs/chaos.md` is its page.

use std::process::ExitCode;

use clap::Parser;
use testkit::suite::{self, Options};

/// Runs the chaos suite, test by test, and ends with a report.
///
/// Needs the sources: it calls cargo. Engines are those of the tests: started here, or named by FOREBAY_TEST_KAFKA,
/// FOREBAY_TEST_REGISTRY and FOREBAY_TEST_CQL.
#[derive(Parser)]
#[command(name = "chaos", version, after_help = "Example: cargo run -p testkit --bin chaos -- T1 T3 --long")]
struct Arguments {
    /// Scenarios to run (T1 to T24, show); none = all.
    scenarios: Vec<String>,
    /// Run each as long as it takes: ten times the rounds, and scenarios that are not part of CI.
    #[arg(long)]
    long: bool,
    /// Build with optimisation.
    #[arg(long)]
    release: bool,
    /// Show what there is, and end.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let Arguments { scenarios, long, release, list } = Arguments::parse();
    let chosen = match suite::choose(&scenarios) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            eprintln!("chaos: no scenario {unknown}; --list shows them");
            return ExitCode::FAILURE;
        }
    };
    if list {
        suite::list(&chosen);
        return ExitCode::SUCCESS;
    }
    match suite::run(&chosen, Options { long, release }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}
