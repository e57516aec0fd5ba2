//! An operator as a process of its own, so that a test can kill it as the kernel would.

use crate::{http, program};
use anyhow::{Context as _, Result};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use weir_cluster::{Cluster, wait_until};

/// A running operator. Ends, by SIGKILL, when it is dropped.
pub struct Operator {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Starts one that watches a namespace only, with a Lease in it, and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready; the error shows its log.
    pub fn start(cluster: &Cluster, namespace: &str, more: &[&str]) -> Result<Self> {
        let operator = Self::spawn(cluster, namespace, more)?;
        operator.wait_ready()?;
        Ok(operator)
    }

    /// As [`Operator::start`], without waiting.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn spawn(cluster: &Cluster, namespace: &str, more: &[&str]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::env::temp_dir().join(format!("weir-operator-{namespace}-{}.log", address.port()));
        let file = std::fs::File::create(&log)?;
        let child = Command::new(program("weir")?)
            .arg("operator")
            .args(["--kubeconfig", &cluster.kubeconfig().display().to_string(), "--namespace", namespace, "--lease-namespace", namespace])
            .args(["--listen", &address.to_string(), "--log-format", "text", "--log", "info,weir_operator=debug"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("weir can't be started")?;
        Ok(Self { child, address, log })
    }

    /// Waits until /readyz says so.
    ///
    /// # Errors
    /// Not within 30 s.
    pub fn wait_ready(&self) -> Result<()> {
        wait_until("the operator is ready", Duration::from_secs(30), || Ok(self.get("/readyz").ok().filter(|(status, _)| *status == 200)))
            .with_context(|| self.log())
            .map(drop)
    }

    /// What it has logged so far, the last 20,000 characters.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let skip = text.chars().count().saturating_sub(20_000);
        text.chars().skip(skip).collect()
    }

    fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.address, path)
    }

    /// Sum of the samples of a metric whose labels contain `with`.
    ///
    /// # Errors
    /// The operator does not answer.
    pub fn metric(&self, name: &str, with: &str) -> Result<f64> {
        Ok(http::sum(&self.get("/metrics")?.1, name, with).unwrap_or(0.0))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Errors
    /// It does not end within 15 s.
    pub fn terminate(&mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        wait_until("the operator has ended", Duration::from_secs(15), || Ok(self.child.try_wait()?)).with_context(|| self.log()).map(drop)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the operator\n{}", self.log());
        } else {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}
