//! A real Kubernetes for tests, for the demo and for development, on one Linux machine.
//!
//! Nothing here is mocked: etcd, the API server, the controllers, the scheduler and, at
//! [`Level::Nodes`], kubelets with containers. The programs are compiled once from pinned Go modules
//! into a cache outside the checkout ([`cache`]); a start after that takes seconds.
//!
//! ```no_run
//! use weir_cluster::{Cluster, Options, TestNamespace};
//!
//! # fn main() -> anyhow::Result<()> {
//! let cluster = Cluster::start(Options::control_plane())?;
//! let namespace = TestNamespace::create(&cluster, "example")?;
//! namespace.kubectl().run(["get", "pods"])?;
//! # Ok(())
//! # }
//! ```
//!
//! Whatever ends the process that started a cluster — a normal return, a panic, Ctrl-C, `SIGKILL` —
//! the cluster ends with it and leaves nothing on the machine: see [`reaper`].
//!
//! | module | what it is for |
//! |---|---|
//! | [`parts`], [`cache`] | which programs there are, and where they come from |
//! | [`pki`], [`process`], [`reaper`] | certificates, child processes, clean-up |
//! | [`control_plane`] | etcd, API server, controllers, scheduler, fake nodes |
//! | [`node`] | real nodes: namespaces, network, containerd, kubelet, kube-proxy |
//! | [`image`], [`images`] | container images without a registry |
//! | [`registry`], [`cosign`] | a registry for policies, and what signs them |
//! | [`cluster`] | what a test holds in its hand |
//! | [`kubectl`], [`namespace`], [`wait`] | helpers for tests |

pub mod cache;
pub mod cluster;
pub mod control_plane;
pub mod cosign;
pub mod image;
pub mod images;
pub mod kubectl;
pub mod namespace;
pub mod node;
pub mod parts;
pub mod pki;
pub mod process;
pub mod reaper;
pub mod registry;
pub mod shared;
pub mod state;
pub mod wait;

pub use cluster::{Cluster, Level, Options};
pub use cosign::Cosign;
pub use images::Image;
pub use kubectl::Kubectl;
pub use namespace::TestNamespace;
pub use parts::Part;
pub use registry::{Registry, RegistryOptions};
pub use shared::shared;
pub use wait::{eventually, wait_until};
