//! The sidecar of a collector: holds the collector's shutdown until its queues are empty, and lets it read
//! a configuration that was changed in place.
//!
//! Kubernetes calls a container's preStop hook before it sends SIGTERM, whatever the reason is that
//! the pod goes: a scale-down, a rollout, an eviction, `kubectl delete`. The collector's hook asks
//! this agent for `/drain`, and the agent answers once the collector holds nothing any more, or the
//! grace period is about to end. The agent is a native sidecar (an init container that keeps
//! running), so it is still there while the collector drains and shuts down.
//!
//! | module | what it is | touches |
//! |---|---|---|
//! | [`drain`] | may the collector go? | nothing |
//! | [`metrics`] | the two numbers in the collector's metrics that decide | nothing |
//! | [`fetch`] | asks the collector | network |
//! | [`reload`] | has the configuration changed? | files, processes, network |
//! | [`server`] | `/drain`, `/healthz` | network, clock |

pub mod drain;
pub mod fetch;
pub mod metrics;
pub mod reload;
pub mod server;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Options of `weir agent`; the operator writes them.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Port for /drain and /healthz.
    #[arg(long, default_value_t = 8891)]
    pub port: u16,
    /// Addresses at which the collector may serve its metrics; the first that answers counts.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1")]
    pub metrics_hosts: Vec<String>,
    /// Port of the collector's metrics.
    #[arg(long, default_value_t = 8888)]
    pub metrics_port: u16,
    /// Answer after this many seconds whatever is still queued: the pod's grace period less what the
    /// collector needs to shut down.
    #[arg(long, default_value_t = 295)]
    pub grace_seconds: u64,
    /// Let go of an empty collector after this many seconds even when senders still use it.
    #[arg(long, default_value_t = 60)]
    pub patience_seconds: u64,
    /// Nothing must have been taken in for this many seconds.
    #[arg(long, default_value_t = 2)]
    pub quiet_seconds: u64,
    /// The collector's configuration, as its --config names it: when this file changes, the collector
    /// gets SIGHUP. Absent: it is not watched.
    #[arg(long)]
    pub reload: Option<PathBuf>,
}

impl Options {
    pub(crate) fn limits(&self) -> drain::Limits {
        drain::Limits {
            grace: Duration::from_secs(self.grace_seconds),
            patience: Duration::from_secs(self.patience_seconds),
            quiet: Duration::from_secs(self.quiet_seconds),
        }
    }
}

/// Why the agent can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken.
    #[error("port {port} can't be listened on ({source}): choose another one by --port")]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// Signals or sockets fail.
    #[error("the agent can't go on: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves until SIGTERM or SIGINT. A drain that is under way then ends without an answer: Kubernetes
/// stops sidecars only after the containers that they stand beside.
///
/// # Errors
/// When the port is taken, or the system gives no sockets or signals.
pub async fn run(options: Options) -> Result<(), Error> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = listen(options.port).await?;
    tracing::info!(port = options.port, metrics_port = options.metrics_port, "ready to drain");
    let watched = options.clone();
    let reloading = async {
        match &watched.reload {
            Some(file) => reload::run(&watched, file).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = reloading => {}
        served = server::serve(listener, options) => served?,
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// On all addresses, IPv6 and IPv4 alike where the machine has both.
async fn listen(port: u16) -> Result<TcpListener, Error> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match TcpListener::bind(both).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await.map_err(|source| Error::Listen { port, source }),
    }
}
