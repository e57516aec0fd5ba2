//! Pods from the outside: their containers are processes of this machine. Needs root.
//!
//! The kubelet's cgroups carry a pod's uid, so a process of it is found without asking its node.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::process::Command;

/// A process of a pod, as the machine numbers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its program, at most 15 characters.
    pub program: String,
}

/// All processes of a pod.
///
/// # Errors
/// /proc can't be read.
pub fn processes(pod_uid: &str) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        // Depending on the driver the uid stands with dashes or with underscores.
        if read("cgroup").replace('_', "-").contains(pod_uid) {
            found.push(Process { pid, program: read("comm").trim().to_owned() });
        }
    }
    Ok(found)
}

/// Sends a signal (`STOP`, `CONT`, `KILL`) to each process of a pod whose program begins with `program`.
///
/// # Errors
/// There is no such process.
pub fn signal(pod_uid: &str, program: &str, signal: &str) -> Result<()> {
    let all = processes(pod_uid)?;
    let meant: Vec<String> = all.iter().filter(|process| process.program.starts_with(program)).map(|process| process.pid.to_string()).collect();
    ensure!(!meant.is_empty(), "pod {pod_uid} has no process {program}, only {all:?}");
    run(Command::new("kill").arg(format!("-{signal}")).args(&meant))
}

/// Closes a TCP port of a pod to everyone but the pod itself, or opens it again. What is sent to a
/// closed port is dropped without an answer.
///
/// # Errors
/// The pod has no process, or iptables fails.
pub fn close_port(pod_uid: &str, port: u16, closed: bool) -> Result<()> {
    let pid = processes(pod_uid)?.first().with_context(|| format!("pod {pod_uid} has no process"))?.pid;
    let verb = if closed { "-I" } else { "-D" };
    run(Command::new("nsenter").args([
        "-t",
        &pid.to_string(),
        "-n",
        "iptables",
        "-w",
        verb,
        "INPUT",
        "!",
        "-i",
        "lo",
        "-p",
        "tcp",
        "--dport",
        &port.to_string(),
        "-j",
        "DROP",
    ]))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
