//! The machine a figure was measured on, and the CPU time of processes. Linux only.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::str::FromStr;
use std::time::Duration;

/// Clock ticks per second in `/proc/<pid>/stat`; fixed in the kernel's interface (proc(5), `USER_HZ`) on the platforms we run on.
const TICKS_PER_SECOND: u64 = 100;

/// Why a process could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such process, or it ended.
    #[error("cannot read the CPU time of process {pid}: {source}")]
    Gone {
        /// The process.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
    /// The kernel's answer has another shape.
    #[error("cannot understand {text:?} as the stat or status of a process")]
    Shape {
        /// What was read.
        text: String,
    },
    /// A `--pid` value has another shape.
    #[error("{text:?} is not NAME=PID, for example ingest=4711")]
    Flag {
        /// What was given.
        text: String,
    },
}

/// A process to watch, given as `name=pid`.
#[derive(Debug, Clone)]
pub struct Process {
    /// The name in the table.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

impl FromStr for Process {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Flag { text: text.to_owned() };
        let (name, pid) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Self { name: name.to_owned(), pid: pid.parse().map_err(|_| wrong())? })
    }
}

/// User plus system time of a process since it started, its ended children not counted; resolution 10 ms.
///
/// # Errors
/// The process is gone, or the kernel answers in another shape.
pub fn cpu_time(pid: u32) -> Result<Duration, Error> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|source| Error::Gone { pid, source })?;
    cpu_time_of(&text).ok_or(Error::Shape { text })
}

/// Fields 14 and 15 of proc(5); the name in field 2 may hold spaces, so counting starts behind its last bracket.
fn cpu_time_of(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// CPU times of the threads of this process by thread id; a thread that ends meanwhile is left out.
///
/// # Errors
/// The kernel does not list them.
pub fn thread_times() -> Result<BTreeMap<u32, Duration>, Error> {
    let pid = std::process::id();
    let tasks = fs::read_dir("/proc/self/task").map_err(|source| Error::Gone { pid, source })?;
    let time = |id: u32| Some((id, cpu_time_of(&fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?)?));
    Ok(tasks.flatten().filter_map(|task| time(task.file_name().to_str()?.parse().ok()?)).collect())
}

/// Memory of a process, MiB.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident now.
    pub now_mib: u64,
    /// The most that was ever resident.
    pub peak_mib: u64,
}

/// Resident memory of a process.
///
/// # Errors
/// The process is gone, or the kernel answers in another shape.
pub fn memory(pid: u32) -> Result<Memory, Error> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|source| Error::Gone { pid, source })?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    match (field("VmRSS"), field("VmHWM")) {
        (Some(now_mib), Some(peak_mib)) => Ok(Memory { now_mib, peak_mib }),
        _ => Err(Error::Shape { text }),
    }
}

/// Where and when: printed above every table, so that no figure travels without it.
#[derive(Debug)]
pub struct Shape {
    date: String,
    cores: usize,
    cpu: String,
    memory_mib: u64,
    kernel: String,
    load: String,
}

impl Shape {
    /// Looks at this machine now. What cannot be read says `unknown`.
    #[must_use]
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            memory_mib: memory.unwrap_or_default() / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, cores, cpu, memory_mib, kernel, load } = self;
        write!(out, "{date} · {cores} cores ({cpu}) · {memory_mib} MiB · Linux {kernel} · load before: {load}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_time_of(stat), Some(Duration::from_secs(4)));
        assert_eq!(cpu_time_of("nonsense"), None);
    }

    #[test]
    fn this_process_has_a_cpu_time_and_the_machine_a_shape() {
        assert!(cpu_time(std::process::id()).is_ok());
        assert!(!thread_times().unwrap().is_empty());
        assert!(memory(std::process::id()).unwrap().peak_mib > 0);
        assert!(Shape::now().to_string().contains("cores"));
    }

    #[test]
    fn a_process_is_given_by_name_and_pid() {
        let process: Process = "ingest=4711".parse().unwrap();
        assert_eq!((process.name.as_str(), process.pid), ("ingest", 4711));
        assert!("ingest".parse::<Process>().is_err());
    }
}
