//! `flights-3m FILE.parquet FILE.csv`: three million departures as lines of text. `fetch.sh` calls it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Row, RowAccessor};

fn main() -> Result<()> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [source, target] = paths.as_slice() else { bail!("say which file to read and which to write: IN.parquet OUT.csv") };
    let reader = File::open(source).with_context(|| source.display().to_string())?;
    let reader = SerializedFileReader::new(reader)?;
    // under another name until it is whole
    let fresh = target.with_extension("new");
    let mut lines = BufWriter::new(File::create(&fresh).with_context(|| fresh.display().to_string())?);
    let mut count = 0_u64;
    for row in reader.get_row_iter(None)? {
        write_line(&row?, &mut lines)?;
        count += 1;
    }
    lines.into_inner()?.sync_all()?;
    std::fs::rename(&fresh, target)?;
    println!("{count} departures in {}", target.display());
    Ok(())
}

/// Departure (ms since the Unix epoch, UTC), delay (minutes), distance (miles), origin, destination.
fn write_line(row: &Row, lines: &mut impl Write) -> Result<()> {
    let departed_at_ms = row.get_timestamp_micros(0)? / 1_000;
    let (delay, distance) = (row.get_long(1)?, row.get_long(2)?);
    Ok(writeln!(lines, "{departed_at_ms},{delay},{distance},{},{}", row.get_string(3)?, row.get_string(4)?)?)
}
