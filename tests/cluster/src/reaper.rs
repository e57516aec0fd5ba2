//! Clean-up that cannot be skipped.
//!
//! The owner of a cluster starts a small supervisor that waits on a pipe. When the owner is gone, for
//! whatever reason, the kernel closes the pipe and the supervisor ends what is left: processes,
//! network links, cgroups, the cluster's folder. An orderly end takes the same path, so there is one
//! implementation, and it is exercised by every test.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::process::run;

const SCRIPT: &str = include_str!("reap.sh");

/// The supervisor of one cluster. Dropping it ends the cluster and waits until that is done.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
    dir: PathBuf,
}

impl Reaper {
    /// Starts the supervisor for the cluster in `dir`; from here on everything that the cluster leaves
    /// is ended with this process. `keep` spares the folder, for looking at logs.
    ///
    /// # Errors
    /// When the shell cannot be started or `dir` not be written.
    pub fn start(dir: &Path, keep: bool) -> Result<Self> {
        fs::write(dir.join("cluster.mark"), "").context("marking the cluster's folder")?;
        if keep {
            fs::write(dir.join("keep"), "").context("marking the cluster's folder as kept")?;
        }
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "weir-cluster-reaper"])
            .arg(dir)
            .arg("wait")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting the supervisor that cleans up")?;
        Ok(Self { child, dir: dir.to_owned() })
    }

    /// Notes a network link of the machine to delete at the end.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn add_link(&self, name: &str) -> Result<()> {
        self.append("links", name)
    }

    /// Notes a cgroup folder to delete at the end.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn add_cgroup(&self, path: &Path) -> Result<()> {
        self.append("cgroups", &path.to_string_lossy())
    }

    fn append(&self, file: &str, line: &str) -> Result<()> {
        let path = self.dir.join(file);
        let mut file = fs::File::options().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
        writeln!(file, "{line}").with_context(|| format!("writing {}", path.display()))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // Closing the pipe is the signal.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Ends the cluster in `dir` from outside, whoever started it.
///
/// # Errors
/// When the shell cannot be started.
pub fn reap(dir: &Path) -> Result<()> {
    let dir = dir.canonicalize().with_context(|| format!("there is no folder {}", dir.display()))?;
    run(Command::new("/bin/sh").args(["-c", SCRIPT, "weir-cluster-reaper"]).arg(dir).arg("now"))?;
    Ok(())
}
