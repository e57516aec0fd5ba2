//! An operator process as it is deployed: all namespaces, default options, the rights of its
//! ServiceAccount. Touches processes, /proc and the loopback network.

use crate::machine::{Memory, processor_time};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use weir_cluster::wait_until;
use weir_e2e::http;

/// A running operator. Ends, by SIGKILL, when it is dropped.
pub(super) struct Operator {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    /// When it was started.
    pub(super) started: Instant,
}

/// What its counters say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Decisions that were not held back.
    pub(super) decided: f64,
    /// All decisions.
    pub(super) decisions: f64,
    /// Requests to the API server without those for the Lease.
    pub(super) requests: f64,
    /// Requests for the Lease.
    pub(super) lease_requests: f64,
    /// Objects that are ready.
    pub(super) ready: f64,
}

impl Operator {
    /// Starts one.
    pub(super) fn start(cluster: &Path, kubeconfig: &Path, folder: &Path, name: &str) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let started = Instant::now();
        let child = Command::new(weir_e2e::program("weir")?)
            .arg("operator")
            .args(["--lease-namespace", "weir-system", "--listen", &address.to_string()])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cache-dir")
            .arg(folder.join("compiled"))
            .env("POD_NAME", name)
            // Whatever ends the bench, it ends with the cluster.
            .env(weir_cluster::process::MARK, cluster)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("weir can't be started")?;
        Ok(Self { child, address, log, started })
    }

    /// Waits until /readyz says so.
    pub(super) fn wait_ready(&self) -> Result<()> {
        let ready = || Ok(http::get(self.address, "/readyz").ok().filter(|(status, _)| *status == 200));
        wait_until("the operator is ready", Duration::from_secs(120), ready).with_context(|| self.log_end()).map(drop)
    }

    /// The last lines that it has logged.
    pub(super) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines: Vec<&str> = text.lines().rev().take(30).collect();
        lines.reverse();
        lines.join("\n")
    }

    /// Reads its metrics.
    pub(super) fn counters(&self) -> Result<Counters> {
        let (status, text) = http::get(self.address, "/metrics")?;
        ensure!(status == 200, "the operator answered {status} to /metrics");
        let sum = |name: &str, with: &str| http::sum(&text, name, with).unwrap_or(0.0);
        let decisions = sum("weir_decisions_total", "");
        let lease_requests = sum("weir_api_requests_total", "resource=\"leases\"");
        Ok(Counters {
            decisions,
            decided: decisions - sum("weir_decisions_total", "verdict=\"Hold\""),
            requests: sum("weir_api_requests_total", "") - lease_requests,
            lease_requests,
            ready: sum("weir_objects", "ready=\"True\""),
        })
    }

    /// The same for a process that may not serve them yet.
    pub(super) fn counters_so_far(&self) -> Counters {
        self.counters().unwrap_or_default()
    }

    /// Processor time so far.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        processor_time(self.child.id())
    }

    /// Memory now.
    pub(super) fn memory(&self) -> Result<Memory> {
        Memory::of(&self.child.id().to_string())
    }

    /// SIGKILL, as the kernel does when memory is short.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, without waiting.
    pub(super) fn terminate(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?)
    }

    /// Waits for its end.
    pub(super) fn wait(&mut self) -> Result<()> {
        wait_until("the operator has ended", Duration::from_secs(30), || Ok(self.child.try_wait()?)).with_context(|| self.log_end()).map(drop)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
