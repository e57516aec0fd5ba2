//! What the operator is told at its start. Touches nothing; filled by the command line.

use crate::policies::trust::SignaturePolicy;
use crate::quota::QuotaOptions;
use crate::shell::client::ClientOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use weir_engine::Compiler;

/// Options of one operator process.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach the API server.
    pub client: ClientOptions,
    /// Only this namespace is watched; `None`: all.
    pub namespace: Option<String>,
    /// Where /metrics, /healthz and /readyz are served.
    pub listen: SocketAddr,
    /// Whether a Lease decides who acts; off only where there is one process for sure.
    pub leader_elect: bool,
    /// Namespace of the Lease; `None`: the pod's own.
    pub lease_namespace: Option<String>,
    /// Name of the Lease.
    pub lease_name: String,
    /// Name of this process, unique enough for people: the pod's name.
    pub instance: String,
    /// Folder that policies with `source.file` are read from; `None`: such sources are refused.
    pub policy_dir: Option<PathBuf>,
    /// What modules have to be signed, besides what their objects ask for.
    pub signatures: SignaturePolicy,
    /// Who compiles modules, and within which bounds.
    pub compile: CompileOptions,
    /// Folder for compiled policies and for what was pulled from registries; `None`: both are made
    /// again at each start.
    pub cache_dir: Option<PathBuf>,
    /// Image of the sidecar that lets a collector empty its queue before it ends; `None`: no sidecar.
    pub agent_image: Option<String>,
    /// Serve gauges per object.
    pub per_object_metrics: bool,
    /// Largest number of API requests under way at once is in `client`; this is the largest number
    /// of policy calls at once that are not known to be quick.
    pub decision_threads: usize,
    /// What each namespace may have.
    pub quotas: QuotaOptions,
}

/// How modules are compiled; see [`weir_engine::EngineConfig`].
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Who compiles: modules of others in a child process.
    pub compiler: Compiler,
    /// How long one compilation may take.
    pub timeout: Duration,
    /// Bytes of memory that one may take.
    pub memory_bytes: u64,
    /// How many at one time; `None`: as many as suit the machine.
    pub concurrent: Option<usize>,
}
