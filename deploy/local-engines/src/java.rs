//! The Java that runs the engines.

use std::env;
use std::path::PathBuf;

use tokio::process::Command;

use crate::Error;

/// The oldest Java all engines run on.
const MAJOR_MIN: u32 = 17;

/// A usable Java.
#[derive(Debug, Clone)]
pub(crate) struct Java {
    /// Its `java` command.
    pub(crate) command: PathBuf,
    /// Its full version, such as `17.0.15`.
    pub(crate) version: String,
}

/// Finds `java` below `JAVA_HOME`, else on the path, and asks for its version.
pub(crate) async fn find() -> Result<Java, Error> {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let command = home.filter(|java| java.is_file()).unwrap_or_else(|| PathBuf::from("java"));
    let absent = |_| Error::Java { found: "java is not installed".to_owned() };
    let output = Command::new(&command).arg("-version").output().await.map_err(absent)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let Some(version) = version(&text) else {
        return Err(Error::Java { found: format!("{} -version says nothing we understand", command.display()) });
    };
    if major(&version) < MAJOR_MIN {
        return Err(Error::Java { found: format!("{} is version {version}", command.display()) });
    }
    Ok(Java { command, version })
}

/// The version out of `openjdk version "17.0.15" 2025-04-15 …`.
fn version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains(" version \""))?;
    line.split('"').nth(1).map(str::to_owned)
}

/// `17.0.15` is 17; `1.8.0_402`, the old way of counting, is 8.
fn major(version: &str) -> u32 {
    let mut numbers = version.split(|sign: char| !sign.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    match (numbers.next().unwrap_or(0), numbers.next()) {
        (1, Some(minor)) => minor,
        (first, _) => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_counting_versions_are_understood() {
        let text = "Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version \"17.0.15\" 2025-04-15\n";
        assert_eq!(version(text).as_deref(), Some("17.0.15"));
        assert_eq!(["17.0.15", "1.8.0_402", "21-ea", "25"].map(major), [17, 8, 21, 25]);
    }
}
