//! The machine that it runs on, and what a process costs it. Touches /proc and runs git.

use anyhow::{Context as _, Result};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// One line that says where and when figures come from, and whether anything else ran there.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let model = first_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = kibibytes("/proc/meminfo", "MemTotal").map_or_else(|_| "unknown".to_owned(), |kib| format!("{} GiB", (kib + (1 << 19)) >> 20));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "; a build WITHOUT optimisations, whose figures say nothing" } else { "" };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{cores} cores of {model}, {memory} of memory, Linux {}, load average {} at the start; {}, commit {}{build}",
        kernel.trim(),
        load.split_whitespace().next().unwrap_or("unknown"),
        jiff::Zoned::now().strftime("%F %H:%M %Z"),
        commit().unwrap_or_else(|| "unknown".to_owned()),
    )
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(weir_e2e::repository()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = if git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty() { "" } else { " with changes" };
    Some(format!("{}{changed}", git(&["rev-parse", "--short", "HEAD"])?))
}

fn first_of(file: &str, field: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kibibytes(file: &str, field: &str) -> Result<u64> {
    let value = first_of(file, field).with_context(|| format!("{file} has no {field}"))?;
    let number = value.split_whitespace().next().unwrap_or_default();
    number.parse().with_context(|| format!("{field} of {file} is {value}"))
}

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Bytes that are resident now.
    pub(crate) resident: u64,
    /// Most bytes that ever were.
    pub(crate) peak: u64,
}

impl Memory {
    /// Of a process of this machine; `self` for this one.
    pub(crate) fn of(process: &str) -> Result<Self> {
        let file = format!("/proc/{process}/status");
        Ok(Self { resident: kibibytes(&file, "VmRSS")? << 10, peak: kibibytes(&file, "VmHWM")? << 10 })
    }
}

/// Processor time that a process has used, all its threads together. Linux counts it in 1/100 s.
pub(crate) fn processor_time(process: u32) -> Result<Duration> {
    let file = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&file).with_context(|| format!("{file} can't be read: has the process ended?"))?;
    // The program's name, in parentheses, may hold anything.
    let mut fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let (user, system) = next().zip(next()).with_context(|| format!("{file} is not as expected: {text}"))?;
    Ok(Duration::from_millis((user + system) * 10))
}

/// Bytes as megabytes (10⁶).
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
