//! This program again, as a process of its own: so that what it uses is not counted here.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::engines::Engines;
use crate::figures::Figures;
use crate::stream::Shape;

/// A child of this program with these arguments.
pub(crate) fn command(arguments: impl IntoIterator<Item = String>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("the path of this program")?);
    command.args(arguments);
    Ok(command)
}

/// Arguments that say what stream is meant.
pub(crate) fn shape_arguments(shape: &Shape) -> Vec<String> {
    let Shape { shards, keys, size, row_bytes, headers, tracking } = shape;
    let named = |name: &str, value: &dyn ToString| [format!("--{name}"), value.to_string()];
    let numbers = [named("shards", shards), named("keys", keys), named("size", size), named("row-bytes", row_bytes)];
    let mut arguments: Vec<_> = numbers.into_iter().flatten().collect();
    let value = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned()).unwrap_or_default();
    arguments.extend(["--headers".to_owned(), value(headers.to_possible_value())]);
    arguments.extend(["--tracking".to_owned(), value(tracking.to_possible_value())]);
    arguments
}

/// Starts writing events of any key.
pub(crate) fn feed(engines: &Engines, shape: &Shape, prefix: &str, events: Range<u64>, rate: Option<u64>) -> Result<Child> {
    feed_with(engines, shape, prefix, events, rate, &[])
}

/// The same with further arguments.
pub(crate) fn feed_with(
    engines: &Engines,
    shape: &Shape,
    prefix: &str,
    events: Range<u64>,
    rate: Option<u64>,
    more: &[&str],
) -> Result<Child> {
    let mut arguments = vec!["feed".to_owned()];
    arguments.extend(engines.arguments());
    arguments.extend(shape_arguments(shape));
    arguments.extend(["--prefix".to_owned(), prefix.to_owned()]);
    arguments.extend(["--from".to_owned(), events.start.to_string(), "--to".to_owned(), events.end.to_string()]);
    arguments.extend(rate.into_iter().flat_map(|rate| ["--rate".to_owned(), rate.to_string()]));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    command(arguments)?.stdout(Stdio::null()).spawn().context("the feeder")
}

/// Waits for a child that must succeed. A child that has been waited for may be waited for again.
pub(crate) fn ended(child: &mut Child) -> Result<()> {
    let status = child.wait()?;
    ensure!(status.success(), "a child ended with {status}");
    Ok(())
}

/// Runs a command to its end, passes its output on, and returns the figures it printed.
pub(crate) fn figures(mut command: Command) -> Result<Figures> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("{command:?}"))?;
    let mut found = None;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            match Figures::read(&line) {
                Some(figures) => found = Some(figures),
                None => eprintln!("{line}"),
            }
        }
    }
    ended(&mut child)?;
    found.context("a run that printed no figures")
}
