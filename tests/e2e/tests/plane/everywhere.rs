//! An operator that watches all namespaces, as it is installed by default. Ends when it is dropped.

use anyhow::{Context as _, Result};
use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use weir_cluster::{Cluster, wait_until};
use weir_e2e::{http, program};

/// The process.
pub(crate) struct Everywhere {
    child: Child,
    log: PathBuf,
}

impl Everywhere {
    /// Starts it with its Lease in a namespace, and waits until it is ready.
    pub(crate) fn start(cluster: &Cluster, lease_namespace: &str) -> Result<Self> {
        let address: SocketAddr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = std::env::temp_dir().join(format!("weir-operator-{lease_namespace}-everywhere.log"));
        let file = File::create(&log)?;
        let child = Command::new(program("weir")?)
            .args(["operator", "--kubeconfig", &cluster.kubeconfig().display().to_string(), "--lease-namespace", lease_namespace])
            .args(["--listen", &address.to_string(), "--log-format", "text", "--log", "info,weir_operator=debug"])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("weir can't be started")?;
        let operator = Self { child, log };
        let ready = || Ok(http::get(address, "/readyz").ok().filter(|(status, _)| *status == 200));
        wait_until("the operator is ready", Duration::from_secs(30), ready).with_context(|| operator.log())?;
        Ok(operator)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}
