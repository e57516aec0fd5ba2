//! Child processes of a cluster: started with a log file and a mark, killed and started again.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::wait_until;

/// The environment variable that every process of a cluster carries, its value being the cluster's
/// folder: the clean-up finds by it whatever is still running.
pub const MARK: &str = "WEIR_CLUSTER_MARK";

/// What to run.
#[derive(Debug, Clone)]
pub struct Program {
    name: String,
    path: PathBuf,
    args: Vec<OsString>,
    dir: PathBuf,
}

impl Program {
    /// A program called `name` in logs, run for the cluster in `dir`.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, dir: &Path) -> Self {
        Self { name: name.into(), path: path.into(), args: Vec::new(), dir: dir.to_owned() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Where its output goes, appended when it is started again.
    pub fn log(&self) -> PathBuf {
        self.dir.join("logs").join(format!("{}.log", self.name))
    }

    fn spawn(&self) -> Result<Child> {
        let log_path = self.log();
        if let Some(folder) = log_path.parent() {
            fs::create_dir_all(folder).context("creating the folder of logs")?;
        }
        let log = File::options().create(true).append(true).open(&log_path).with_context(|| format!("opening {}", log_path.display()))?;
        Command::new(&self.path)
            .args(&self.args)
            .current_dir(&self.dir)
            .env(MARK, &self.dir)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("opening the log twice")?)
            .stderr(log)
            // Its own group: Ctrl-C in a terminal is for the test, which then ends the cluster.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {} ({})", self.name, self.path.display()))
    }
}

/// A running program. Dropping it kills it with `SIGKILL`: what a test cluster stores is disposable.
#[derive(Debug)]
pub struct Daemon {
    program: Program,
    child: Child,
}

impl Daemon {
    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn start(program: Program) -> Result<Self> {
        let child = program.spawn()?;
        Ok(Self { program, child })
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the end of its log when the process is gone.
    ///
    /// # Errors
    /// When the process has exited.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("asking for a child's state")? {
            bail!("{} exited ({status}). The end of its log:\n{}", self.program.name, tail(&self.program.log(), 15));
        }
        Ok(())
    }

    /// Kills the process with `SIGKILL` and waits for its end; does nothing when it has ended.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the program again with the same arguments, killing it first if it runs.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = self.program.spawn()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// [`wait_until`] that gives up as soon as one of `children`, on which the condition depends, exits.
///
/// # Errors
/// After `within`, or when a child exits; then with the end of its log.
pub fn wait_while_running<T>(what: impl Display, within: Duration, children: &mut [&mut Daemon], mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_until(what, within, || {
        for child in children.iter_mut() {
            if let Err(exited) = child.check() {
                return Ok(Some(Err(exited)));
            }
        }
        Ok(probe()?.map(Ok))
    })?
}

/// The last lines of a log, for error messages.
pub fn tail(path: &Path, lines: usize) -> String {
    let Ok(file) = File::open(path) else {
        return format!("(no log at {})", path.display());
    };
    let mut last = VecDeque::new();
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        if last.len() == lines {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    Vec::from(last).join("\n")
}

/// `N` different ports of the loopback address that nothing listens on now. They are free until
/// somebody else takes them, so a start that loses one is tried again with others.
///
/// # Errors
/// When the system has no free port.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
        *port = listener.local_addr().context("reading the port of a listener")?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Runs a short command to its end.
///
/// # Errors
/// When it cannot be executed or fails; the message holds the command and what it wrote to stderr.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
